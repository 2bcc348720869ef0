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

# The virtual machines take minutes, and most of one core each. One at a time runs beside the tests up to those of labs, which wait more
# than they work; then what is left, at once. The first by name in reverse has the most cases. Whoever makes the folder of a machine's
# name has taken it.
machines=$(mktemp -d)
mapfile -t names < <(cargo test --workspace --locked --quiet --test zerocopy "$@" -- --list --format terse | sed -n 's/: test$//p' | sort -r)
work_on_machines() {
	local name
	for name in "${names[@]}"; do
		mkdir "$machines/$name" 2>/dev/null || continue
		if ! "${with_root[@]}" cargo test --workspace --locked --test zerocopy -- --exact "$name" >"$machines/$name/said" 2>&1; then
			touch "$machines/$name/failed"
		fi
	done
}
workers=()
start_worker() {
	set -m
	work_on_machines &
	set +m
	workers+=($!)
}
finish() {
	trap - EXIT INT TERM
	local worker
	for worker in "${workers[@]}"; do kill -TERM -- "-$worker" 2>/dev/null || true; done
	wait "${workers[@]}" || true
	rm -rf "$machines"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
start_worker

say "unit tests and documentation examples"
cargo test --workspace --locked --lib "$@"
cargo test --workspace --locked --doc "$@"
say "tests without a network, and of the XDP program in the kernel"
"${with_root[@]}" cargo test --workspace --locked --test offline --test kernel --test no_clang --test reproducible "$@"
say "tests against the kernel, nginx and tshark"
"${with_root[@]}" cargo test --workspace --locked --test lab "$@" -- --test-threads=4
say "tests in virtual machines, with drivers and kernels of their own"
for _ in "${names[@]:1}"; do start_worker; done
wait "${workers[@]}"
workers=()
for name in "${names[@]}"; do cat "$machines/$name/said"; done
failed=$(cd "$machines" && find . -name failed | cut -d / -f 2 | xargs)
[ -z "$failed" ] || fail "tests in virtual machines failed: $failed"
# They measure, and two cores are soon full.
say "tests that run alone"
"${with_root[@]}" cargo test --workspace --locked --test alone "$@" -- --test-threads=1
