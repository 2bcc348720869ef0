#!/usr/bin/env bash
# Compares xdpmap with a bare AF_XDP sender, zmap and masscan on this machine, in one command.
#
#   ./bench/run.sh [--rounds N] [--count N] [--core N] [--output DIR]    7 rounds, 2,000,000 packets each, the last core
#   ./bench/run.sh --quick                                               1 small round: shows that all of it works
#
# Writes results.json and results.svg to DIR (bench/results; with --quick a temporary folder), and prints a table. Fails
# when a sender's packets do not arrive. No packet leaves the machine: the lab is two network namespaces with a wire
# between them. It is taken down at the end, also after Ctrl-C and failure. What the figures mean: bench/README.md.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

rounds=7
count=2000000
core=
output=
quick=
while [ $# -gt 0 ]; do
	case $1 in
	--rounds) rounds=${2:?--rounds needs a number} && shift 2 ;;
	--count) count=${2:?--count needs a number} && shift 2 ;;
	--core) core=${2:?--core needs a number} && shift 2 ;;
	--output) output=$(cd "$OLDPWD" && realpath -m -- "${2:?--output needs a folder}") && shift 2 ;;
	--quick) quick=1 rounds=1 count=200000 && shift ;;
	-h | --help) sed -n '2,9s/^# \{0,1\}//p' "$0" && exit 0 ;;
	*) fail "unknown argument $1; see --help" ;;
	esac
done

need_cargo
need_packages "${build_packages[@]}" iproute2 procps util-linux python3 bpftool zmap masscan
# The last of the cores that this process may use: the first is where most interrupts go.
core=${core:-$(python3 -c 'import os; print(max(os.sched_getaffinity(0)))')}

say "building xdpmap, the bare sender and the far side"
cargo build --release --locked --quiet
built=target/bench
mkdir -p "$built"
gcc -O2 -Wall -Wextra -o "$built/bare_xsk" bench/bare_xsk.c
clang -O2 -g -target bpf -mcpu=v3 -nostdinc -c bench/drop.bpf.c -o "$built/drop.bpf.o"

name=xm-bench$$
scan=$name-scan
net=$name-net
# No dot in its name: libbpf takes none in the path of a pinned map.
work=$(mktemp -d -t xm-bench-XXXXXX)
tear_down() {
	local ns pids
	trap - EXIT
	trap '' INT TERM
	# The driver ends what it has started; it is not the shell's own child where sudo stands between them.
	if [ -s "$work/pid" ]; then as_root kill "$(cat "$work/pid")" 2>/dev/null || true; fi
	wait
	for ns in "$scan" "$net"; do
		ip netns list | grep -q "^$ns\b" || continue
		# What still runs in a namespace of ours was started by us.
		pids=$(as_root ip netns pids "$ns")
		# shellcheck disable=SC2086 # one word a process
		if [ -n "$pids" ]; then as_root kill $pids 2>/dev/null || true; fi
		as_root ip netns del "$ns"
	done
	if mountpoint -q "$work/bpf"; then as_root umount "$work/bpf"; fi
	rm -rf "$work"
}
trap tear_down EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

say "making a lab: two network namespaces, a veth pair with one queue, a far side that counts and drops"
as_root ip netns add "$scan"
as_root ip netns add "$net"
as_root ip link add scan0 netns "$scan" numrxqueues 1 numtxqueues 1 \
	type veth peer name net0 netns "$net" numrxqueues 1 numtxqueues 1
for ns in "$scan" "$net"; do
	# Nothing but probes is to be on the wire.
	as_root ip netns exec "$ns" sysctl -qw net.ipv6.conf.all.disable_ipv6=1
	as_root ip -n "$ns" link set lo up
done
as_root ip -n "$scan" addr add 198.19.0.1/30 dev scan0
as_root ip -n "$net" addr add 198.19.0.2/30 dev net0
as_root ip -n "$scan" link set scan0 up
as_root ip -n "$net" link set net0 up
as_root ip -n "$scan" route add default via 198.19.0.2
# A file system of its own for the map that is read after each run: nothing is left when it is unmounted.
mkdir "$work/bpf"
as_root mount -t bpf bpf "$work/bpf"
as_root bpftool prog load "$built/drop.bpf.o" "$work/bpf/drop" type xdp pinmaps "$work/bpf"
# By nsenter: `ip netns exec` would hide that file system.
as_root nsenter --net="/run/netns/$net" bpftool net attach xdpdrv pinned "$work/bpf/drop" dev net0
gateway_mac=$(as_root ip -n "$net" -br link show dev net0 | awk '{ print $3 }')

say "measuring: $rounds rounds of $count packets a sender, on core $core"
# In the background, or the shell would look at a signal only when all is over.
as_root env PYTHONDONTWRITEBYTECODE=1 python3 bench/measure.py --rounds "$rounds" --count "$count" --core "$core" \
	--xdpmap target/release/xdpmap --bare "$built/bare_xsk" --scan-namespace "$scan" --scan-interface scan0 \
	--source-ip 198.19.0.1 --gateway-mac "$gateway_mac" --net-namespace "$net" --net-interface net0 \
	--map "$work/bpf/arrivals" --pid-file "$work/pid" >"$work/measured.json" &
wait $!
rm "$work/pid"

if [ -n "$quick" ] && [ -z "$output" ]; then output=$work/results; fi
output=${output:-bench/results}
PYTHONDONTWRITEBYTECODE=1 python3 bench/report.py "$work/measured.json" --output "$output"
for file in results.json results.svg; do
	[ -s "$output/$file" ] || fail "$output/$file was not written"
done
if [ "$output" != "$work/results" ]; then say "wrote results.json and results.svg to $output"; fi
