#!/usr/bin/env bash
# How long xdpmap and zmap take from exec to the first packet on the wire, and how much memory, with long block lists.
#
#   ./bench/start.sh [--rounds N] [--output DIR]    5 rounds; block lists of 0, 10,000 and 1,000,000 lines, and a list of
#                                                   100,000,000 hosts (-I), which takes 1.4 GB of disk
#   ./bench/start.sh --list N                       a list of N hosts instead; 0: none
#   ./bench/start.sh --quick                        1 round, 1,000,000 hosts
#
# Writes start.json and start.svg to DIR (bench/results; nowhere with --quick), and prints a table. Fails when xdpmap takes
# more than a fifth of zmap's time with the longest list. No packet leaves the machine: the lab is two network namespaces
# with a wire between them. What the figures mean: bench/README.md.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh
. bench/lib.sh

rounds=5
list=
output=
quick=
while [ $# -gt 0 ]; do
	case $1 in
	--rounds) rounds=${2:?--rounds needs a number} && shift 2 ;;
	--list) list=${2:?--list needs a number} && shift 2 ;;
	--output) output=$(caller_path "${2:?--output needs a folder}" -m) && shift 2 ;;
	--quick) quick=1 rounds=1 && shift ;;
	-h | --help) sed -n '2,11s/^# \{0,1\}//p' "$0" && exit 0 ;;
	*) fail "unknown argument $1; see --help" ;;
	esac
done

if [ -n "$quick" ]; then list=${list:-1000000}; else list=${list:-100000000}; fi

need_cargo
need_packages "${build_packages[@]}" iproute2 procps util-linux python3 bpftool zmap

say "building xdpmap and the far side"
cargo build --release --locked --quiet
build_bpf gaps

# shellcheck source=bench/lab.sh
. bench/lab.sh
make_lab "$built/gaps.bpf.o"
mkdir "$work/lists"

say "measuring: $rounds rounds"
# In the background, or the shell would look at a signal only when all is over.
as_root env PYTHONDONTWRITEBYTECODE=1 python3 bench/start.py measure --rounds "$rounds" --list "$list" --lists "$work/lists" \
	--xdpmap target/release/xdpmap --scan-namespace "$scan" --scan-interface scan0 --source-ip 198.19.0.1 \
	--gateway-mac "$gateway_mac" --map "$work/bpf/arrivals" --pid-file "$work/pid" >"$work/measured.json" &
wait $!
rm -f "$work/pid"

report "$output" "$quick" bench/start.py report "$work/measured.json"
