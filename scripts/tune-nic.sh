#!/usr/bin/env bash
# Prepares an interface and its host for fast scans, and restores the former settings.
#
#   scripts/tune-nic.sh IFACE check    print each setting, its best value, and why; exits with 1 if one differs; changes nothing
#   scripts/tune-nic.sh IFACE apply    change the settings that differ, and record the former values
#   scripts/tune-nic.sh IFACE undo     restore the values from before the first apply
#
#   --workers N   workers of a scan [default: the number of cores that this process may use]
#   --vlan        a VLAN of this interface will be scanned
#   --only LIST   only these stages: channels,ring,coalesce,offload,pause,rss,irq,irqbalance,governor,hugepages,busy-poll
#
# The stage busy-poll, for scans with --busy-poll, is checked and set only if --only names it, because it delays the
# interrupts for the host's own traffic.
#
# Every stage can be done again without harm. What a driver does not have is left alone. This calls `xdpmap doctor` with
# --check, --apply and --undo: the xdpmap in PATH, or the one that was built here. Needs root for apply and undo. What was
# there is kept in $XDPMAP_TUNE_STATE, or /run/xdpmap, one file per interface: a reboot forgets both it and the changes.
set -euo pipefail

usage() {
	sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//p}' "$0"
	exit "$1"
}
fail() {
	printf 'error: %s\n' "$*" >&2
	exit 2
}

interface='' action='' options=()
while [ $# -gt 0 ]; do
	case $1 in
	-h | --help) usage 0 ;;
	--workers | --only)
		options+=("$1=${2-}")
		shift
		;;
	--vlan) options+=("$1") ;;
	check | apply | undo) action=$1 ;;
	-*) fail "there is no option $1; see $0 --help" ;;
	*) interface=$1 ;;
	esac
	shift || true
done
if [ -z "$interface" ] || [ -z "$action" ]; then usage 2 >&2; fi
# What was set on an interface that is gone can still be undone.
if [ "$action" = undo ]; then
	options=()
elif [ ! -e "/sys/class/net/$interface" ]; then
	fail "there is no interface '$interface'; there is $(cd /sys/class/net && echo *)"
fi
program=$(command -v xdpmap || true)
[ -n "$program" ] || program=$(dirname "$0")/../target/release/xdpmap
[ -x "$program" ] || fail "there is no xdpmap in PATH, and none is built: cargo build --release --locked"
exec "$program" doctor "--$action" --interface "$interface" "${options[@]}"
