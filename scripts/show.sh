#!/usr/bin/env bash
# xdpmap in a minute, for those who know ZMap: the same scan by both, three shards, Ctrl-C and what comes after it, and a
# question to the results.
#
#   ./scripts/show.sh [--program FILE]
#
# --program scans with that xdpmap and builds none. Each step is checked, and fails if it does not show what it says. zmap
# is Debian's, which is installed if it is missing, as is DuckDB (from PyPI, into target/python).
#
# No packet leaves the machine: all scans are in a lab (scripts/lab.sh), which is removed at the end, even after Ctrl-C
# and failure.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

program=
while [ $# -gt 0 ]; do
	case $1 in
	--program) program=$(realpath -e "${2:?--program needs a file}") && shift 2 ;;
	-h | --help) sed -n '2,11s/^# \{0,1\}//p' "$0" && exit 0 ;;
	*) fail "unknown argument $1; see --help" ;;
	esac
done

need_packages "${lab_packages[@]}" zmap jq python3-venv
need_python duckdb
need_xdpmap "$program"
make_lab show 4

# Without the machine's config file and block list.
touch "$work/none"
common=(-C "$work/none" -b "$work/none" -i scan0 -p 80 -c 2)
# What a scan is started by, if anything.
stop_after=()
# A scan of the lab by xdpmap, with further options.
scan() { inside "${stop_after[@]}" "$program" "${common[@]}" -q --verbosity 2 --allow-reserved "$@" 198.18.0.0/16; }
# A number of seconds, with two digits.
seconds_since() { awk -v began="$1" -v ended="$(date +%s.%N)" 'BEGIN { printf "%.2f", ended - began }'; }
# Fails unless the file $1 has exactly the addresses that listen in the lab.
check() {
	sort -u "$1" >"$work/found"
	cmp -s "$work/truth" "$work/found" || fail "$1 has not exactly the hosts of the lab: $(wc -l <"$work/found") lines"
}

./scripts/lab.sh truth 80 | sed -n 's/,80,synack$//p' | sort >"$work/truth"
hosts=$(wc -l <"$work/truth")

say "1  who listens on port 80 of 65,536 addresses? By xdpmap and by zmap, at 40,000 probes per second"
began=$(date +%s.%N)
scan -r 40000 -o "$work/xdpmap.txt"
echo "xdpmap  $(seconds_since "$began") s, of which 2 s of waiting: $(wc -l <"$work/xdpmap.txt") of $hosts hosts"
check "$work/xdpmap.txt"
gateway=$(as_root ip netns exec "xm-$lab-net" cat /sys/class/net/net0/address)
began=$(date +%s.%N)
inside zmap "${common[@]}" -q -v 2 --disable-syslog -r 40000 -T 1 -G "$gateway" -o "$work/zmap.txt" 198.18.0.0/16
echo "zmap    $(seconds_since "$began") s, of which 2 s of waiting: $(wc -l <"$work/zmap.txt") of $hosts hosts"
if sort -u "$work/zmap.txt" | comm -13 "$work/truth" - | grep -q .; then fail "zmap has found what is not there"; fi

say "2  without a limit on the rate"
scan -r 0 -o "$work/fast.txt" -m "$work/fast.json"
jq -r '"xdpmap  \(.packets_sent) probes in \(.send_seconds * 100 | round / 100) s, \(.success_unique) hosts, mode \(.io_mode)"' \
	"$work/fast.json"
check "$work/fast.txt"

say "3  three shards: together the whole, and no host twice"
for shard in 0 1 2; do
	scan -r 40000 -e 7 --shards 3 --shard $shard --output-dir "$work/shards"
	echo "shard $shard: $(wc -l <"$work/shards/shard-0000$shard/results.csv") hosts"
done
inside "$program" merge "$work/shards" -o "$work/merged.txt"
[ "$(wc -l <"$work/merged.txt")" = "$hosts" ] || fail "the shards have $(wc -l <"$work/merged.txt") hosts"
check "$work/merged.txt"

say "4  Ctrl-C after four seconds, and on"
stop_after=(timeout -s INT 4)
scan -r 10000 -o "$work/parts.txt" -m "$work/parts.json" || true
stop_after=()
jq -r '"\(.end_reason), exit code \(.exit_code): \(.targets_scanned) targets probed, \(.targets_left) left, \(.success_unique) hosts"' \
	"$work/parts.json"
inside "$program" resume "$work/parts.txt.xdpmap" -q --verbosity 2 -r 40000
echo "resumed: $(sort -u "$work/parts.txt" | wc -l) of $hosts hosts"
check "$work/parts.txt"

say "5  a question: which kinds of answers came, and how fast?"
scan -r 40000 -o "$work/all.parquet" -O parquet -f saddr,classification,ttl,rtt_us --probe-args rtt
"$python" - "$work/all.parquet" <<'END'
import sys
import duckdb

rows = duckdb.sql(
    "SELECT classification, count(*) AS answers, median(rtt_us) AS median_rtt_us "
    f"FROM '{sys.argv[1]}' GROUP BY classification ORDER BY answers DESC"
)
print(rows)
assert {row[0] for row in rows.fetchall()} == {"synack", "rst"}
END
say "that was xdpmap"
