#!/usr/bin/env bash
# The lab of the benchmarks, sourced by them: two network namespaces, a veth pair with one queue, and at its far end a
# program that counts and drops. It is taken down when the shell that sourced this ends, also after Ctrl-C and failure.
#
# Sets: name, scan and net (the namespaces), work (a temporary folder), gateway_mac. A process that is to end with the lab
# writes its pid into $work/pid.
# shellcheck disable=SC2034 # what is set here is used by those who source it

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
		[ -e "/run/netns/$ns" ] || continue
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

# make_lab OBJECT: the object holds the far end's XDP program, and a map `arrivals` that is pinned at $work/bpf/arrivals.
make_lab() {
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
	as_root bpftool prog load "$1" "$work/bpf/drop" type xdp pinmaps "$work/bpf"
	# By nsenter: `ip netns exec` would hide that file system.
	as_root nsenter --net="/run/netns/$net" bpftool net attach xdpdrv pinned "$work/bpf/drop" dev net0
	gateway_mac=$(as_root ip -n "$net" -br link show dev net0 | awk '{ print $3 }')
}
