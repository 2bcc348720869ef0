#!/usr/bin/env bash
# Installs what the tests need and runs all of them. Builds as the user; tests that open sockets on a lab's interface
# run as root, through sudo where there is one. Further arguments go to each `cargo test`.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

need_cargo
need_packages "${build_packages[@]}" "${lab_packages[@]}" "${test_packages[@]}"

# What reads Parquet files, and a BACnet device; Debian has no packages of them.
python=target/python
[ -x "$python/bin/python" ] || python3 -m venv "$python"
"$python/bin/python" -c 'import pyarrow, bacpypes3' 2>/dev/null ||
	"$python/bin/pip" --quiet install pyarrow bacpypes3==0.0.110
XDPMAP_PYTHON=$PWD/$python/bin/python
export XDPMAP_PYTHON

# A test that needs root and does not get it has failed.
export XDPMAP_REQUIRE_ROOT=1
export RUST_BACKTRACE=0
# What a shell was told to limit is not what tests are about.
for limit in t f d v n; do ulimit -S -$limit "$(ulimit -H -$limit)"; done
umask 022

say "building the tests"
cargo test --workspace --locked --quiet --no-run
# What goes before a `cargo test` whose tests need root.
with_root=()
if [ "$(id -u)" != 0 ]; then
	host=$(rustc -vV | sed -n 's/^host: //p' | tr 'a-z-' 'A-Z_')
	with_root=(env "CARGO_TARGET_${host}_RUNNER=sudo -E")
fi

# The virtual machines take minutes, and most of one core: they run beside the tests up to those of labs, which wait more than
# they work.
said=$(mktemp)
setsid "${with_root[@]}" cargo test --workspace --locked --test zerocopy "$@" -- --test-threads=1 >"$said" 2>&1 &
machines=$!
finish() {
	trap - EXIT INT TERM
	if [ -n "$machines" ]; then
		kill -TERM -- "-$machines" 2>/dev/null || true
		wait "$machines" || true
	fi
	rm -f "$said"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

say "unit tests and documentation examples"
cargo test --workspace --locked --lib "$@"
cargo test --workspace --locked --doc "$@"
say "tests without a network, and of the XDP program in the kernel"
"${with_root[@]}" cargo test --workspace --locked --test offline --test kernel --test no_clang --test reproducible "$@"
say "tests against the kernel, nginx and tshark"
"${with_root[@]}" cargo test --workspace --locked --test lab "$@" -- --test-threads=4
say "tests in virtual machines, with drivers and kernels of their own"
status=0
wait "$machines" || status=$?
machines=
cat "$said"
[ "$status" = 0 ] || fail "the tests in virtual machines failed"
# They measure, and two cores are soon full.
say "tests that run alone"
"${with_root[@]}" cargo test --workspace --locked --test alone "$@" -- --test-threads=1
