#!/usr/bin/env bash
# How fast do xdpmap, a bare AF_XDP sender, bare live frames, zmap, masscan and trafgen send on this machine?
#
#   ./bench/tx.sh [--rounds N] [--count N] [--core N] [--output DIR]    7 rounds, 2,000,000 packets each, the last core
#   ./bench/tx.sh --zmap4 PROGRAM                                       with a ZMap 4, too
#   ./bench/tx.sh --only "xdpmap,bare AF_XDP"                           these senders alone
#   ./bench/tx.sh --quick                                               1 small round: shows that all of it works
#
# Writes tx.json and tx.svg to DIR (bench/results; nowhere with --quick), and prints a table. Fails
# when a sender's packets do not arrive. No packet leaves the machine: the lab is two network namespaces with a wire
# between them. It is taken down at the end, also after Ctrl-C and failure. What the figures mean: bench/README.md.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh
. bench/lib.sh

rounds=7
count=2000000
core=
output=
quick=
zmap4=
only=
while [ $# -gt 0 ]; do
	case $1 in
	--rounds) rounds=${2:?--rounds needs a number} && shift 2 ;;
	--count) count=${2:?--count needs a number} && shift 2 ;;
	--core) core=${2:?--core needs a number} && shift 2 ;;
	--output) output=$(caller_path "${2:?--output needs a folder}" -m) && shift 2 ;;
	--zmap4) zmap4=$(caller_path "${2:?--zmap4 needs a program}" -e) && shift 2 ;;
	--only) only=${2:?--only needs names} && shift 2 ;;
	--quick) quick=1 rounds=1 count=200000 && shift ;;
	-h | --help) sed -n '2,11s/^# \{0,1\}//p' "$0" && exit 0 ;;
	*) fail "unknown argument $1; see --help" ;;
	esac
done

need_cargo
need_packages "${build_packages[@]}" iproute2 procps util-linux python3 bpftool libbpf-dev zmap masscan netsniff-ng
core=${core:-$(last_core)}

say "building xdpmap, the bare senders and the far side"
cargo build --release --locked --quiet
mkdir -p "$built"
gcc -O2 -Wall -Wextra -o "$built/bare_xsk" bench/bare_xsk.c
gcc -O2 -Wall -Wextra -o "$built/bare_live" bench/bare_live.c -lbpf
build_bpf drop bare_live

# shellcheck source=bench/lab.sh
. bench/lab.sh
make_lab "$built/drop.bpf.o"

say "measuring: $rounds rounds of $count packets a sender, on core $core"
# In the background, or the shell would look at a signal only when all is over.
as_root env PYTHONDONTWRITEBYTECODE=1 python3 bench/tx.py --rounds "$rounds" --count "$count" --core "$core" \
	--xdpmap target/release/xdpmap --bare "$built/bare_xsk" --bare-live "$built/bare_live" \
	--bare-live-object "$built/bare_live.bpf.o" ${zmap4:+--zmap4 "$zmap4"} ${only:+--only "$only"} \
	--scan-namespace "$scan" --scan-interface scan0 --source-ip 198.19.0.1 --gateway-mac "$gateway_mac" \
	--net-namespace "$net" --net-interface net0 --map "$work/bpf/arrivals" --pid-file "$work/pid" >"$work/measured.json" &
wait $!
rm -f "$work/pid"

report "$output" "$quick" bench/tx_report.py "$work/measured.json"
