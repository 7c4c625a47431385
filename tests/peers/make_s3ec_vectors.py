"""Writes tests/vectors/s3ec.json: objects as the Amazon S3 Encryption Client stores them.

Computed here with the library `cryptography` from the published format, so that the reader is
compared with something else than itself: every format, wrapping and content algorithm, among them
those that no client which can be installed with a package manager writes. Needs the Python peer
(tests/peers/setup.sh python). The objects are the same at each run, except for RSA padding.
"""

import base64
import hashlib
import json
import os

from cryptography.hazmat.primitives import hashes, keywrap, padding, serialization
from cryptography.hazmat.primitives.asymmetric import padding as rsa_padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
GCM = "AES/GCM/NoPadding"
CBC = "AES/CBC/PKCS5Padding"
COMMITTING = "115"

with open(os.path.join(ROOT, "tests", "keys", "rsa-2048.pkcs8.pem"), "rb") as file:
    RSA = serialization.load_pem_private_key(file.read(), None).public_key()


def b64(data):
    return base64.b64encode(data).decode("ascii")


def some(label, length):
    """Bytes that look random and are the same at each run."""
    return hashlib.shake_256(label.encode("ascii")).digest(length)


def pkcs7(data):
    padder = padding.PKCS7(128).padder()
    return padder.update(data) + padder.finalize()


def blocks(key, mode, data):
    encryptor = Cipher(algorithms.AES(key), mode).encryptor()
    return encryptor.update(data) + encryptor.finalize()


def oaep(hash):
    return rsa_padding.OAEP(mgf=rsa_padding.MGF1(hashes.SHA1()), algorithm=hash, label=None)


def wrap(way, key, data_key, content):
    if way == "ecb":
        return blocks(key, modes.ECB(), pkcs7(data_key))
    if way == "AESWrap":
        return keywrap.aes_key_wrap(key, data_key)
    if way == "AES/GCM":
        iv = some("wrapping iv", 12)
        return iv + AESGCM(key).encrypt(iv, data_key, content.encode("ascii"))
    if way == "pkcs1":
        return RSA.encrypt(data_key, rsa_padding.PKCS1v15())
    if way == "RSA-OAEP-SHA1":
        return RSA.encrypt(bytes([len(data_key)]) + data_key + content.encode("ascii"), oaep(hashes.SHA1()))
    if way == "RSA/ECB/OAEPWithSHA-256AndMGF1Padding":
        return RSA.encrypt(data_key, oaep(hashes.SHA256()))
    raise ValueError(way)


def v1(way, key, plaintext):
    data_key, iv = some("v1 data key", 32), some("v1 iv", 16)
    metadata = {"x-amz-key": b64(wrap(way, key, data_key, "")), "x-amz-iv": b64(iv), "x-amz-matdesc": "{}"}
    return metadata, {}, blocks(data_key, modes.CBC(iv), pkcs7(plaintext))


def v2(way, key, plaintext, content=GCM):
    data_key = some("v2 data key", 32)
    iv = some("v2 iv", 12 if content == GCM else 16)
    metadata = {
        "x-amz-key-v2": b64(wrap(way, key, data_key, content)),
        "x-amz-iv": b64(iv),
        "x-amz-matdesc": '{"owner": "blue"}',
        "x-amz-wrap-alg": way,
        "x-amz-cek-alg": content,
    }
    if content == GCM:
        metadata["x-amz-tag-len"] = "128"
        return metadata, {}, AESGCM(data_key).encrypt(iv, plaintext, None)
    metadata["x-amz-unencrypted-content-length"] = str(len(plaintext))
    return metadata, {}, blocks(data_key, modes.CBC(iv), pkcs7(plaintext))


def v3(way, key, plaintext):
    data_key, message_id = some("v3 data key", 32), some("v3 message id", 28)

    def derive(label, length):
        info = b"\x00\x73" + label
        return HKDF(algorithm=hashes.SHA512(), length=length, salt=message_id, info=info).derive(data_key)

    number = {"AES/GCM": "02", "RSA-OAEP-SHA1": "22"}[way]
    in_either = {
        "x-amz-3": b64(wrap(way, key, data_key, COMMITTING)),
        "x-amz-w": number,
        "x-amz-m": '{"owner":"blue"}',
        "x-amz-t": "",
    }
    in_object = {"x-amz-c": COMMITTING, "x-amz-d": b64(derive(b"COMMITKEY", 28)), "x-amz-i": b64(message_id)}
    sealed = AESGCM(derive(b"DERIVEKEY", 32)).encrypt(b"\x01" * 12, plaintext, b"\x00\x73")
    return in_object, in_either, sealed


def main():
    cases = []

    def add(name, kind, key, made, plaintext, needs, in_file=False):
        in_object, in_either, sealed = made
        if in_file and not in_either:
            in_object, in_either = {}, in_object
        if not in_file:
            in_object, in_either = {**in_object, **in_either}, None
        cases.append(
            {
                "name": name,
                "kind": kind,
                "key": b64(key),
                "metadata": in_object,
                "instruction": in_either,
                "object": b64(sealed),
                "plaintext": b64(plaintext),
                "needs": needs,
            }
        )

    lengths = [0, 1, 15, 16, 17, 32, 1000]
    for in_file in (False, True):
        where = " in a file" if in_file else ""
        for bits in (128, 192, 256):
            key = some("wrapping key", bits // 8)
            for length in lengths:
                text = some("plaintext", length)
                what = "%s, %d bits, %d bytes" % (where, bits, length)
                if bits < 256 and length != 17:
                    continue
                old, wrapping, content = "commitment_policy", "legacy_wrapping", "legacy_content"
                add("format 1, AES" + what, "aes", key, v1("ecb", key, text), text, [old, wrapping, content], in_file)
                add("format 2, AES" + what, "aes", key, v2("AES/GCM", key, text), text, [old], in_file)
                add("format 2, AESWrap" + what, "aes", key, v2("AESWrap", key, text), text, [old, wrapping], in_file)
                made = v2("AESWrap", key, text, CBC)
                add("format 2, AESWrap, CBC" + what, "aes", key, made, text, [old, wrapping, content], in_file)
                add("format 3, AES" + what, "aes", key, v3("AES/GCM", key, text), text, [], in_file)
        text = some("plaintext", 100)
        add("format 1, RSA" + where, "rsa", b"", v1("pkcs1", None, text), text, [old, wrapping, content], in_file)
        add("format 2, RSA" + where, "rsa", b"", v2("RSA-OAEP-SHA1", None, text), text, [old], in_file)
        add("format 3, RSA" + where, "rsa", b"", v3("RSA-OAEP-SHA1", None, text), text, [], in_file)
    mixed = v2("RSA/ECB/OAEPWithSHA-256AndMGF1Padding", None, text)
    add("format 2, RSA, mixed hashes", "rsa", b"", mixed, text, [old, wrapping, "unsupported"])
    with open(os.path.join(ROOT, "tests", "vectors", "s3ec.json"), "w") as file:
        json.dump(cases, file, indent=1, sort_keys=True)
        file.write("\n")
    print("%d objects" % len(cases))


if __name__ == "__main__":
    main()
