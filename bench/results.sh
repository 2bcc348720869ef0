#!/usr/bin/env bash
# How many records a second the collector takes from a worker's ring to a file, and what memory that needs.
#
#   ./bench/results.sh [--rounds N] [--records N] [--output DIR]    5 rounds of 3,000,000 records a case, 4 minutes
#   ./bench/results.sh --check                                      the gated case only, recorded nowhere; CI runs it
#
# Writes collector.json to DIR (bench/results) and prints a table. Fails when the collector cannot take a million records a
# second to CSV, or needs more memory than its bitmap. Needs two cores. What the figures mean: bench/README.md.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh
. bench/lib.sh

rounds=5
records=3000000
output=bench/results
check=
while [ $# -gt 0 ]; do
	case $1 in
	--rounds) rounds=${2:?--rounds needs a number} && shift 2 ;;
	--records) records=${2:?--records needs a number} && shift 2 ;;
	--output) output=$(cd "$OLDPWD" && realpath -m -- "${2:?--output needs a folder}") && shift 2 ;;
	--check) check=1 rounds=1 records=2000000 && shift ;;
	-h | --help) sed -n '2,8s/^# \{0,1\}//p' "$0" && exit 0 ;;
	*) fail "unknown argument $1; see --help" ;;
	esac
done

need_cargo
need_packages "${build_packages[@]}" python3

bench=$(build_bench results)
say "measuring: $rounds rounds of $records records a case"
PYTHONDONTWRITEBYTECODE=1 python3 bench/collector.py "$bench" --rounds "$rounds" --records "$records" \
	${check:+--check} --output "$output"
