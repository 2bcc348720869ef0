#!/usr/bin/env bash
# A lab to scan: two network namespaces and a veth pair. Nothing in it can leave the machine.
#
#   lab.sh up   NAME [QUEUES]   make it (4 queues); xm-NAME-scan runs the scan, xm-NAME-net answers
#   lab.sh down NAME            remove it and its processes; no harm if there is none
#   lab.sh truth PORT...        print what answers there: address,port,synack|rst
#   lab.sh --help               list all commands and options
#
# This script builds the program `lab` if necessary, and runs it.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=scripts/lib.sh
. "$root/scripts/lib.sh"

program=$root/target/release/lab
if [ ! -x "$program" ] || [ -n "$(find "$root/lab" -newer "$program" -print -quit)" ]; then
	# Under sudo, the user's own cargo builds, and the user owns what it writes.
	builder=()
	if [ "$(id -u)" = 0 ] && [ -n "${SUDO_USER:-}" ]; then builder=(sudo --set-home --user "$SUDO_USER"); fi
	# shellcheck disable=SC2016 # the inner shell's words
	"${builder[@]}" bash -euc 'cd "$1"; . scripts/lib.sh; need_cargo; cargo build --release --locked --quiet --package lab' lab "$root"
fi
exec "$program" "$@"
