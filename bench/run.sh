#!/usr/bin/env bash
# All benchmarks in one command: a table each, and JSON and a picture in bench/results.
#
#   ./bench/run.sh                                  engine, tx, survey, xdp, results, start, pace: about half an hour
#   ./bench/run.sh tx xdp                           only those
#   ./bench/run.sh --quick [NAME...]                do they all still work? Under three minutes; recorded nowhere
#   ./bench/run.sh tx --rounds 9 --zmap4 PROGRAM    with options of theirs: each goes to those that know it
#   ./bench/run.sh --output DIR                     results go there
#   ./bench/run.sh --nic eth1 ...                   through a network card instead of the lab: see bench/nic.sh --help
#
# Each is a script of its own, bench/NAME.sh, and its --help tells its options. Root is needed, or sudo; no packet leaves
# the machine, but with --nic. Goes on after a failure, and fails at the end. What the figures mean: bench/README.md.
set -euo pipefail
folder=$(dirname "$0")
# shellcheck source=scripts/lib.sh
. "$folder/../scripts/lib.sh"

all=(engine tx survey xdp results start pace)
# The options of each, all with a value but --ten and --live.
declare -A known=(
	[engine]="--rounds --probes"
	[tx]="--rounds --count --core --zmap4 --only"
	[survey]="--rounds --zmap4 --ten --live"
	[xdp]="--rounds --packets"
	[results]="--rounds --records"
	[start]="--rounds --list"
	[pace]="--seconds --core"
)

named=()
options=()
while [ $# -gt 0 ]; do
	case $1 in
	--nic) exec "$folder/nic.sh" "$@" ;;
	-h | --help) sed -n '2,12s/^# \{0,1\}//p' "$0" && exit 0 ;;
	--quick | --ten | --live) options+=("$1") && shift ;;
	--*) options+=("$1" "${2:?$1 needs a value}") && shift 2 ;;
	*)
		[ -n "${known[$1]:-}" ] || fail "no benchmark $1; there are ${all[*]}"
		named+=("$1") && shift
		;;
	esac
done
[ ${#named[@]} -gt 0 ] || named=("${all[@]}")

# Those of `options` that a benchmark knows, in `handed`.
# hand NAME
hand() {
	local i=0 option
	handed=()
	while [ $i -lt ${#options[@]} ]; do
		option=${options[i]}
		case " ${known[$1]} --quick --output " in
		*" $option "*) taken[$option]=1 handed+=("$option") ;;
		*) option= ;;
		esac
		case ${options[i]} in
		--quick | --ten | --live) i=$((i + 1)) ;;
		*)
			[ -z "$option" ] || handed+=("${options[i + 1]}")
			i=$((i + 2))
			;;
		esac
	done
}

# An option that nobody takes is a mistake, and found before anything is run.
declare -A taken=()
for name in "${named[@]}"; do hand "$name"; done
for option in "${options[@]}"; do
	case $option in --*) [ -n "${taken[$option]:-}" ] || fail "no option $option of ${named[*]}" ;; esac
done

failed=()
for name in "${named[@]}"; do
	hand "$name"
	began=$SECONDS
	say "benchmark $name"
	"$folder/$name.sh" "${handed[@]}" || failed+=("$name")
	say "benchmark $name took $((SECONDS - began)) s"
done
[ ${#failed[@]} -eq 0 ] || fail "these benchmarks did not meet their aims, or did not run: ${failed[*]}"
