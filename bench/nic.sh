#!/usr/bin/env bash
# How fast does xdpmap send through this network card, in each mode that the card has, and what does a packet cost?
#
#   ./bench/nic.sh --nic eth1 --to MAC [--seconds N] [--rounds N] [--output DIR]    10 s a run, 3 rounds
#   ./bench/nic.sh --nic eth1 --to MAC --quick                                      1 s, 1 round; recorded nowhere
#
# MAC is whom the frames go to on the wire: a second port, another host or a switch that drops them. Targets are 198.18.0.0/15,
# the networks set aside for benchmarks (RFC 2544): whatever is at the other end must not forward them. Every run asks for as
# much as the card takes, with 1, 2, 4, ... workers, in the modes zerocopy, live and copy; a mode that is not to be had is
# named with its reason. What left is counted by the card beside xdpmap's own count.
#
# Writes nic.json and nic.svg to DIR (bench/results) and prints a table. Needs root, through sudo where there is one.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh
. bench/lib.sh

nic=
to=
seconds=10
rounds=3
output=
quick=
while [ $# -gt 0 ]; do
	case $1 in
	--nic) nic=${2:?--nic needs an interface} && shift 2 ;;
	--to) to=${2:?--to needs a MAC address} && shift 2 ;;
	--seconds) seconds=${2:?--seconds needs a number} && shift 2 ;;
	--rounds) rounds=${2:?--rounds needs a number} && shift 2 ;;
	--output) output=$(caller_path "${2:?--output needs a folder}" -m) && shift 2 ;;
	--quick) quick=1 seconds=1 rounds=1 && shift ;;
	-h | --help) sed -n '2,13s/^# \{0,1\}//p' "$0" && exit 0 ;;
	*) fail "unknown argument $1; see --help" ;;
	esac
done
[ -n "$nic" ] || fail "--nic: name the interface that is to send"
[ -n "$to" ] || fail "--to: give the MAC address at the other end of the wire; see --help"
[ -e "/sys/class/net/$nic" ] || fail "--nic: there is no interface $nic; ip link lists them"

need_cargo
need_packages "${build_packages[@]}" iproute2 ethtool python3
say "building xdpmap"
cargo build --release --locked --quiet

measured=$(mktemp)
trap 'rm -f "$measured"' EXIT
say "sending as fast as $nic takes it to $to: 198.18.0.0/15, $rounds rounds of $seconds s a mode and number of workers"
as_root env PYTHONDONTWRITEBYTECODE=1 python3 bench/nic.py measure --xdpmap target/release/xdpmap --interface "$nic" \
	--gateway-mac "$to" --seconds "$seconds" --rounds "$rounds" >"$measured"
report "$output" "$quick" bench/nic.py report "$measured"
[ -n "$quick" ] || say "nic.json is worth sharing: it says which card, driver and kernel do how much"
