#!/usr/bin/env python3
"""Writes docs/API.md: the public items of every crate, as `cargo doc` sees them.

    cargo doc --workspace --no-deps --all-features --lib && docs/api.py

With --check it only compares, and fails if the page is not up to date.
"""

import html
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
CRATES = ["sealwax", "sealwax_aws", "sealwax_kms", "sealwax_object_store"]
KINDS = {"struct": "struct", "enum": "enum", "trait": "trait", "fn": "fn", "constant": "const", "type": "type",
         "macro": "macro"}


def members(page: str) -> list[str]:
    """Returns the variants, public fields and own methods of an item."""
    found = [f"`{name}`" for name in re.findall(r'id="variant\.(\w+)"', page)]
    found += [f"`{name}`" for name in re.findall(r'id="structfield\.(\w+)"', page)]
    own = re.search(r'id="implementations-list">(.*?)(?=<h2 id=|</section></div></main>)', page, re.S)
    methods = re.findall(r'id="method\.(\w+?)(?:-\d+)?"', own.group(1)) if own else []
    methods += re.findall(r'id="tymethod\.(\w+)"', page)
    if 'id="required-methods"' in page or 'id="provided-methods"' in page:
        provided = re.search(r'id="provided-methods"(.*?)(?=<h2 id=)', page, re.S)
        methods += re.findall(r'id="method\.(\w+)"', provided.group(1)) if provided else []
    unique = list(dict.fromkeys(methods))
    return found + [f"`{name}()`" for name in unique]


def crate(name: str) -> tuple[list[str], int, int]:
    directory = ROOT / "target/doc" / name
    index = (directory / "all.html").read_text()
    lines, items, total = [], 0, 0
    by_module: dict[str, list[str]] = {}
    for link in re.findall(r'<li><a href="([^"]+)">', index):
        kind, item = pathlib.PurePath(link).name.removesuffix(".html").split(".", 1)
        module = "::".join([name, *pathlib.PurePath(link).parent.parts])
        inside = members(html.unescape((directory / link).read_text()))
        text = f"- {KINDS.get(kind, kind)} **`{item}`**"
        if inside:
            text += ": " + ", ".join(inside)
        by_module.setdefault(module, []).append(text)
        items += 1
        total += len(inside)
    for module in sorted(by_module):
        lines += [f"### `{module}`", "", *sorted(by_module[module]), ""]
    return lines, items, total


def page() -> str:
    lines = ["# The public surface", "",
             "Every public item of the libraries, with its variants, fields and methods, and without the methods of",
             "traits that it implements. Written by `docs/api.py`; `cargo doc --open` has the documentation.", ""]
    for name in CRATES:
        if not (ROOT / "target/doc" / name / "all.html").exists():
            sys.exit(f"there is no documentation of {name}; see the top of this script")
        body, items, total = crate(name)
        lines += [f"## {name.replace('_', '-')}", "", f"{items} items with {total} members.", "", *body]
    return "\n".join(lines).rstrip() + "\n"


def main() -> None:
    target = ROOT / "docs/API.md"
    text = page()
    if "--check" not in sys.argv[1:]:
        target.write_text(text)
    elif not target.exists() or target.read_text() != text:
        sys.exit("docs/API.md is not up to date; run docs/api.py")


if __name__ == "__main__":
    main()
