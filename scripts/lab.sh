#!/usr/bin/env bash
# A lab to scan: two network namespaces and a veth pair. Nothing in it can leave the machine.
#
#   lab.sh up   NAME [QUEUES]   make it (4 queues); xm-NAME-scan runs the scan, xm-NAME-net answers
#   lab.sh down NAME            remove it, servers and all; no harm if there is none
#   lab.sh truth PORT...        print who answers there: address,port,synack|rst
#
# xm-NAME-net answers for 198.18.0.0/16: a real nginx on 300 addresses (port 80) and 40 (port 8080), a reset from the
# kernel for the rest of 198.18.0.0/17, silence for the rest of 198.18.128.0/17.
set -euo pipefail

servers=300
servers_8080=40
first=$((198 << 24 | 18 << 16))

dotted() { printf '%d.%d.%d.%d\n' $(($1 >> 24)) $(($1 >> 16 & 255)) $(($1 >> 8 & 255)) $(($1 & 255)); }
# The addresses of the first N servers: 211 apart, so that they fall into both halves.
server_addresses() {
	local i
	for ((i = 0; i < $1; i++)); do dotted $((first + i * 211 + 3)); done
}

write_nginx_config() {
	local folder=$1 address
	{
		echo "worker_processes 1; pid $folder/pid; error_log $folder/error.log; events { worker_connections 4096; }"
		echo "http { access_log off; server {"
		for address in $(server_addresses $servers); do echo "listen $address:80;"; done
		for address in $(server_addresses $servers_8080); do echo "listen $address:8080;"; done
		echo "return 200; } }"
	} >"$folder/nginx.conf"
}

up() {
	local name=$1 queues=${2:-4}
	local scan=xm-$name-scan net=xm-$name-net folder=/run/xdpmap-lab-$name address
	down "$name"
	# Half a lab is of no use.
	trap 'down "$name"' ERR
	mkdir -p "$folder"
	ip netns add "$scan"
	ip netns add "$net"
	ip link add scan0 netns "$scan" numrxqueues "$queues" numtxqueues "$queues" \
		type veth peer name net0 netns "$net" numrxqueues "$queues" numtxqueues "$queues"
	for ns in "$scan" "$net"; do
		ip netns exec "$ns" sysctl -qw net.ipv6.conf.all.disable_ipv6=1
		ip -n "$ns" link set lo up
	done
	ip -n "$scan" addr add 198.19.0.1/30 dev scan0
	ip -n "$net" addr add 198.19.0.2/30 dev net0
	ip -n "$scan" link set scan0 up
	ip -n "$net" link set net0 up
	ip -n "$scan" route add default via 198.19.0.2
	ip -n "$net" route add local 198.18.0.0/17 dev lo
	ip -n "$net" route add blackhole 198.18.128.0/17
	server_addresses $servers | sed 's,.*,route replace local &/32 dev lo,' | ip -n "$net" -batch -
	# Else SYN-ACKs leave without a TCP checksum: it is left to an offload that a veth does not have.
	ip netns exec "$net" ethtool -K net0 tx off >/dev/null
	write_nginx_config "$folder"
	ip netns exec "$net" nginx -p "$folder" -c "$folder/nginx.conf"
}

down() {
	local name=$1 ns
	local folder=/run/xdpmap-lab-$name
	if [ -s "$folder/pid" ]; then
		kill "$(cat "$folder/pid")" 2>/dev/null || true
	fi
	for ns in "xm-$name-scan" "xm-$name-net"; do
		if [ -e "/run/netns/$ns" ]; then ip netns del "$ns"; fi
	done
	rm -rf "$folder"
}

truth() {
	local port count
	for port in "$@"; do
		case $port in
		80) count=$servers ;;
		8080) count=$servers_8080 ;;
		*) count=0 ;;
		esac
		server_addresses $count | awk -v port="$port" '
			{ split($0, a, "."); open[a[3] * 256 + a[4]] = 1 }
			END {
				for (host = 0; host < 65536; host++)
					if (host in open || host < 32768)
						printf "198.18.%d.%d,%s,%s\n", int(host / 256), host % 256, port, host in open ? "synack" : "rst"
			}'
	done
}

usage() {
	sed -n '2,11s/^# \{0,1\}//p' "$0" >&2
	exit 2
}

[ $# -ge 2 ] || usage
verb=$1
shift
case $verb in
up | down | truth) "$verb" "$@" ;;
*) usage ;;
esac
