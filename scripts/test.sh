#!/usr/bin/env bash
# Installs what the tests need and runs all of them. Builds as the user; tests that open sockets on a lab's interface
# run as root, through sudo if available. Further arguments are passed to each `cargo test`.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

need_cargo
need_packages "${build_packages[@]}" "${test_build_packages[@]}" "${lab_packages[@]}" "${test_packages[@]}"

# What makes tables of AS numbers, reads Parquet files (three of them) and reports in the form of nmap, a terminal, a BACnet
# device, and what validates jobs of Kubernetes and AWS Batch.
need_python pyasn pyarrow pandas duckdb python-libnmap pyte==0.8.2 bacpypes3==0.0.110 kubernetes-validate==1.37.0 botocore
export XDPMAP_PYTHON=$python

# A test that needs root and does not get it fails.
export XDPMAP_REQUIRE_ROOT=1
export RUST_BACKTRACE=0
# Limits of the shell must not affect the tests.
for limit in t f d v n; do ulimit -S -$limit "$(ulimit -H -$limit)"; done
umask 022

say "building the tests"
cargo test --workspace --locked --quiet --no-run
# The words that precede a `cargo test` whose tests need root.
with_root=()
if [ "$(id -u)" != 0 ]; then
	host=$(rustc -vV | sed -n 's/^host: //p' | tr 'a-z-' 'A-Z_')
	with_root=(env "CARGO_TARGET_${host}_RUNNER=sudo -E")
fi

# The virtual machines take minutes, and most of one core each. Until the lab's tests are over, one at a time runs in
# the background, in the time that the other tests leave; lab tests mostly wait. Then there are up to three. The first two
# by name in reverse have the most cases. A job claims a machine by creating the folder of its name.
machines=$(mktemp -d)
mapfile -t names < <(cargo test --workspace --locked --quiet --test zerocopy "$@" -- --list --format terse | sed -n 's/: test$//p' | sort -r)
work_on_machines() {
	local name
	for name in "${names[@]}"; do
		mkdir "$machines/$name" 2>/dev/null || continue
		if ! "$@" "${with_root[@]}" cargo test --workspace --locked --test zerocopy -- --exact "$name" >"$machines/$name/said" 2>&1; then
			touch "$machines/$name/failed"
		fi
	done
}
workers=()
start_worker() {
	set -m
	work_on_machines "$@" &
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
# Nicer, and beside eight busy tests a guest would stand still for seconds, of which its scans then say that targets had
# to be probed again.
start_worker nice -n 10

say "unit tests and documentation examples"
cargo test --workspace --locked --lib "$@"
cargo test --workspace --locked --doc "$@"
say "tests without a network, and of the XDP program in the kernel"
"${with_root[@]}" cargo test --workspace --locked --test offline --test kernel --test no_clang --test reproducible "$@"
say "tests against the kernel, nginx and tshark"
"${with_root[@]}" cargo test --workspace --locked --test lab "$@" -- --test-threads=8
say "tests in virtual machines, with drivers and kernels of their own"
for _ in 1 2; do start_worker; done
wait "${workers[@]}"
workers=()
for name in "${names[@]}"; do cat "$machines/$name/said"; done
failed=$(cd "$machines" && find . -name failed | cut -d / -f 2 | xargs)
[ -z "$failed" ] || fail "tests in virtual machines failed: $failed"
# They measure, and two cores are soon busy.
say "tests that run alone"
"${with_root[@]}" cargo test --workspace --locked --test alone "$@" -- --test-threads=1
