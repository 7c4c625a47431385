#!/usr/bin/env python3
"""Times sealwax beside its primitives and its peers, all in one run, and prints a table.

    benches/compare/run.py                    sealwax, and the official Python SDK if tests/peers/setup.sh has installed it
    benches/compare/run.py --rust-peers       also builds and times the official Rust SDK and age (takes minutes)
    benches/compare/run.py --svg FILE         draws the table too
    benches/compare/run.py --quick            less of everything: to see that it works

Machines are noisy, so the cases take turns and figures are medians over the turns. A participant is a process that prints
its cases as lines of JSON, then answers each index it is sent with the seconds that the case took.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
PEERS = Path(os.environ.get("SEALWAX_PEERS_DIR", ROOT / "target" / "peers"))
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))


class Participant:
    def __init__(self, command):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.cases = []
        for line in self.process.stdout:
            if line.strip() == "ready":
                return
            self.cases.append(dict(json.loads(line), times=[]))
        raise SystemExit(f"{command[0]} ended before it was ready")

    def run(self, index):
        print(index, file=self.process.stdin, flush=True)
        answer = self.process.stdout.readline()
        if not answer:
            raise SystemExit(f"a participant ended in the midst of {self.cases[index]}")
        return float(answer)

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def build(command, kind, name):
    """Builds with cargo and gives the path of the executable."""
    lines = subprocess.run([*command, "--message-format", "json"], check=True, stdout=subprocess.PIPE, text=True).stdout
    for line in lines.splitlines():
        found = json.loads(line)
        if found.get("executable") and found["target"]["name"] == name and kind in found["target"]["kind"]:
            return found["executable"]
    raise SystemExit(f"cargo built no {name}")


def participants(arguments, size):
    features = "fs,aws-lc-rs"
    sealwax = build(["cargo", "bench", "--no-run", "--manifest-path", str(ROOT / "Cargo.toml"), "--features", features,
                     "--bench", "compare"], "bench", "compare")
    yield [sealwax, str(size)]
    python = PEERS / "py" / "bin" / "python"
    if python.exists():
        yield [str(python), str(HERE / "python_sdk.py"), str(size)]
    else:
        print("the official Python SDK is not installed (tests/peers/setup.sh): left out", file=sys.stderr)
    if arguments.rust_peers:
        peer = build(["cargo", "build", "--release", "--manifest-path", str(HERE / "rust" / "Cargo.toml"), "--target-dir",
                      str(TARGET / "compare")], "bin", "sealwax-compare-peers")
        yield [peer, str(size)]


def speed(case):
    return case["bytes"] / statistics.median(case["times"]) / 1e6


def columns_of(cases):
    """Unsigned before signed, short frames before long ones, and each both ways."""
    def order(what):
        direction, kind, length = what.replace(",", "").split()[:3]
        return kind != "unsigned", int(length), direction != "encrypt"
    return sorted({case["what"] for case in cases}, key=order)


def table(cases):
    columns = columns_of(cases)
    rows = list(dict.fromkeys(case["who"] for case in cases))
    found = {(case["who"], case["what"]): case for case in cases}
    lines = ["| MB/s | " + " | ".join(columns) + " |", "|---|" + "---:|" * len(columns)]
    for who in rows:
        cells = [f"{speed(found[who, what]):.0f}" if (who, what) in found else "" for what in columns]
        lines.append(f"| {who} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def drawing(cases, title):
    """Bars, one group for each column of the table, on a common scale."""
    columns = columns_of(cases)
    width, label, bar, gap = 960, 330, 15, 34
    fastest = max(speed(case) for case in cases)
    y, parts = 44, []
    for what in columns:
        y += gap
        parts.append(f'<text x="12" y="{y - 8}" class="what">{what}</text>')
        for case in sorted((case for case in cases if case["what"] == what), key=speed, reverse=True):
            value = speed(case)
            length = max(1, (width - label - 90) * value / fastest)
            kind = "ours" if case["who"].startswith("sealwax") else "bound" if case["bound"] else "peer"
            parts.append(f'<text x="{label - 8}" y="{y + 11}" text-anchor="end">{case["who"]}</text>'
                         f'<rect x="{label}" y="{y}" width="{length:.1f}" height="{bar - 3}" class="{kind}"/>'
                         f'<text x="{label + length + 6:.1f}" y="{y + 11}">{value:.0f}</text>')
            y += bar
    return f'''<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {y + 20}" font-family="sans-serif" font-size="11">
<style>.what{{font-weight:bold;font-size:13px}}.ours{{fill:#8c2f2b}}.peer{{fill:#7a7a7a}}.bound{{fill:#cfc6b8}}</style>
<rect width="100%" height="100%" fill="#fff"/>
<text x="12" y="24" font-size="15" font-weight="bold">{title}</text>
<text x="12" y="42">MB/s, more is better; red: sealwax, grey: others, light: the primitives alone</text>
{chr(10).join(parts)}
</svg>
'''


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rust-peers", action="store_true", help="build and time the official Rust SDK and age")
    parser.add_argument("--svg", metavar="FILE", help="draw the figures")
    parser.add_argument("--quick", action="store_true", help="less of everything: to see that it works")
    parser.add_argument("--mib", type=int, default=64, help="the length of the plaintext in MiB (64)")
    parser.add_argument("--turns", type=int, default=9, help="how often each case is run (9)")
    arguments = parser.parse_args()
    mib, turns = (4, 2) if arguments.quick else (arguments.mib, arguments.turns)

    running = [Participant(command) for command in participants(arguments, mib << 20)]
    for turn in range(turns + 1):
        for participant in running:
            for index, case in enumerate(participant.cases):
                seconds = participant.run(index)
                # The first turn only warms up.
                if turn:
                    case["times"].append(seconds)
    for participant in running:
        participant.close()
    cases = [case for participant in running for case in participant.cases]
    title = f"{mib} MiB in memory, {os.cpu_count()} cores, medians of {turns} turns"
    print(f"{title}\n\n{table(cases)}")
    if arguments.svg:
        Path(arguments.svg).write_text(drawing(cases, title), encoding="utf-8")


if __name__ == "__main__":
    main()
