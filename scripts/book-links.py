#!/usr/bin/env python3
"""Checks that every link inside of a book leads somewhere: scripts/book.sh calls it with the book's folder."""

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Page(HTMLParser):
    """The links and the names of places of a page."""

    def __init__(self, path):
        super().__init__()
        self.links, self.places = [], set()
        self.feed(path.read_text())

    def handle_starttag(self, _, attributes):
        for name, value in attributes:
            if name in ("href", "src") and value:
                self.links.append(value)
            elif name == "id":
                self.places.add(value)


def main(folder):
    root = Path(folder).resolve()
    pages = {path: Page(path) for path in root.rglob("*.html")}
    # All pages one after the other, and what is shown where no page is: made of the others.
    made = {root / "print.html", root / "404.html", root / "toc.html"}
    faults, links = [], 0
    for path, page in pages.items():
        if path in made:
            continue
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            links += 1
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if target.is_dir() and (target / "index.html").exists():
                target = target / "index.html"
            if not target.exists() or not target.is_relative_to(root):
                faults.append(f"{path.relative_to(root)}: {link} leads nowhere")
            elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].places:
                faults.append(f"{path.relative_to(root)}: {link}: there is no such heading")
    if faults or links < 100:
        sys.exit("\n".join(faults + [f"{len(faults)} faults in {links} links"]))
    print(f"{links} links in {len(pages) - len(made & pages.keys())} pages lead somewhere")


main(sys.argv[1])
