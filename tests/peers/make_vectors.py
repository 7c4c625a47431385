"""Writes tests/vectors/python.json and tests/vectors/node.json.

Messages made by the official SDKs, for tests that run without them. Needs the
peers (tests/peers/setup.sh); every message is opened by both of them before
it is written. The messages are different at each run, as they must be.
"""

import base64
import json
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
PEERS_DIR = os.environ.get("SEALWAX_PEERS_DIR") or os.path.join(ROOT, "target", "peers")
VECTORS_DIR = os.path.join(ROOT, "tests", "vectors")
SIZE_LIMIT = 150_000


class Refused(Exception):
    pass


class Peer:
    def __init__(self, *command):
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "SEALWAX_PEERS_DIR": PEERS_DIR},
        )

    def ask(self, **request):
        self.process.stdin.write(json.dumps(request).encode("ascii") + b"\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise EOFError("the peer is gone")
        answer = json.loads(line)
        if not answer.pop("ok"):
            raise Refused(answer["error"])
        return answer

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def python_peer():
    return Peer(os.path.join(PEERS_DIR, "py", "bin", "python"), os.path.join(HERE, "peer.py"))


def node_peer():
    return Peer("node", os.path.join(HERE, "peer.js"))


def b64(data):
    return base64.b64encode(data).decode("ascii")


def key(namespace, name, length, first=0):
    """A wrapping key of consecutive bytes."""
    return {"namespace": namespace, "name": name, "key": b64(bytes(range(first, first + length)))}


AES256 = key("sealwax-test", "aes-256", 32)
AES192 = key("sealwax-test", "aes-192", 24, 0x40)
AES128 = key("sealwax-test", "aes-128", 16, 0x80)
OTHER128 = key("sealwax-other", "second key", 16, 0xC0)

ONE_PAIR = {"purpose": "test"}
# U+FF61 is before U+10002 in UTF-8 and after it in UTF-16, "B" is before "a"
# in bytes and after it in a dictionary, and "ab" continues "a".
UNICODE = {
    "\uff61": "halfwidth full stop",
    "\U00010002": "linear b",
    "\u00e9t\u00e9": "\u590f \U0001f31e",
    "a": "\u0442\u0435\u0441\u0442",
    "B": "",
    "ab": "=&\"\\ \u0000 \n",
    "purpose": "unicode",
}


def pattern(length):
    return bytes(i * 7 % 251 for i in range(length))


def cases(suites, frames, non_framed, keyrings):
    """What to encrypt: dictionaries of the encrypt request, named."""

    def case(name, suite="0x0478", frame_length=None, context=None, plaintext=None, keys=None, **more):
        return {
            "name": name,
            "keys": keys or [AES256],
            "suite": suite,
            "frame_length": frames[-1] if frame_length is None else frame_length,
            "context": ONE_PAIR if context is None else context,
            "plaintext": b64(b"a short plaintext" if plaintext is None else plaintext),
            **more,
        }

    for suite in suites:
        yield case("suite-" + suite, suite, 4096)
    for frame in frames:
        lengths = sorted({0, 1, frame - 1, frame, frame + 1, 3 * frame + 5})
        for suite in ("0x0178", "0x0478", "0x0578"):
            for length in lengths:
                yield case("frame-%d-length-%d-%s" % (frame, length, suite), suite, frame, {}, pattern(length))
    for suite in ("0x0178", "0x0478", "0x0578"):
        yield case("context-empty-" + suite, suite, context={})
        yield case("context-one-" + suite, suite)
        yield case("context-unicode-" + suite, suite, context=UNICODE)
    yield case("context-long", context={"long": ("sealwax " * 513)[:4100], "short": "s"})
    for suite in ("0x0014", "0x0046", "0x0078", "0x0478"):
        for wrapping in (AES128, AES192, AES256):
            yield case("%s-wraps-%s" % (wrapping["name"], suite), suite, keys=[wrapping])
    for suite in ("0x0178", "0x0378", "0x0478", "0x0578"):
        yield case("two-keys-" + suite, suite, keys=[AES256, OTHER128], context=UNICODE)
    for suite in ("0x0178", "0x0378", "0x0478", "0x0578") if non_framed else ():
        for length in (0, 1, 300):
            yield case("non-framed-length-%d-%s" % (length, suite), suite, 0, plaintext=pattern(length))
    for keyring in keyrings:
        for suite in ("0x0014", "0x0178", "0x0378", "0x0478", "0x0578"):
            yield case("%s-%s" % (keyring, suite), suite, context=UNICODE, keys=[AES256, OTHER128], keyring=keyring)


def check(vector, openers):
    """Opens a vector with all its keys and with each of them alone."""
    key_sets = [vector["keys"]] + ([[k] for k in vector["keys"]] if len(vector["keys"]) > 1 else [])
    for keys in key_sets:
        for who, peer, keyring in openers:
            try:
                opened = peer.ask(
                    op="decrypt", keys=keys, message=vector["message"], keyring=keyring, context=vector["context"]
                )
            except Refused as error:
                return "%s: %s" % (who, error)
            opened["context"].pop("aws-crypto-public-key", None)
            for part in ("plaintext", "suite", "context"):
                if opened[part] != vector[part]:
                    return "%s: another %s" % (who, part)
    return None


def main():
    python, node = python_peer(), node_peer()
    openers = [("python raw", python, "raw"), ("python mpl", python, "mpl"), ("node", node, "raw")]
    makers = [
        ("python", python, "aws-encryption-sdk (Python)", [128], True, ["mpl"]),
        ("node", node, "@aws-crypto/client-node (JavaScript)", [1, 7, 16, 128], False, []),
    ]
    failures = 0
    os.makedirs(VECTORS_DIR, exist_ok=True)
    for name, peer, source, frames, non_framed, keyrings in makers:
        greeting = peer.ask(op="hello")
        vectors = []
        for case in cases(greeting["suites"], frames, non_framed, keyrings):
            try:
                case["message"] = peer.ask(op="encrypt", **case)["message"]
                problem = check(case, openers)
            except Refused as error:
                problem = "not encrypted: %s" % error
            if problem:
                failures += 1
                print("%s, %s: left out: %s" % (name, case["name"], problem), file=sys.stderr)
            else:
                case.pop("keyring", None)
                vectors.append(case)
        # One vector per line.
        text = '{\n"source": %s,\n"made_with": "tests/peers/make_vectors.py",\n"vectors": [\n%s\n]\n}\n' % (
            json.dumps("%s %s" % (source, greeting["version"])),
            ",\n".join(json.dumps(vector) for vector in vectors),
        )
        json.loads(text)
        if len(text) > SIZE_LIMIT:
            raise SystemExit("%s.json would have %d bytes" % (name, len(text)))
        with open(os.path.join(VECTORS_DIR, name + ".json"), "w", encoding="ascii") as file:
            file.write(text)
        print("%s.json: %d vectors, %d bytes" % (name, len(vectors), len(text)))
    python.close()
    node.close()
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
