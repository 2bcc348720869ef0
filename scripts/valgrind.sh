#!/usr/bin/env bash
# Runs the tests of AF_XDP sockets over in-memory rings under valgrind, which sees what the compiler does not: memory that
# is used before it was written, that is outside of what was mapped or allocated, or that is lost.
#
#   ./scripts/valgrind.sh [TEST...]    all tests, or those whose names hold one of these words
#
# It needs no root. Rings that a kernel writes are in memory which valgrind takes for written, so they are not among them.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

need_cargo
need_packages "${build_packages[@]}" "${test_build_packages[@]}" valgrind

say "building the tests"
program=$(cargo test --quiet --package xdpmap-xsk --lib --no-run --locked --message-format=json |
	sed -n 's/.*"executable":"\([^"]*\)".*/\1/p' | tail -n 1)
[ -n "$program" ] || fail "cargo has named no program of tests"

say "tests under valgrind"
valgrind --quiet --error-exitcode=99 --leak-check=full --errors-for-leak-kinds=definite --track-origins=yes \
	"$program" "$@"
