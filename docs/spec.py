#!/usr/bin/env python3
"""Checks the trace of the specification in docs/spec/: one entry for each normative sentence.

    docs/spec.py --check           every entry names existing code and an existing test, or a reason
    docs/spec.py --source PATH     the entries are the sentences of a checkout, or of a git directory
    docs/spec.py --source PATH --new
                                   prints entries to fill in for the sentences that have none

A sentence is normative if it has MUST, MUST NOT, SHOULD, SHOULD NOT, SHALL or REQUIRED in capitals.
Its entry has the section (as in the address of the page), its number there, the level, a digest of
its text without markup, and at most eight of its words. If it ends with a colon, the digest is also
that of the list that follows.
"""

import argparse
import functools
import hashlib
import pathlib
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator

ROOT = pathlib.Path(__file__).resolve().parent.parent
ENTRIES = ROOT / "docs/spec"
REASONS = ENTRIES / "reasons.toml"
LEVEL = re.compile(r"\b(MUST NOT|MUST|SHOULD NOT|SHOULD|SHALL NOT|SHALL|REQUIRED)\b")
# How each document begins to define these words.
DEFINITION = re.compile(r'^The key words? "MUST"')
LIST_ITEM = re.compile(r"^(\s*)(?:[-*+]|\d+[.)])\s+(.*)")
FIELDS = {"quote", "code", "test", "exception", "open"}

# A sentence: its section, the key of its entry, and the words that its entry quotes.
Sentence = tuple[str, str, str]


# The sentences of a document


def plain(text: str) -> str:
    """Returns Markdown without links, emphasis and code marks, and with single spaces."""
    text = re.sub(r"!?\[([^\]]*)\](?:\([^)]*\)|\[[^\]]*\])", r"\1", text)
    text = re.sub(r"[`*]|<[^>]+>", "", text)
    return " ".join(text.split())


def anchor(heading: str, used: dict[str, int]) -> str:
    """Returns the anchor that GitHub gives to a heading."""
    slug = re.sub(r"[^\w\- ]", "", plain(heading).lower()).replace(" ", "-")
    count = used.get(slug, 0)
    used[slug] = count + 1
    return f"{slug}-{count}" if count else slug


def blocks(text: str) -> Iterator[tuple[str, str, bool]]:
    """Yields the section, text and kind (an item of a list or not) of each block of a document."""
    used: dict[str, int] = {}
    section, lines, is_item, fenced = "", [], False, False
    text = re.sub(r"<!--.*?-->", "", text, flags=re.S)
    # A comment in parentheses, which can go on over several lines.
    text = re.sub(r"^\[//\]: # \(.*?\)\s*$", "", text, flags=re.S | re.M)

    for line in [*text.splitlines(), ""]:
        if line.lstrip().startswith("```"):
            fenced = not fenced
        heading = re.match(r"^#{1,6}\s+(.*)", line)
        item = LIST_ITEM.match(line)
        row = line.lstrip().startswith("|")
        if fenced or heading or item or row or not line.strip() or line.lstrip().startswith("```"):
            if lines:
                yield section, plain(" ".join(lines)), is_item
            lines, is_item = [], False
        if fenced or line.lstrip().startswith("```"):
            continue
        if heading:
            section = anchor(heading.group(1), used)
        elif row:
            yield section, plain(line), False
        elif line.strip():
            is_item = is_item or bool(item)
            lines.append(item.group(2) if item else line.strip())


def split(block: str) -> list[str]:
    """Splits a block into sentences."""
    block = re.sub(r"\b(e\.g|i\.e|etc|vs)\.", r"\1\0", block)
    parts = re.split(r"(?<=[.!?:])\s+(?=[A-Z\"(])", block)
    return [part.replace("\0", ".") for part in parts]


def quote(sentence: str) -> str:
    """Returns at most eight words of a sentence, the level among them."""
    words = sentence.split()
    at = next(number for number, word in enumerate(words) if LEVEL.search(word))
    start = max(0, min(at - 4, len(words) - 8))
    return " ".join(words[start:start + 8])


def sentences(text: str) -> list[Sentence]:
    """Returns the normative sentences of a document."""
    found: list[Sentence] = []
    counts: dict[str, int] = {}
    all_blocks = list(blocks(text))
    for number, (section, block, is_item) in enumerate(all_blocks):
        if DEFINITION.match(block):
            continue
        for sentence in split(block):
            level = LEVEL.search(sentence)
            if not level:
                continue
            digested = sentence
            if sentence.endswith(":") and block.endswith(sentence) and not is_item:
                for following, item, is_listed in all_blocks[number + 1:]:
                    if following != section or not is_listed:
                        break
                    digested += " " + item
            counts[section] = counts.get(section, 0) + 1
            digest = hashlib.sha256(digested.encode()).hexdigest()[:8]
            found.append((section, f"{counts[section]:02} {level.group(1)} {digest}", quote(sentence)))
    return found


