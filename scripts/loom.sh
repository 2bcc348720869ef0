#!/usr/bin/env bash
# Tries every order in which threads can meet in what they hand over without locks: leases, counters, the scan's control
# word, exclusions, budgets, the sleep of the live sender.
#
#   ./scripts/loom.sh [MODEL...]    all models, or those named; fails at the first order in which one does
#
# The models are in models/. They compile the project's sources with the atomics of loom, and need no root.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

need_cargo
need_packages gcc libc6-dev

# The project's pinned versions; cargo adds what only the models need.
cp Cargo.lock models/Cargo.lock
say "building the models"
cargo build --manifest-path models/Cargo.toml --quiet --release --target-dir target/models
say "every order of their threads"
target/models/release/xdpmap-models "$@"
