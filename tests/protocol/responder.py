"""A WireGuard responder for tests, written from the paper and the drafts, and sharing no code with the product."""

import hashlib
import hmac
import os
import struct
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305


def blake(text: bytes) -> bytes:
    return hashlib.new("blake2s256", text).digest()


def kdf(key: bytes, text: bytes, count: int) -> list[bytes]:
    """HKDF (RFC 5869) with HMAC-BLAKE2s, as the Noise framework numbers its outputs."""
    secret = hmac.digest(key, text, "blake2s256")
    outputs = [b""]
    for number in range(1, count + 1):
        outputs.append(hmac.digest(secret, outputs[-1] + bytes([number]), "blake2s256"))
    return outputs[1:]


def mac(key: bytes, text: bytes) -> bytes:
    return hashlib.blake2s(text, key=key, digest_size=16).digest()


def quarter_round(state: list[int], a: int, b: int, c: int, d: int) -> None:
    """RFC 8439, section 2.1."""
    for first, second, third, bits in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
        state[first] = (state[first] + state[second]) & 0xFFFFFFFF
        mixed = state[third] ^ state[first]
        state[third] = (mixed << bits | mixed >> (32 - bits)) & 0xFFFFFFFF


def hchacha20(key: bytes, nonce: bytes) -> bytes:
    """draft-irtf-cfrg-xchacha, section 2.2."""
    state = list(struct.unpack("<16I", b"expand 32-byte k" + key + nonce))
    for _ in range(10):
        for column in range(4):
            quarter_round(state, column, column + 4, column + 8, column + 12)
        for start in range(4):
            quarter_round(state, start, 4 + (start + 1) % 4, 8 + (start + 2) % 4, 12 + (start + 3) % 4)
    return struct.pack("<8I", *state[:4], *state[12:])


@dataclass
class Opened:
    """What a responder learns from an initiation."""

    sender: int
    ephemeral: bytes
    initiator: bytes
    timestamp: bytes
    chaining_key: bytes
    hash: bytes
    mac1: bytes


class Responder:
    """The holder of an interface's key."""

    def __init__(self, private: X25519PrivateKey | None = None) -> None:
        self.private = private or X25519PrivateKey.generate()
        self.public = self.private.public_key().public_bytes_raw()

    def open(self, packet: bytes) -> Opened:
        """Check every part of an initiation."""
        kind, sender, ephemeral, static, stamp, mac1, mac2 = struct.unpack("<II32s48s28s16s16s", packet)
        assert kind == 1
        assert mac1 == mac(blake(b"mac1----" + self.public), packet[:116])
        assert mac2 == bytes(16)
        c = blake(b"Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s")
        h = blake(c + b"WireGuard v1 zx2c4 Jason@zx2c4.com")
        h = blake(blake(h + self.public) + ephemeral)
        (c,) = kdf(c, ephemeral, 1)
        c, key = kdf(c, self.private.exchange(X25519PublicKey.from_public_bytes(ephemeral)), 2)
        initiator = ChaCha20Poly1305(key).decrypt(bytes(12), static, h)
        h = blake(h + static)
        c, key = kdf(c, self.private.exchange(X25519PublicKey.from_public_bytes(initiator)), 2)
        timestamp = ChaCha20Poly1305(key).decrypt(bytes(12), stamp, h)
        return Opened(sender, ephemeral, initiator, timestamp, c, blake(h + stamp), mac1)

    def respond(self, packet: bytes, *, receiver: int | None = None) -> bytes:
        """Answer an initiation; to another index than the one that it came from, if told to."""
        opened = self.open(packet)
        ephemeral = X25519PrivateKey.generate()
        public = ephemeral.public_key().public_bytes_raw()
        (c,) = kdf(opened.chaining_key, public, 1)
        (c,) = kdf(c, ephemeral.exchange(X25519PublicKey.from_public_bytes(opened.ephemeral)), 1)
        (c,) = kdf(c, ephemeral.exchange(X25519PublicKey.from_public_bytes(opened.initiator)), 1)
        _, tau, key = kdf(c, bytes(32), 3)
        h = blake(blake(opened.hash + public) + tau)
        empty = ChaCha20Poly1305(key).encrypt(bytes(12), b"", h)
        receiver = opened.sender if receiver is None else receiver
        body = struct.pack("<III", 2, 77, receiver) + public + empty
        return seal(body, opened.initiator)

    def cookie(self, packet: bytes, *, mac1: bytes | None = None) -> bytes:
        """Ask for a cookie in the answer to an initiation, as a responder under load does."""
        opened = self.open(packet)
        nonce = os.urandom(24)
        subkey = hchacha20(blake(b"cookie--" + self.public), nonce[:16])
        aad = opened.mac1 if mac1 is None else mac1
        sealed = ChaCha20Poly1305(subkey).encrypt(bytes(4) + nonce[16:], os.urandom(16), aad)
        return struct.pack("<II", 3, opened.sender) + nonce + sealed


def seal(body: bytes, to: bytes) -> bytes:
    """Put the two macs behind a message for the holder of the public key `to`."""
    return body + mac(blake(b"mac1----" + to), body) + bytes(16)
