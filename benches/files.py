#!/usr/bin/env python3
"""Times the tool on files: one large file beside cat, age and rage; a folder of small ones; commands on a large key store.

    cargo build --release --package sealwax-cli && benches/files.py [MiB]

The file (1024 MiB by default) lies in memory where there is /dev/shm, so that no disk is measured. Cases take turns; figures are the
fastest of five, since fresh memory for a gigabyte comes at very different speeds. age and rage are timed where they are installed.
"""

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TOOL = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release" / "sealwax"
MIB = int(sys.argv[1]) if len(sys.argv) > 1 else 1024
TURNS = 5
FILES = 10_000


def run(command, output=None):
    """The seconds that a command takes."""
    start = time.perf_counter()
    subprocess.run([str(part) for part in command], stdout=output, stdin=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start


def peak(command):
    """The most memory that a command has, in MiB, as far as the system tells while it runs."""
    process, most = subprocess.Popen([str(part) for part in command], stdin=subprocess.DEVNULL), 0
    while process.poll() is None:
        try:
            status = Path(f"/proc/{process.pid}/status").read_text()
        except OSError:
            continue
        kib = [int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")]
        most = max(most, *kib, 0)
        time.sleep(0.005)
    return most / 1024


def large_file(place):
    plain, out = place / "plain", place / "out"
    with open(plain, "wb") as file:
        for _ in range(MIB):
            file.write(os.urandom(1 << 20))
    key = subprocess.run([TOOL, "keygen", place / "key"], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    ours, cases = [TOOL, "--quiet"], {}
    for name, suite in (("unsigned", "0x0478"), ("signed", "0x0578")):
        sealed = place / name
        run([*ours, "encrypt", "-k", key, "--suite", suite, "-o", sealed, plain])
        for threads in (1, os.cpu_count()):
            options = ["-k", key, "--threads", threads, "-o", out]
            label = f"sealwax, {name}, {threads} thread{'s' if threads > 1 else ''}"
            cases[label] = ([*ours, "encrypt", *options, "--suite", suite, plain], [*ours, "decrypt", *options, sealed])
    for name in ("age", "rage"):
        if shutil.which(name) and shutil.which(f"{name}-keygen"):
            identity, sealed = place / f"{name}.key", place / name
            subprocess.run([f"{name}-keygen", "-o", identity], check=True, stderr=subprocess.DEVNULL)
            recipient = next(line.split()[-1] for line in identity.read_text().splitlines() if "public key" in line)
            run([name, "-e", "-r", recipient, "-o", sealed, plain])
            cases[name] = ([name, "-e", "-r", recipient, "-o", out, plain], [name, "-d", "-i", identity, "-o", out, sealed])
        else:
            print(f"{name} is not installed: left out", file=sys.stderr)

    def cat(_):
        with open(out, "wb") as file:
            return run(["cat", plain], file)

    work = {("cat", 0): cat}
    for label, both in cases.items():
        for way in (0, 1):
            work[label, way] = lambda _, command=both[way]: run(command)
    figures = {case: [] for case in work}
    for _ in range(TURNS):
        for case, timed in work.items():
            out.unlink(missing_ok=True)
            figures[case].append(timed(None))
    memory = {}
    for label, both in cases.items():
        for command in both:
            out.unlink(missing_ok=True)
            memory[label] = max(memory.get(label, 0), peak(command))
    out.unlink()

    def cells(label, way):
        seconds = min(figures[label, way])
        return f"{(MIB << 20) / seconds / 1e6:.0f} | {min(figures['cat', 0]) / seconds:.2f}"

    print(f"\n{MIB} MiB from file to file, {os.cpu_count()} cores, the fastest of {TURNS} turns\n")
    print("| what | encrypt, MB/s | of cat | decrypt, MB/s | of cat | memory at the most, MiB |\n|---|---:|---:|---:|---:|---:|")
    for label in ["cat", *cases]:
        decrypt = cells(label, 1) if label != "cat" else " | "
        print(f"| {label} | {cells(label, 0)} | {decrypt} | {f'{memory[label]:.1f}' if label in memory else ''} |")
    plain.unlink()


def folder(place):
    source = place / "folder"
    for index in range(FILES):
        path = source / f"{index // 1000}" / f"{index}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(1024))
    key = f"raw-aes://sealwax/key?file={place / 'key'}"
    print(f"\n{FILES} files of 1 KiB, one data-key cache\n\n| suite | encrypt, files a second | decrypt |\n|---|---:|---:|")
    for name, suite in (("unsigned", "0x0478"), ("signed", "0x0578")):
        sealed, back = place / "sealed", place / "back"
        there = run([TOOL, "-q", "encrypt", "-r", "-k", key, "--suite", suite, "-o", sealed, source])
        again = run([TOOL, "-q", "decrypt", "-r", "-k", key, "-o", back, sealed])
        print(f"| {suite}, {name} | {FILES / there:.0f} | {FILES / again:.0f} |")
        shutil.rmtree(sealed)
        shutil.rmtree(back)


def key_store(place):
    tool = [TOOL, "keys", "--store", place / "store"]
    for index in range(1000):
        run([*tool, "create", "--quiet", "--alias", f"key-{index}"], subprocess.DEVNULL)
    print("\nA key store of 1,000 keys\n\n| command | ms |\n|---|---:|")
    for command in (["list"], ["describe", "key-500"], ["rotate", "key-500"], ["disable", "key-501"], ["audit", "--verify"]):
        times = [run([*tool, *command], subprocess.DEVNULL) for _ in range(9)]
        print(f"| `keys {' '.join(command)}` | {statistics.median(times) * 1000:.0f} |")


def main():
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as place:
        large_file(Path(place))
        folder(Path(place))
        key_store(Path(place))


if __name__ == "__main__":
    main()
