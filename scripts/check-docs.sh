#!/usr/bin/env bash
# Holds the documents against the tree and the program:
#
#   - relative links in *.md lead to something;
#   - every long flag that they name is in `xdpmap --help`, unless docs/zmap-compatibility.md calls it "not yet": then it is not;
#     or "not" or "old": then it may be hidden;
#   - every flag of `xdpmap --help` is in docs/zmap-compatibility.md.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

need_cargo
need_packages "${build_packages[@]}"
cargo build --release --locked --quiet
faults=0
fault() {
	printf '%s\n' "$*" >&2
	faults=$((faults + 1))
}

# The long flags in the text on standard input, each once.
flags() { { grep -oE -e '(^|[^[:alnum:]-])--[a-z][a-z-]+' || true; } | sed 's/.*--/--/' | sort -u; }
# Whether a flag is among those in $known.
is_known() { grep -qx -e "$1" <<<"$known"; }

mapfile -t documents < <(find . -name target -prune -o -name '*.md' -print)
for document in "${documents[@]}"; do
	while read -r link; do
		[ -e "$(dirname "$document")/${link%%#*}" ] || fault "$document: the link to $link leads nowhere"
	done < <({ grep -oE '\]\([^)]+\)' "$document" || true; } | sed 's/^](//; s/)$//' | grep -vE '^(https?:|mailto:|#)')
done

known=$(target/release/xdpmap --help | grep -oE -e '^ +(-., )?--[a-z-]+' | flags)
compared=docs/zmap-compatibility.md
# What belongs to other programs.
foreign='bench/run\.sh|tee |ztee|xdpmap (iterate|blocklist|tee|doctor) |cargo |rustup |demo\.sh|tune-nic\.sh|docker |--cap-add|--network host|--ulimit|--security-opt|--cpuset-cpus|llvm-|bpftool |ip netns |clippy|git |groupadd '
for document in README.md CHANGELOG.md docs/*.md; do
	while read -r flag; do
		is_known "$flag" || fault "$document: $flag is not in xdpmap --help"
	done < <({ grep -vE "$foreign|\| (not yet|not|old) \|" "$document" || true; } | flags)
done
while read -r flag; do
	if is_known "$flag"; then fault "$compared: $flag is there, and called \"not yet\""; fi
done < <(grep -E '\| not yet \|' "$compared" | cut -d '|' -f 2 | flags)
while read -r flag; do
	grep -q -e "\`$flag\`" "$compared" || fault "$compared: $flag is missing"
done <<<"$known"

[ "$faults" = 0 ] || fail "$faults faults in the documents"
say "links and flags in the documents are right"
