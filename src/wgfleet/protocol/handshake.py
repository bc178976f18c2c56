"""WireGuard's handshake from the initiator's side: forming an initiation, and checking whether a packet answers it.

Noise_IKpsk2 without a preshared key, as in the WireGuard paper (Donenfeld, NDSS 2017), section 5.4; the names of the
paper are kept: C is the chaining key, H the hash of what was exchanged. It sends nothing; key pairs, time and index
come in as arguments.
"""

import hashlib
import hmac
import struct
from dataclasses import dataclass, field
from enum import StrEnum

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20

from wgfleet.protocol.errors import FieldError
from wgfleet.protocol.keys import PrivateKey, PublicKey, text_to_raw
from wgfleet.protocol.reasons import Reason

INITIATION_BYTES = 148
RESPONSE_BYTES = 92
COOKIE_REPLY_BYTES = 64

_INITIATION = struct.pack("<I", 1)  # one byte of type, three reserved ones
_RESPONSE = struct.pack("<I", 2)
_COOKIE_REPLY = struct.pack("<I", 3)
_TAI64_OF_EPOCH = 0x400000000000000A  # TAI64 label of 1970-01-01 as WireGuard counts it: without later leap seconds
_BILLION = 10**9
_NONCE_0 = bytes(12)
_NO_PSK = bytes(32)
_NO_COOKIE = bytes(16)
_MAC1_LABEL = b"mac1----"
_COOKIE_LABEL = b"cookie--"
_WORD = 0xFFFFFFFF
_INNER, _OUTER = bytes(byte ^ 0x36 for byte in range(256)), bytes(byte ^ 0x5C for byte in range(256))
_INNER_REST, _OUTER_REST = bytes([0x36]) * 32, bytes([0x5C]) * 32  # of a block, beyond the key


def _hash(*parts: bytes) -> bytes:
    return hashlib.blake2s(b"".join(parts)).digest()


def _mac(key: bytes, text: bytes) -> bytes:
    return hashlib.blake2s(text, key=key, digest_size=16).digest()


def _hmac(key: bytes, text: bytes) -> bytes:
    """HMAC (RFC 2104) with a key of 32 bytes: two thirds of what the library's takes, and a probe has eighteen."""
    inner = hashlib.blake2s(key.translate(_INNER) + _INNER_REST + text).digest()
    return hashlib.blake2s(key.translate(_OUTER) + _OUTER_REST + inner).digest()


_C0 = _hash(b"Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s")
_H0 = _hash(_C0, b"WireGuard v1 zx2c4 Jason@zx2c4.com")


def _kdf1(key: bytes, text: bytes) -> bytes:
    return _hmac(_hmac(key, text), b"\x01")


def _kdf2(key: bytes, text: bytes) -> tuple[bytes, bytes]:
    secret = _hmac(key, text)
    first = _hmac(secret, b"\x01")
    return first, _hmac(secret, first + b"\x02")


def _kdf3(key: bytes, text: bytes) -> tuple[bytes, bytes, bytes]:
    secret = _hmac(key, text)
    first = _hmac(secret, b"\x01")
    second = _hmac(secret, first + b"\x02")
    return first, second, _hmac(secret, second + b"\x03")


class Answer(StrEnum):
    """How a responder proved to be alive: it finished the handshake, or asked for a cookie because it is under load."""

    RESPONSE = "response"
    COOKIE = "cookie"


@dataclass(frozen=True, slots=True)
class Pairing:
    """What a pair of static keys, ours and the responder's, fixes for all handshakes. Expensive to derive: keep it."""

    private: X25519PrivateKey = field(repr=False)
    public: bytes
    responder: X25519PublicKey
    shared: bytes = field(repr=False)  # DH of the two static keys
    hash: bytes  # H after the responder's key
    request_mac_key: bytes
    response_mac_key: bytes
    cookie_key: bytes


class EphemeralUsedError(Exception):
    """An initiation to this responder was formed with the ephemeral key before."""


class Ephemeral:
    """Our key of the moment, for one initiation to each of many responders: to make one costs as much as an exchange.

    What is sealed is sealed with keys that follow from the exchange with the responder, and with a constant nonce. So
    it takes part in no second initiation that has the same exchange, also of another initiator.
    """

    def __init__(self) -> None:
        self._private = X25519PrivateKey.generate()
        self._secrets: set[bytes] = set()
        self.public = self._private.public_key().public_bytes_raw()
        self.chaining_key = _kdf1(_C0, self.public)

    def exchange_once(self, responder: X25519PublicKey) -> bytes:
        """Return the exchange with a responder's static key; raise `EphemeralUsedError` the second time."""
        secret = self._private.exchange(responder)
        if secret in self._secrets:
            raise EphemeralUsedError
        self._secrets.add(secret)
        return secret

    def exchange(self, theirs: X25519PublicKey) -> bytes:
        """Return the exchange with a responder's ephemeral key."""
        return self._private.exchange(theirs)


@dataclass(frozen=True, slots=True)
class Initiation:
    """A handshake under way: `packet` goes out, the rest is for reading the answer. `sender` is our 32-bit index."""

    packet: bytes
    sender: int
    ephemeral: Ephemeral = field(repr=False)
    chaining_key: bytes = field(repr=False)
    hash: bytes


def pair(private_key: PrivateKey, public_key: PublicKey) -> Pairing:
    """Derive what two static keys fix.

    Raise `FieldError` for a public key of low order: its shared secret is known to everybody.
    """
    private = X25519PrivateKey.from_private_bytes(text_to_raw(private_key))
    raw = text_to_raw(public_key)
    responder = X25519PublicKey.from_public_bytes(raw)
    public = private.public_key().public_bytes_raw()
    try:
        shared = private.exchange(responder)
    except ValueError:
        raise FieldError("public_key", Reason("is a point of low order, which no private key has")) from None
    return Pairing(
        private=private,
        public=public,
        responder=responder,
        shared=shared,
        hash=_hash(_H0, raw),
        request_mac_key=_hash(_MAC1_LABEL, raw),
        response_mac_key=_hash(_MAC1_LABEL, public),
        cookie_key=_hash(_COOKIE_LABEL, raw),
    )


