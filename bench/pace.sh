#!/usr/bin/env bash
# Holds the rate that was asked for against the one that the far side sees, from 10 packets a second to a million.
#
#   ./bench/pace.sh [--seconds N] [--core N] [--output DIR]    60 s and 600 probes each, on the last core: 10 minutes
#   ./bench/pace.sh --quick                                    3 s each, from 1,000 packets a second
#
# Writes pace.json and pace.svg to DIR (bench/results; nowhere with --quick), and prints a table. Fails when
# a rate up to 100,000 packets a second is missed by more than 1 %. No packet leaves the machine: the lab is two network
# namespaces with a wire between them. What the figures mean: bench/README.md.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh
. bench/lib.sh

seconds=60
core=
output=
quick=
while [ $# -gt 0 ]; do
	case $1 in
	--seconds) seconds=${2:?--seconds needs a number} && shift 2 ;;
	--core) core=${2:?--core needs a number} && shift 2 ;;
	--output) output=$(caller_path "${2:?--output needs a folder}" -m) && shift 2 ;;
	--quick) quick=1 seconds=3 && shift ;;
	-h | --help) sed -n '2,9s/^# \{0,1\}//p' "$0" && exit 0 ;;
	*) fail "unknown argument $1; see --help" ;;
	esac
done

need_cargo
need_packages "${build_packages[@]}" iproute2 procps util-linux python3 bpftool zmap
core=${core:-$(last_core)}

say "building xdpmap and the far side"
cargo build --release --locked --quiet
build_bpf gaps

# shellcheck source=bench/lab.sh
. bench/lab.sh
make_lab "$built/gaps.bpf.o"

say "measuring: $seconds s a rate, on core $core"
# In the background, or the shell would look at a signal only when all is over.
as_root env PYTHONDONTWRITEBYTECODE=1 python3 bench/pace.py measure --seconds "$seconds" --core "$core" \
	--xdpmap target/release/xdpmap --scan-namespace "$scan" --scan-interface scan0 --source-ip 198.19.0.1 \
	--gateway-mac "$gateway_mac" --map "$work/bpf/arrivals" --pid-file "$work/pid" ${quick:+--quick} \
	>"$work/measured.json" &
wait $!
rm -f "$work/pid"

report "$output" "$quick" bench/pace.py report "$work/measured.json"
