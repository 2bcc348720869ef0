#!/usr/bin/env bash
# What a probe costs up to the kernel's door: the real worker and rings, with a stand-in for the kernel.
#
#   ./bench/engine.sh [--rounds N] [--probes N] [--output DIR]   7 rounds of 10,000,000 probes a case
#   ./bench/engine.sh --quick                                    fails if instructions or allocations grew; recorded nowhere
#
# Writes engine.json and engine.svg to DIR (bench/results) and prints a table. Times depend on the machine; ratios and counts hardly do.
# What the figures mean: bench/README.md.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh
. bench/lib.sh

rounds=7
probes=10000000
output=
quick=
while [ $# -gt 0 ]; do
	case $1 in
	--rounds) rounds=${2:?--rounds needs a number} && shift 2 ;;
	--probes) probes=${2:?--probes needs a number} && shift 2 ;;
	--output) output=$(caller_path "${2:?--output needs a folder}" -m) && shift 2 ;;
	--quick) quick=1 rounds=1 probes=1000000 && shift ;;
	-h | --help) sed -n '2,8s/^# \{0,1\}//p' "$0" && exit 0 ;;
	*) fail "unknown argument $1; see --help" ;;
	esac
done

need_cargo
need_packages "${build_packages[@]}" python3 valgrind

engine=$(build_bench engine)
say "measuring: $rounds rounds of $probes probes a case, then instructions under valgrind"
report "$output" "$quick" bench/engine.py "$engine" --rounds "$rounds" --probes "$probes" \
	--recorded bench/results/engine.json ${quick:+--quick}