def tai64n(nanoseconds: int) -> bytes:
    """Form the 12 bytes of a TAI64N label from `nanoseconds` since the epoch; a later time compares greater."""
    return struct.pack(">QI", _TAI64_OF_EPOCH + nanoseconds // _BILLION, nanoseconds % _BILLION)


def initiate(pairing: Pairing, ephemeral: Ephemeral, timestamp: bytes, sender: int) -> Initiation:
    """Form an initiation (section 5.4.2); raise `EphemeralUsedError` where `ephemeral` was used for this responder.

    `timestamp` (TAI64N) must be above that of every initiation between these static keys before, or the responder
    drops it.
    """
    public = ephemeral.public
    h = _hash(pairing.hash, public)
    c, key = _kdf2(ephemeral.chaining_key, ephemeral.exchange_once(pairing.responder))
    static = ChaCha20Poly1305(key).encrypt(_NONCE_0, pairing.public, h)
    h = _hash(h, static)
    c, key = _kdf2(c, pairing.shared)
    stamp = ChaCha20Poly1305(key).encrypt(_NONCE_0, timestamp, h)
    h = _hash(h, stamp)
    body = b"".join((_INITIATION, struct.pack("<I", sender), public, static, stamp))
    packet = body + _mac(pairing.request_mac_key, body) + _NO_COOKIE
    return Initiation(packet=packet, sender=sender, ephemeral=ephemeral, chaining_key=c, hash=h)


def receiver(packet: bytes) -> int | None:
    """Return the index that a packet is addressed to, if it has the form of an answer: cheap, but proves nothing."""
    kind = packet[:4]
    if len(packet) == RESPONSE_BYTES and kind == _RESPONSE:
        return int.from_bytes(packet[8:12], "little")
    if len(packet) == COOKIE_REPLY_BYTES and kind == _COOKIE_REPLY:
        return int.from_bytes(packet[4:8], "little")
    return None


def read_answer(pairing: Pairing, initiation: Initiation, packet: bytes) -> Answer | None:
    """Return what `packet` answers to `initiation`; None unless the holder of the responder's key made it for this one.

    A cookie reply proves less than a response: its key follows from the responder's public key, so somebody who
    knows that key and sees our packets can forge one.
    """
    if receiver(packet) != initiation.sender:
        return None
    if packet[:4] == _COOKIE_REPLY:
        return Answer.COOKIE if _is_cookie(pairing, initiation, packet) else None
    return None if chaining_key_of(pairing, initiation, packet) is None else Answer.RESPONSE


def chaining_key_of(pairing: Pairing, initiation: Initiation, packet: bytes) -> bytes | None:
    """Return the key that both sides have after a response (section 5.4.3), from which a session's follow.

    None: `packet` is no response to `initiation`. mac1 first, since it costs a fiftieth of the two exchanges.
    """
    if receiver(packet) != initiation.sender or packet[:4] != _RESPONSE:
        return None
    if not hmac.compare_digest(_mac(pairing.response_mac_key, packet[:60]), packet[60:76]):
        return None
    public = packet[12:44]
    try:
        ephemeral = X25519PublicKey.from_public_bytes(public)
        ephemeral_secret = initiation.ephemeral.exchange(ephemeral)
        static_secret = pairing.private.exchange(ephemeral)
    except ValueError:  # a point of low order
        return None
    h = _hash(initiation.hash, public)
    c = _kdf1(initiation.chaining_key, public)
    c = _kdf1(c, ephemeral_secret)
    c = _kdf1(c, static_secret)
    c, tau, key = _kdf3(c, _NO_PSK)
    return c if _opens(key, _NONCE_0, packet[44:60], _hash(h, tau)) else None


def session_keys(chaining_key: bytes) -> tuple[bytes, bytes]:
    """Return the keys with which the initiator of a handshake sends and receives (section 5.4.5)."""
    return _kdf2(chaining_key, b"")


def _is_cookie(pairing: Pairing, initiation: Initiation, packet: bytes) -> bool:
    """Check a cookie reply (section 5.4.7): XChaCha20-Poly1305 over the cookie, bound to the mac1 of our packet."""
    nonce, sealed = packet[8:32], packet[32:]
    key = _hchacha20(pairing.cookie_key, nonce[:16])
    return _opens(key, bytes(4) + nonce[16:], sealed, initiation.packet[-32:-16])


def _opens(key: bytes, nonce: bytes, sealed: bytes, aad: bytes) -> bool:
    try:
        ChaCha20Poly1305(key).decrypt(nonce, sealed, aad)
    except InvalidTag:
        return False
    return True


def _hchacha20(key: bytes, nonce: bytes) -> bytes:
    """Derive XChaCha20's subkey (draft-irtf-cfrg-xchacha, section 2.2).

    ChaCha20's key stream is the state after the rounds plus the state before; HChaCha20 wants the former, and only of
    the words whose state before is no secret: the constant, and the nonce.
    """
    block = Cipher(ChaCha20(key, nonce), mode=None).encryptor().update(bytes(64))
    after = struct.unpack("<16I", block)
    before = struct.unpack("<8I", b"expand 32-byte k" + nonce)
    words = (*after[:4], *after[12:])
    return struct.pack("<8I", *((word - start) & _WORD for word, start in zip(words, before, strict=True)))
