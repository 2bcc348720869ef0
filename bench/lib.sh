#!/usr/bin/env bash
# Shared by the benchmarks of one part alone (engine, results, xdp). Sourced, not run, after scripts/lib.sh.

# The path of a benchmark's executable, built first. All are built with the same features, so that they share one library.
# build_bench NAME
build_bench() {
	say "building the benchmark $1"
	cargo bench --locked --quiet -p xdpmap --features stand-in --bench "$1" --no-run --message-format=json |
		python3 -c 'import json, sys
built = [json.loads(line) for line in sys.stdin if line.startswith("{")]
print(next(unit["executable"] for unit in built if unit.get("target", {}).get("name") == sys.argv[1] and unit.get("executable")))' "$1"
}
