#!/usr/bin/env bash
# Installs what the tests need and runs all of them. Builds as the user; tests that open sockets on a lab's interface
# run as root, through sudo if available. Further arguments are passed to each `cargo test`.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

need_cargo
need_packages "${build_packages[@]}" "${test_build_packages[@]}"

# A test that needs root and does not get it fails.
export XDPMAP_REQUIRE_ROOT=1
export RUST_BACKTRACE=0
# Limits of the shell must not affect the tests.
for limit in t f d v n; do ulimit -S -$limit "$(ulimit -H -$limit)"; done
umask 022

side_by_side
say "building the tests, while their packages are installed"
start 'the build' cargo test --workspace --locked --quiet --no-run
need_packages "${lab_packages[@]}" "${test_packages[@]}"
# What makes tables of AS numbers, reads Parquet files (four of them) and reports in the form of nmap (two), a terminal, a
# BACnet device, and what validates jobs of Kubernetes and AWS Batch.
need_python pyasn pyarrow pandas duckdb chdb python-libnmap ivre tinydb pyte==0.8.2 bacpypes3==0.0.110 kubernetes-validate==1.37.0 botocore
export XDPMAP_PYTHON=$python
await 'the build'

# The words that precede a `cargo test` whose tests need root.
with_root=()
if [ "$(id -u)" != 0 ]; then
	# Asks for a password, if it has to, while somebody can answer.
	sudo -v
	host=$(rustc -vV | sed -n 's/^host: //p' | tr 'a-z-' 'A-Z_')
	with_root=(env "CARGO_TARGET_${host}_RUNNER=sudo -E")
fi

# ---- virtual machines take minutes, and most of one core each

mapfile -t machines < <(cargo test --workspace --locked --quiet --test zerocopy "$@" -- --list --format terse | sed -n 's/: test$//p' | sort -r)
# Boots machines that no other worker has claimed, by creating the folder of its name. The first two by name in reverse
# have the most cases.
work_on_machines() {
	local machine failed=0
	for machine in "${machines[@]}"; do
		mkdir "$beside/claimed-$machine" 2>/dev/null || continue
		"${with_root[@]}" cargo test --workspace --locked --test zerocopy -- --exact "$machine" || failed=1
	done
	return $failed
}

say "tests in virtual machines with drivers and kernels of their own, and against the kernel, nginx and tshark, begin"
# Nicer, and beside eight busy tests a guest would stand still for seconds, of which its scans then say that targets had
# to be probed again.
start 'tests in virtual machines' work_on_machines
start 'tests in labs' "${with_root[@]}" cargo test --workspace --locked --test lab "$@" -- --test-threads=8
say "unit tests and documentation examples"
cargo test --workspace --locked --lib "$@"
cargo test --workspace --locked --doc "$@"
say "tests without a network, and of the XDP program in the kernel"
"${with_root[@]}" cargo test --workspace --locked --test offline --test kernel --test no_clang --test reproducible "$@"
start 'more tests in virtual machines' work_on_machines
say "tests in labs"
await 'tests in labs'
say "tests in virtual machines"
await 'tests in virtual machines'
await 'more tests in virtual machines'
# They measure, and two cores are soon busy.
say "tests that run alone"
"${with_root[@]}" cargo test --workspace --locked --test alone "$@" -- --test-threads=1
