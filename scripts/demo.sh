#!/usr/bin/env bash
# A whole survey on this machine, in one command: builds xdpmap, makes a lab, scans it, checks what was found.
#
#   ./scripts/demo.sh [--queues N] [--threads N] [--program FILE] [--static]
#
# --program scans with that xdpmap and builds none. --static scans with a program that needs no library
# (scripts/static.sh), in a root folder that holds only that file.
#
# No packet leaves the machine: the lab is two network namespaces with a wire between them (scripts/lab.sh). It is
# removed at the end, even after Ctrl-C and failure.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

queues=4
threads=()
program=
static=0
while [ $# -gt 0 ]; do
	case $1 in
	--queues) queues=${2:?--queues needs a number} && shift 2 ;;
	--threads) threads=(-T "${2:?--threads needs a number}") && shift 2 ;;
	--program) program=$(realpath -e "${2:?--program needs a file}") && shift 2 ;;
	--static) static=1 && shift ;;
	-h | --help) sed -n '2,10s/^# \{0,1\}//p' "$0" && exit 0 ;;
	*) fail "unknown argument $1; see --help" ;;
	esac
done

need_packages "${lab_packages[@]}"
if [ $static = 1 ] && [ -z "$program" ]; then
	say "building xdpmap (a few minutes the first time)"
	program=$(./scripts/static.sh)
fi
need_xdpmap "$program"

say "making a lab: two network namespaces, a veth pair with $queues queues, nginx and the kernel's TCP behind it"
make_lab demo "$queues"

# How the program is started, and the folder for results as seen by the program.
if [ $static = 1 ]; then
	mkdir -p "$work"/root/{proc,sys,out}
	cp "$program" "$work/root/xdpmap"
	results=$work/root/out
	# The mounts end with the mount namespace that `ip netns exec` creates.
	# shellcheck disable=SC2016 # for the inner shell
	start=(sh -euc 'mount -t proc proc "$1/proc"; mount -t sysfs sysfs "$1/sys"; exec chroot "$@"' sh "$work/root" /xdpmap)
	seen=/out
else
	results=$work
	start=("$program")
	seen=$work
fi
inside "${start[@]}" --version >&2

# Without the machine's config file and block list.
touch "$results/none"
scan=("${start[@]}" -C "$seen/none" -b "$seen/none" -i scan0 -p 80 -r 40000 -c 2 --allow-reserved "${threads[@]}"
	-f "saddr,sport,classification,success" -o "$seen/results.csv" -m "$seen/metadata.json" 198.18.0.0/16)
say "scanning 65,536 addresses"
inside "${scan[@]}"

say "the first results"
head -6 "$results/results.csv"
say "the summary"
awk -F, 'NR > 1 { n[$3]++ } END { for (kind in n) printf "%-8s %6d\n", kind, n[kind] }' "$results/results.csv" | sort
grep -o '"\(packets_sent\|targets_scanned\|success_unique\|io_mode\|driver\|end_reason\)":[^,]*' \
	"$results/metadata.json" | tr -d '"' | sed 's/:/ /'

say "comparing with who is really there"
./scripts/lab.sh truth 80 | sort >"$work/truth"
tail -n +2 "$results/results.csv" | cut -d, -f1-3 | sort -u >"$work/found"
missing=$(comm -23 "$work/truth" "$work/found" | wc -l)
extra=$(comm -13 "$work/truth" "$work/found" | wc -l)
printf '%d responders, %d found, %d missing, %d extra\n' "$(wc -l <"$work/truth")" "$(wc -l <"$work/found")" "$missing" "$extra"

cat >&2 <<END

This is what ran. To vary it, make a lab of your own and scan it:

  sudo ./scripts/lab.sh up my
  sudo ip netns exec xm-my-scan ${program#"$PWD/"} -i scan0 -p 80 -r 40000 -c 2 --allow-reserved ${threads[*]} \\
      -f saddr,sport,classification,success -o results.csv -m metadata.json 198.18.0.0/16
  sudo ./scripts/lab.sh down my
END
if [ "$missing" != 0 ] || [ "$extra" != 0 ]; then fail "the survey and the lab disagree"; fi
