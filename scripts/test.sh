#!/usr/bin/env bash
# Installs what the tests need and runs all of them. Builds as the user; tests that open sockets on a lab's interface
# run as root, through sudo where there is one. Further arguments go to `cargo test`.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

need_cargo
need_packages "${build_packages[@]}" "${lab_packages[@]}" tshark tcpdump nftables zmap \
	snmpd unbound chrony memcached rpcbind atftpd jq redis-server python3-venv libcap2-bin minissdpd miniupnpd-nftables \
	curl nmap wireguard-go wireguard-tools

# What reads Parquet files, and a BACnet device; Debian has no packages of them.
python=target/python
[ -x "$python/bin/python" ] || python3 -m venv "$python"
"$python/bin/python" -c 'import pyarrow, bacpypes3' 2>/dev/null ||
	"$python/bin/pip" --quiet install pyarrow bacpypes3==0.0.110
XDPMAP_PYTHON=$PWD/$python/bin/python
export XDPMAP_PYTHON

# With root to be had, a test that needs it and does not get it has failed.
export XDPMAP_REQUIRE_ROOT=1
export RUST_BACKTRACE=0

say "unit tests and documentation examples"
cargo test --workspace --locked --lib --bins "$@"
cargo test --workspace --locked --doc "$@"

say "tests against the kernel, nginx and tshark"
if [ "$(id -u)" != 0 ]; then
	host=$(rustc -vV | sed -n 's/^host: //p' | tr 'a-z-' 'A-Z_')
	export "CARGO_TARGET_${host}_RUNNER=sudo -E"
fi
# One at a time: they measure, and two cores are soon full.
cargo test --workspace --locked --test '*' "$@" -- --test-threads=1
