#!/usr/bin/env bash
# Builds xdpmap as one file that needs no library of the host, and prints where it is.
#
#   ./scripts/static.sh
#
# It runs on any Linux of this architecture, even in an empty container. README.md names the oldest kernel.
# docs/tuning.md (Containers) says what it does not support.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

case ${1:-} in
'') ;;
-h | --help) sed -n '2,7s/^# \{0,1\}//p' "$0" && exit 0 ;;
*) fail "unknown argument $1; see --help" ;;
esac

need_cargo
need_packages "${build_packages[@]}"
host=$(rustc -vV | sed -n 's/^host: //p')
# With the host named, the flag applies to the program only, not to build scripts and macros.
RUSTFLAGS="${RUSTFLAGS:-} -C target-feature=+crt-static" \
	cargo build --release --locked --quiet --package xdpmap --bin xdpmap --target "$host"
echo "$PWD/target/$host/release/xdpmap"
