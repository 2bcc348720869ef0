#!/usr/bin/env bash
# What does busy polling (--busy-poll) change: replies received, probes a second, CPU time? In one command.
#
#   ./bench/busy.sh [--output DIR]    3 rounds with and without, at 5,000 and at 20,000 packets a second; three minutes
#
# Runs in the virtual machine of scripts/lab-zerocopy.sh, from one emulated igb to another over zero-copy rings. Processor
# and card are emulated by software, so only the ratios say something, and not of a real card. The interrupts are kept back
# as `scripts/tune-nic.sh apply --only busy-poll` does it. Writes busy.json to DIR (bench/results) and prints a table.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh
. bench/lib.sh

output=
while [ $# -gt 0 ]; do
	case $1 in
	--output) output=$(caller_path "${2:?--output needs a folder}" -m) && shift 2 ;;
	-h | --help) sed -n '2,8s/^# \{0,1\}//p' "$0" && exit 0 ;;
	*) fail "unknown argument $1; see --help" ;;
	esac
done

need_cargo
need_packages "${build_packages[@]}" "${lab_packages[@]}" libcap2-bin python3
say "building xdpmap"
cargo build --release --locked --quiet

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
LAB_CASES=busy scripts/lab-zerocopy.sh run newest target/release/xdpmap "$work"
report "$output" "" bench/busy.py "$work"
