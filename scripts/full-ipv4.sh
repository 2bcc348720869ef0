#!/usr/bin/env bash
# Proves that a scan of the whole Internet would probe every allowed address once and nothing else: all its targets, as
# the fast dry run writes them, against a bitmap of 2^32 bits. Sends nothing. Takes minutes and 512 MiB.
#
#   ./scripts/full-ipv4.sh [SEED]
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

seed=${1:-1}
port=443
need_cargo
# An example is built with the dependencies of tests.
need_packages "${build_packages[@]}" "${test_build_packages[@]}"

say "building"
cargo build --release --locked --quiet --bin xdpmap --example cover

say "all of IPv4, seed $seed"
began=$SECONDS
target/release/xdpmap --fast-dryrun -p "$port" -e "$seed" -r 0 -q -v 1 -b conf/blocklist.conf |
	target/release/examples/cover "$port" conf/blocklist.conf
say "took $((SECONDS - began)) seconds"
