#!/usr/bin/env bash
# A whole survey on this machine, in one command: builds xdpmap, makes a lab, scans it, checks what was found.
#
#   ./scripts/demo.sh [--queues N] [--threads N]
#
# No packet leaves the machine: the lab is two network namespaces with a wire between them (scripts/lab.sh). It is taken
# down at the end, also after Ctrl-C and failure.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

queues=4
threads=()
while [ $# -gt 0 ]; do
	case $1 in
	--queues) queues=${2:?--queues needs a number} && shift 2 ;;
	--threads) threads=(-T "${2:?--threads needs a number}") && shift 2 ;;
	-h | --help) sed -n '2,7s/^# \{0,1\}//p' "$0" && exit 0 ;;
	*) fail "unknown argument $1; see --help" ;;
	esac
done

need_cargo
need_packages "${build_packages[@]}" "${lab_packages[@]}"
say "building xdpmap (a few minutes the first time)"
cargo build --release --locked --quiet
xdpmap=$PWD/target/release/xdpmap

name=demo$$
work=$(mktemp -d)
tear_down() {
	trap - EXIT
	trap '' INT TERM
	as_root ./scripts/lab.sh down "$name"
	rm -rf "$work"
}
trap tear_down EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

say "making a lab: two network namespaces, a veth pair with $queues queues, nginx and the kernel's TCP behind it"
as_root ./scripts/lab.sh up "$name" "$queues"
as_root "$xdpmap" --version >&2

# No config file and no block list of the machine's.
scan=("$xdpmap" -C /dev/null -b /dev/null -i scan0 -p 80 -r 40000 -c 2 --allow-reserved "${threads[@]}"
	-f "saddr,sport,classification,success" -o "$work/results.csv" -m "$work/metadata.json" 198.18.0.0/16)
say "scanning 65,536 addresses"
as_root ip netns exec "xm-$name-scan" "${scan[@]}"

say "the first results"
head -6 "$work/results.csv"
say "the summary"
awk -F, 'NR > 1 { n[$3]++ } END { for (kind in n) printf "%-8s %6d\n", kind, n[kind] }' "$work/results.csv" | sort
grep -o '"\(packets_sent\|targets_scanned\|success_unique\|io_mode\|driver\|end_reason\)":[^,]*' \
	"$work/metadata.json" | tr -d '"' | sed 's/:/ /'

say "comparing with who is really there"
./scripts/lab.sh truth 80 | sort >"$work/truth"
tail -n +2 "$work/results.csv" | cut -d, -f1-3 | sort -u >"$work/found"
missing=$(comm -23 "$work/truth" "$work/found" | wc -l)
extra=$(comm -13 "$work/truth" "$work/found" | wc -l)
printf '%d responders, %d found, %d missing, %d extra\n' "$(wc -l <"$work/truth")" "$(wc -l <"$work/found")" "$missing" "$extra"

cat >&2 <<END

This is what ran. To vary it, make a lab of your own and scan it:

  sudo ./scripts/lab.sh up my
  sudo ip netns exec xm-my-scan target/release/xdpmap -i scan0 -p 80 -r 40000 -c 2 --allow-reserved ${threads[*]} \\
      -f saddr,sport,classification,success -o results.csv -m metadata.json 198.18.0.0/16
  sudo ./scripts/lab.sh down my
END
if [ "$missing" != 0 ] || [ "$extra" != 0 ]; then fail "the survey and the lab disagree"; fi