def source(path: str) -> dict[str, str]:
    """Returns the documents of a checkout or git directory."""
    place = pathlib.Path(path)
    if (place / "HEAD").exists():
        git = functools.partial(subprocess.run, check=True, capture_output=True, text=True)
        base = ["git", "--git-dir", str(place)]
        names = git([*base, "ls-tree", "-r", "--name-only", "HEAD"]).stdout.split("\n")
        read: Callable[[str], str] = lambda name: git([*base, "show", f"HEAD:{name}"]).stdout
    else:
        names = [str(file.relative_to(place)) for file in place.rglob("*.md")]
        read = lambda name: (place / name).read_text()
    return {name: read(name) for name in sorted(names) if name.endswith(".md")}


# The entries


def load() -> dict[str, dict]:
    """Returns the entries by document."""
    files = sorted(file for file in ENTRIES.rglob("*.toml") if file != REASONS)
    return {str(file.relative_to(ENTRIES).with_suffix(".md")): tomllib.loads(file.read_text()) for file in files}


@functools.cache
def contents(path: str) -> str | None:
    file = ROOT / path
    return file.read_text() if file.is_file() else None


def is_test(text: str, name: str) -> bool:
    attribute = r"#\[(?:\w+::)?test\b[^\]]*\]\s*(?:#\[[^\]]*\]\s*)*"
    return re.search(rf"{attribute}(?:async )?fn {name}\b", text) is not None


def is_item(text: str, name: str) -> bool:
    return re.search(rf"\b(?:fn|struct|enum|trait|const|static|type|mod|macro_rules!) {name}\b", text) is not None


def wrong(place: str, exists: Callable[[str, str], bool]) -> str | None:
    """Returns what is wrong with a `path::name`, where the name can be left out for code only."""
    path, _, name = place.partition("::")
    text = contents(path)
    if text is None:
        return f"there is no file {path}"
    if name or exists is is_test:
        if not exists(text, name):
            return f"there is no {'test' if exists is is_test else 'item'} {name!r} in {path}"
    return None


def listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def check() -> list[str]:
    """Prints the coverage, and returns what is wrong with the entries."""
    reasons = tomllib.loads(REASONS.read_text())["sentences"]
    errors, unused, gaps = [], set(reasons), []
    total = [0, 0, 0]
    print(f"{'mapped':>7} {'excepted':>9} {'open':>5}  document")
    for document, sections in load().items():
        counts = [0, 0, 0]
        for section, entries in sections.items():
            for key, entry in entries.items():
                where = f"{document}#{section} {key}"
                errors += [f"{where}: unknown field {field}" for field in entry.keys() - FIELDS]
                if len(entry.get("quote", "").split()) not in range(1, 9):
                    errors.append(f"{where}: the quote must have one to eight words")
                code, test = listed(entry.get("code", [])), listed(entry.get("test", []))
                faults = [wrong(place, is_item) for place in code] + [wrong(place, is_test) for place in test]
                errors += [f"{where}: {fault}" for fault in faults if fault]
                if "exception" in entry:
                    reason = entry["exception"]
                    unused.discard(reason)
                    if reason not in reasons and " " not in reason:
                        errors.append(f"{where}: there is no reason {reason!r}")
                    counts[1] += 1
                elif "open" in entry:
                    gaps.append(f"{where}: {entry['open']}")
                    counts[2] += 1
                elif code and test:
                    counts[0] += 1
                else:
                    errors.append(f"{where}: needs code and a test, or an exception")
        print(f"{counts[0]:7} {counts[1]:9} {counts[2]:5}  {document}")
        total = [a + b for a, b in zip(total, counts)]
    print(f"{total[0]:7} {total[1]:9} {total[2]:5}  in all, of {sum(total)} sentences")
    print("".join(f"open: {gap}\n" for gap in gaps), end="")
    return errors + [f"the reason {name!r} is not used" for name in sorted(unused)]


def compare(path: str, print_new: bool) -> list[str]:
    """Returns the differences between the entries and the sentences of the specification."""
    entries, errors, documents = load(), [], source(path)
    for left_out in tomllib.loads(REASONS.read_text())["documents"]:
        these = [name for name in documents if name == left_out or left_out[-1] == "/" and name.startswith(left_out)]
        for name in these:
            del documents[name]
        if not these:
            errors.append(f"{left_out}: left out, but the specification has no such document")
    for document, text in documents.items():
        found = sentences(text)
        known = {(section, key) for section, keys in entries.pop(document, {}).items() for key in keys}
        new = [sentence for sentence in found if sentence[:2] not in known]
        gone = known - {sentence[:2] for sentence in found}
        errors += [f"{document}#{section} {key}: the specification has no such sentence" for section, key in gone]
        errors += [f"{document}#{section} {key}: no entry: {words}" for section, key, words in new]
        if print_new and new:
            print(f"# {document}")
            last = None
            for section, key, words in new:
                if section != last:
                    print(f"\n[{section}]")
                last = section
                print(f'"{key}" = {{ quote = \'\'\'{words}\'\'\' }}')
    errors += [f"{document}: the specification has no such document" for document in entries]
    return sorted(errors)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--source", metavar="PATH")
    parser.add_argument("--new", action="store_true")
    arguments = parser.parse_args()
    if not arguments.check and not arguments.source:
        parser.error("--check or --source is needed")
    errors = check() if arguments.check else []
    if arguments.source:
        errors += compare(arguments.source, arguments.new)
    if errors and not arguments.new:
        sys.exit("\n".join(errors))


if __name__ == "__main__":
    main()
