#!/usr/bin/env bash
# Compares the documents with the tree and the benchmarks:
#
#   - relative links in *.md lead to existing files;
#   - every long flag on a line with bench/run.sh is in its --help.
#
# A test holds them against the flags of xdpmap (scanner/tests/offline/documents.rs).
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

faults=0
fault() {
	printf '%s\n' "$*" >&2
	faults=$((faults + 1))
}

# The long flags in the text on standard input, each once.
flags() { { grep -oE -e '(^|[^[:alnum:]-])--[a-z][a-z-]+' || true; } | sed 's/.*--/--/' | sort -u; }

mapfile -t documents < <(find . -name target -prune -o -name '*.md' -print)
for document in "${documents[@]}"; do
	while read -r link; do
		[ -e "$(dirname "$document")/${link%%#*}" ] || fault "$document: the link to $link leads nowhere"
	done < <({ grep -oE '\]\([^)]+\)' "$document" || true; } | sed 's/^](//; s/)$//' | grep -vE '^(https?:|mailto:|#)')
done

known=$(bench/run.sh --help | flags)
while IFS=: read -r document line; do
	while read -r flag; do
		grep -qx -e "$flag" <<<"$known" || fault "$document: $flag is not in bench/run.sh --help"
	done < <(flags <<<"$line")
done < <(grep -oE 'bench/run\.sh .*' README.md bench/README.md docs/*.md)

[ "$faults" = 0 ] || fail "$faults faults in the documents"
say "links and flags in the documents are right"
