#!/usr/bin/env bash
# Shared by the benchmarks. Sourced, not run, after scripts/lib.sh.
# shellcheck disable=SC2034 # what is set here is used by those who source it

# A path as the caller gave it, before the script went to the repository's root.
# caller_path PATH [realpath's options]
caller_path() { (cd "$OLDPWD" && realpath "${@:2}" -- "$1"); }

# The last of the cores that this process may use: the first is where most interrupts go.
last_core() { python3 -c 'import os; print(max(os.sched_getaffinity(0)))'; }

# Where programs of C and BPF are built.
built=target/bench

# Builds programs for the far side and for bare senders: bench/NAME.bpf.c.
# build_bpf NAME...
build_bpf() {
	local program
	mkdir -p "$built"
	for program in "$@"; do
		clang -O2 -g -target bpf -mcpu=v3 -nostdinc -c "bench/$program.bpf.c" -o "$built/$program.bpf.o"
	done
}

# The path of a benchmark's executable, built first: as a release is. All are one, which goes by its name.
# build_bench NAME
build_bench() {
	say "building the benchmarks' programs"
	cargo build --release --locked --quiet -p xdpmap-bench
	ln -sf bench "target/release/bench-$1"
	echo "$PWD/target/release/bench-$1"
}

# Runs a report as the user; without a folder that it was told, its files are thrown away after a quick run.
# report FOLDER QUICK COMMAND...
report() {
	local folder=$1 quick=$2 passing=
	shift 2
	if [ -z "$folder" ] && [ -n "$quick" ]; then folder=$(mktemp -d) passing=1; fi
	folder=${folder:-bench/results}
	local status=0
	PYTHONDONTWRITEBYTECODE=1 python3 "$@" --output "$folder" || status=$?
	if [ -n "$passing" ]; then rm -rf "$folder"; else say "wrote to $folder"; fi
	return $status
}
