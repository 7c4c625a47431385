#!/usr/bin/env python3
"""How much memory the command-line tool takes for a long pipe: the peak of each process, in MiB.

    cargo build --release --package sealwax-cli --no-default-features && python3 benches/pipe_memory.py [GIGABYTES]
"""

import os
import subprocess
import sys
import tempfile
import threading
import time

TOOL = os.path.join(os.environ.get("CARGO_TARGET_DIR", "target"), "release", "sealwax")
LENGTH = int(float(sys.argv[1] if len(sys.argv) > 1 else "1.5") * 1e9)
BLOCK = os.urandom(1 << 20)


def feed(pipe):
    left = LENGTH
    while left:
        left -= pipe.write(BLOCK[: min(left, len(BLOCK))])
    pipe.close()


class Watched:
    """A process, and the largest resident set it was seen with (in Linux's own account, asked again and again)."""

    def __init__(self, *arguments, **pipes):
        self.process = subprocess.Popen([TOOL, *arguments], **pipes)
        self.peak = 0
        self.watch = threading.Thread(target=self.look)
        self.watch.start()

    def look(self):
        while self.process.poll() is None:
            try:
                with open(f"/proc/{self.process.pid}/status") as status:
                    lines = [line for line in status if line.startswith("VmHWM:")]
            except OSError:
                continue
            if lines:
                self.peak = int(lines[0].split()[1])
            time.sleep(0.02)

    def mebibytes(self):
        self.watch.join()
        if self.process.returncode:
            sys.exit(f"{self.process.args} failed")
        return f"{self.peak / 1024:.1f}"


def count(pipe):
    total = 0
    while piece := pipe.read(1 << 20):
        total += len(piece)
    return total


def main():
    with tempfile.TemporaryDirectory(dir=os.environ.get("PIPE_MEMORY_DIR")) as place:
        key = subprocess.check_output([TOOL, "keygen", os.path.join(place, "key")], text=True).strip()
        print(f"{LENGTH / 1e9} GB through a pipe, frames of 4096 bytes\n")
        print("| what | encrypt, MiB | decrypt, MiB |\n|---|---:|---:|")

        encrypt = Watched("encrypt", "-k", key, "--suite", "0x0478", "-", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        decrypt = Watched("decrypt", "-k", key, "-", stdin=encrypt.process.stdout, stdout=subprocess.PIPE)
        encrypt.process.stdout.close()
        threading.Thread(target=feed, args=[encrypt.process.stdin]).start()
        assert count(decrypt.process.stdout) == LENGTH
        print(f"| 0x0478, pipe to pipe | {encrypt.mebibytes()} | {decrypt.mebibytes()} |", flush=True)

        sealed, back = os.path.join(place, "sealed"), os.path.join(place, "back")
        encrypt = Watched("encrypt", "-k", key, "-o", sealed, "-", stdin=subprocess.PIPE)
        feed(encrypt.process.stdin)
        first = encrypt.mebibytes()
        with open(sealed, "rb") as message:
            decrypt = Watched("decrypt", "-k", key, "-o", back, "-", stdin=message)
            second = decrypt.mebibytes()
        assert os.path.getsize(back) == LENGTH
        print(f"| 0x0578 (signed), to a file | {first} | {second} |", flush=True)

        os.remove(back)
        with open(sealed, "rb") as message:
            decrypt = Watched("decrypt", "-k", key, "-", stdin=message, stdout=subprocess.PIPE)
            assert count(decrypt.process.stdout) == LENGTH
        print(f"| 0x0578 (signed), to a pipe, verified first | | {decrypt.mebibytes()} |")


main()
