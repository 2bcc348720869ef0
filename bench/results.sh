#!/usr/bin/env bash
# How many records a second the collector takes from a worker's ring to a file, and what memory that needs.
#
#   ./bench/results.sh [--rounds N] [--records N] [--output DIR]    5 rounds of 3,000,000 records a case, 4 minutes
#   ./bench/results.sh --quick                                      the gated case only, recorded nowhere
#
# Writes results.json and results.svg to DIR (bench/results) and prints a table. Fails when the collector cannot take a
# million records a second to CSV, or needs more memory than its bitmap. Needs two cores. What the figures mean: bench/README.md.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh
. bench/lib.sh

rounds=5
records=3000000
output=
quick=
while [ $# -gt 0 ]; do
	case $1 in
	--rounds) rounds=${2:?--rounds needs a number} && shift 2 ;;
	--records) records=${2:?--records needs a number} && shift 2 ;;
	--output) output=$(caller_path "${2:?--output needs a folder}" -m) && shift 2 ;;
	--quick) quick=1 rounds=1 records=2000000 && shift ;;
	-h | --help) sed -n '2,8s/^# \{0,1\}//p' "$0" && exit 0 ;;
	*) fail "unknown argument $1; see --help" ;;
	esac
done

need_cargo
need_packages "${build_packages[@]}" python3

bench=$(build_bench results)
say "measuring: $rounds rounds of $records records a case"
report "$output" "$quick" bench/records.py "$bench" --rounds "$rounds" --records "$records" ${quick:+--quick}
