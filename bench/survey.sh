#!/usr/bin/env bash
# How many of 131,072 hosts that all answer do xdpmap, zmap and masscan find, and up to which rate? In one command.
#
#   ./bench/survey.sh [--rounds N] [--zmap4 PROGRAM] [--output DIR]   3 rounds; with a ZMap 4, too
#   ./bench/survey.sh --ten                                           and ten scans at 100,000 probes/s, ten at the knee
#   ./bench/survey.sh --live                                          and xdpmap by live frames
#   ./bench/survey.sh --quick                                         1 round, 65,536 hosts, two rates; half a minute
#
# Writes survey.json and survey.svg to DIR (bench/results; nowhere with --quick), and prints a table. No
# packet leaves the machine: the lab is two network namespaces with a wire between them. It is taken down at the end,
# also after Ctrl-C and failure. What the figures mean: bench/README.md.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh
. bench/lib.sh

rounds=3
targets=10.0.0.0/15
cooldown=1
output=
quick=
ten=
live=
zmap4=
while [ $# -gt 0 ]; do
	case $1 in
	--rounds) rounds=${2:?--rounds needs a number} && shift 2 ;;
	--output) output=$(caller_path "${2:?--output needs a folder}" -m) && shift 2 ;;
	--zmap4) zmap4=$(caller_path "${2:?--zmap4 needs a program}" -e) && shift 2 ;;
	--ten) ten=1 && shift ;;
	--live) live=1 && shift ;;
	--quick) quick=1 rounds=1 targets=10.0.0.0/16 && shift ;;
	-h | --help) sed -n '2,11s/^# \{0,1\}//p' "$0" && exit 0 ;;
	*) fail "unknown argument $1; see --help" ;;
	esac
done

need_cargo
need_packages "${build_packages[@]}" iproute2 procps util-linux ethtool python3 bpftool zmap masscan

say "building xdpmap and the far side"
cargo build --release --locked --quiet
build_bpf responder pass

# shellcheck source=bench/lab.sh
. bench/lab.sh
make_lab "$built/responder.bpf.o"
as_root bpftool prog load "$built/pass.bpf.o" "$work/bpf/pass" type xdp
# The stack is to write whole checksums: they are not made up for on this wire.
as_root ip netns exec "$net" ethtool -K net0 tx off >/dev/null
# The far side's stack has all those addresses. It answers with cookies, and so keeps and repeats nothing.
as_root ip -n "$net" route add local 10.0.0.0/8 dev lo
as_root ip netns exec "$net" sysctl -qw net.ipv4.tcp_syncookies=2
scan_mac=$(as_root ip -n "$scan" -br link show dev scan0 | awk '{ print $3 }')
as_root ip -n "$net" neigh replace 198.19.0.1 lladdr "$scan_mac" dev net0
as_root ip -n "$scan" neigh replace 198.19.0.2 lladdr "$gateway_mac" dev scan0

say "measuring: $rounds rounds before two responders"
as_root env PYTHONDONTWRITEBYTECODE=1 python3 bench/survey.py --rounds "$rounds" --targets "$targets" \
	--cooldown "$cooldown" --xdpmap target/release/xdpmap ${quick:+--quick} ${ten:+--ten} ${live:+--live} \
	${zmap4:+--zmap4 "$zmap4"} \
	--scan-namespace "$scan" --scan-interface scan0 --source-ip 198.19.0.1 --gateway-mac "$gateway_mac" \
	--net-namespace "$net" --net-interface net0 --pins "$work/bpf" --work "$work" --pid-file "$work/pid" \
	>"$work/measured.json" &
wait $!
rm -f "$work/pid"

report "$output" "$quick" bench/survey_report.py "$work/measured.json"
