#!/usr/bin/env bash
# What a packet costs in the XDP program, for each of its verdicts, beside filters that parse and pass.
#
#   ./bench/xdp.sh [--rounds N] [--packets N] [--output DIR]    25 rounds of 1,000,000 packets a case, under a minute
#   ./bench/xdp.sh --quick                                      11 rounds, recorded nowhere
#
# Writes xdp.json and xdp.svg to DIR (bench/results) and prints a table. Fails when a verdict costs more times xdp-filter
# (of xdp-tools) than it may. A quick run takes our own filter and the floor in the ratios, and so only guards against growth.
# Needs root. No packet is sent: the kernel runs the program over frames in memory (BPF_PROG_TEST_RUN), in a network
# namespace that has no interface but its own loopback. What the figures mean: bench/README.md.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh
. bench/lib.sh

rounds=25
packets=1000000
output=
quick=
while [ $# -gt 0 ]; do
	case $1 in
	--rounds) rounds=${2:?--rounds needs a number} && shift 2 ;;
	--packets) packets=${2:?--packets needs a number} && shift 2 ;;
	--output) output=$(caller_path "${2:?--output needs a folder}" -m) && shift 2 ;;
	--quick) quick=1 rounds=11 && shift ;;
	-h | --help) sed -n '2,10s/^# \{0,1\}//p' "$0" && exit 0 ;;
	*) fail "unknown argument $1; see --help" ;;
	esac
done

need_cargo
need_packages "${build_packages[@]}" iproute2 util-linux python3 xdp-tools

bench=$(build_bench xdp)
filter=$built/filter.bpf.o
mkdir -p "$built"
cargo run --release --locked --quiet -p ebpf-build -- bench/filter.bpf.c "$filter"
measured=$(mktemp)
trap 'rm -f "$measured"' EXIT
say "measuring: $rounds rounds of $packets packets a case"
# A filter that others wrote for use, as a second yardstick. Its maps are pinned by name: into a file system that goes when
# this ends.
also=()
for object in $(dpkg -L xdp-tools libxdp1 | grep -E '/xdpfilt_alw_(tcp|all)\.o$'); do also+=(--also "$object"); done
# shellcheck disable=SC2016 # the inner shell's words
as_root unshare --mount sh -c 'mount -t bpf bpf /sys/fs/bpf && exec "$@"' sh \
	"$bench" --filter "$filter" "${also[@]}" --rounds "$rounds" --packets "$packets" >"$measured"
report "$output" "$quick" bench/xdp.py "$measured" --rounds "$rounds" --packets "$packets" ${quick:+--quick}
