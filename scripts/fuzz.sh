#!/usr/bin/env bash
# Feeds every parser of files and network bytes, and the rings of AF_XDP sockets, with what libFuzzer makes up, guided
# by the code that it reaches.
#
#   ./scripts/fuzz.sh SECONDS [TARGET...]    each target, or those named, for this long; fails if one of them does
#
# A target is a file in fuzz/src/targets and a line in its mod.rs; its first inputs are in fuzz/corpus/TARGET. Inputs
# worth keeping go to target/fuzz/corpus/TARGET, where the next run uses them; an input that makes a target fail is left
# in target/fuzz/failures. Needs no nightly compiler: coverage is an LLVM pass that stable rustc can enable. There is no
# address sanitizer then; the parsers have no unsafe code for it to check. What the XDP program makes of a frame is
# compared with the scanner's own check by a test (scanner/tests/kernel/differential.rs), because it needs root, and
# because no fuzzer guesses a cookie: its frames begin as right answers.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

seconds=${1:-}
case $seconds in
'' | *[!0-9]*) fail "say for how many seconds each target is to run, such as ./scripts/fuzz.sh 20" ;;
esac
shift

need_cargo
need_packages "${build_packages[@]}" g++

if [ $# -gt 0 ]; then
	targets=("$@")
else
	mapfile -t targets < <(basename -s .rs -- fuzz/src/targets/*.rs | grep -vx mod)
fi
host=$(rustc -vV | sed -n 's/^host: //p')
coverage="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4"
for part in inline-8bit-counters pc-table trace-compares; do
	coverage+=" -Cllvm-args=-sanitizer-coverage-$part"
done

# The project's pinned versions; cargo adds what only fuzzing needs.
cp Cargo.lock fuzz/Cargo.lock
# With a host named, the flags apply to it only, not to build scripts.
say "building the targets"
RUSTFLAGS="--cfg fuzzing $coverage" cargo build --manifest-path fuzz/Cargo.toml --quiet --release \
	--target "$host" --target-dir target/fuzz
parsers=target/fuzz/$host/release/parsers

failures=target/fuzz/failures
mkdir -p "$failures"

# Runs one target for its time.
run() {
	local target=$1 found=target/fuzz/corpus/$1 log=target/fuzz/$1.log runs covered
	mkdir -p "$found"
	# libFuzzer writes what it finds to the first folder
	if ! FUZZ_TARGET=$target "$parsers" "$found" "fuzz/corpus/$target" -max_total_time="$seconds" \
		-timeout=10 -rss_limit_mb=2048 -print_final_stats=1 -artifact_prefix="$failures/$target-" >"$log" 2>&1; then
		tail -n 40 "$log" >&2
		fail "$target failed; its input is in $failures, and this is how to see it again: FUZZ_TARGET=$target $parsers FILE"
	fi
	runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
	covered=$(grep -oE 'cov: [0-9]+' "$log" | tail -n 1)
	say "$target: ${runs:-no} inputs, ${covered:-no coverage}"
}

say "${#targets[@]} targets, $seconds seconds each, $(nproc) at a time"
failed=0
for target in "${targets[@]}"; do
	while [ "$(jobs -rp | wc -l)" -ge "$(nproc)" ]; do wait -n || failed=1; done
	run "$target" &
done
while [ -n "$(jobs -p)" ]; do wait -n || failed=1; done
[ "$failed" = 0 ] || exit 1
