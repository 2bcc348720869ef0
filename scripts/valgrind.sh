#!/usr/bin/env bash
# Runs the tests of rings in memory under valgrind, which sees what the compiler does not: memory that is used before it
# was written, that is outside of what was mapped or allocated, or that is lost. They are those of AF_XDP sockets
# (crates/xsk) and that of live frames (scanner/src/io/live).
#
#   ./scripts/valgrind.sh
#
# It needs no root. Rings that a kernel writes are in memory which valgrind takes for written, so they are not among
# them.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

need_cargo
need_packages "${build_packages[@]}" "${test_build_packages[@]}" valgrind

say "building the tests"
# All of them, as for scripts/test.sh, whose build this uses.
built=$(cargo test --workspace --lib --no-run --locked --quiet --message-format=json)

# under CRATE ARGUMENT...: the unit tests of a crate that the arguments choose.
under() {
	local crate=$1 program
	shift
	program=$(sed -n "s/.*\"name\":\"$crate\".*\"executable\":\"\([^\"]*\)\".*/\1/p" <<<"$built")
	[ -n "$program" ] || fail "cargo has named no tests of $crate"
	say "tests of $crate under valgrind"
	valgrind --quiet --error-exitcode=99 --leak-check=full --show-leak-kinds=definite --errors-for-leak-kinds=definite \
		"$program" "$@"
}

# Two threads take turns under valgrind, which makes them slow and shows no race: Miri sees those.
under xsk --skip both_sides_run_at_once
under xdpmap io::live::ring
