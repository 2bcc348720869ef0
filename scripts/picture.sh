#!/usr/bin/env bash
# Makes docs/report.png again: the beginning of a report of a scan of a lab, as a browser shows it.
#
#   ./scripts/picture.sh [--program FILE]
#
# --program scans with that xdpmap and builds none. No packet leaves the machine: the lab is two network namespaces
# (scripts/lab.sh), and the browser runs in one of them.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

program=
while [ $# -gt 0 ]; do
	case $1 in
	--program) program=$(realpath -e "${2:?--program needs a file}") && shift 2 ;;
	-h | --help) sed -n '2,7s/^# \{0,1\}//p' "$0" && exit 0 ;;
	*) fail "unknown argument $1; see --help" ;;
	esac
done

need_packages "${lab_packages[@]}" chromium-headless-shell
need_xdpmap "$program"
make_lab picture 2

say "scanning 131,072 targets"
touch "$work/none"
inside "$program" -C "$work/none" -b "$work/none" -i scan0 -p 80,8080 --probe-args rtt -r 8000 -c 2 -qq --allow-reserved \
	-f saddr,sport,classification,success,repeat,rtt_us --exclude 198.18.96.0/20 \
	-o "$work/results.csv" -m "$work/meta.json" -u "$work/status.csv" 198.18.0.0/16
"$program" report "$work/meta.json" -u "$work/status.csv" -o "$work/report.html"
say "taking the picture"
inside timeout 60 chromium-headless-shell --no-sandbox --disable-gpu --hide-scrollbars --user-data-dir="$work/profile" \
	--window-size=1080,1560 --screenshot="$work/report.png" "file://$work/report.html" >"$work/log" 2>&1 ||
	fail "the browser failed: $(tail -n 3 "$work/log")"
cp "$work/report.png" docs/report.png
say "docs/report.png has $(stat -c %s docs/report.png) bytes"
