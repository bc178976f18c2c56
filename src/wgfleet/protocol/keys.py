"""Keys of WireGuard (Curve25519 and preshared) in WireGuard's base64 form (32 bytes, 44 characters)."""

import binascii
from typing import NewType

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from wgfleet.protocol.addresses import pasted
from wgfleet.protocol.errors import FieldError
from wgfleet.protocol.reasons import Reason

PublicKey = NewType("PublicKey", str)
PrivateKey = NewType("PrivateKey", str)
PresharedKey = NewType("PresharedKey", str)

KEY_BYTES = 32
KEY_CHARACTERS = 44
_COORDINATE = 2**255 - 1  # the highest bit of a public key counts for nothing
_PRIME = 2**255 - 19
_LOW_ORDER = frozenset(
    {
        *(0, 1, _PRIME - 1, _PRIME, _PRIME + 1),
        0x00B8495F16056286FDB1329CEB8D09DA6AC49FF1FAE35616AEB8413B7C7AEBE0,
        0x57119FD0DD4E22D8868E1C58C45C44045BEF839C55B1D0B1248C50A3BC959C5F,
    }
)
"""All points of Curve25519 whose order divides 8: what anybody agrees on with one of them is zero."""


def raw_to_text(raw: bytes) -> str:
    """Return the base64 form of the 32 bytes of a key."""
    return binascii.b2a_base64(raw, newline=False).decode()


def text_to_raw(key: PublicKey | PrivateKey | PresharedKey) -> bytes:
    """Return the 32 bytes of a parsed key."""
    return binascii.a2b_base64(key)


def public_key_of(key: PrivateKey) -> PublicKey:
    """Return the public key of a parsed private key."""
    private = X25519PrivateKey.from_private_bytes(text_to_raw(key))
    return PublicKey(raw_to_text(private.public_key().public_bytes_raw()))


def _parse_key(text: str, field: str) -> tuple[str, bytes]:
    """Return the canonical form and the bytes; `wg` refuses any other form, so trailing bits must be zero."""
    try:
        raw = binascii.a2b_base64(text, strict_mode=True)
    except (binascii.Error, ValueError):
        raw = b""
    if len(text) != KEY_CHARACTERS or len(raw) != KEY_BYTES:
        raise FieldError(field, Reason("must be a key of 32 bytes in base64 (44 characters), as `wg genkey` prints it"))
    canonical = raw_to_text(raw)
    if canonical != text:
        raise FieldError(field, Reason("is not a canonical base64 key: its last character has stray bits"))
    return canonical, raw


def parse_public_key(text: str, field: str = "public_key") -> PublicKey:
    """Parse a public key; raise `FieldError` naming `field`."""
    key, _ = _parse_key(text, field)
    return PublicKey(key)


def parse_peer_key(text: str, field: str = "public_key") -> PublicKey:
    """Parse the public key of a device, as it was copied; raise `FieldError` naming `field`.

    Keys with which no handshake ever succeeds, as that of 32 zeros, are no device's (RFC 7748, section 6.1).
    """
    key = parse_public_key(pasted(text), field)
    if int.from_bytes(text_to_raw(key), "little") & _COORDINATE in _LOW_ORDER:
        raise FieldError(field, Reason("is a key that no device can have; give the one that `wg pubkey` prints"))
    return key


def parse_private_key(text: str, field: str = "private_key") -> PrivateKey:
    """Parse a private key; the error never carries the value.

    WireGuard would clamp another key (RFC 7748, section 5), and then show one that differs from what is wanted.
    """
    key, raw = _parse_key(text, field)
    if raw[0] & 0b111 or raw[-1] >> 6 != 1:
        raise FieldError(field, Reason("is not a clamped Curve25519 private key, as `wg genkey` prints it"))
    return PrivateKey(key)


def parse_preshared_key(text: str, field: str = "preshared_key") -> PresharedKey:
    """Parse a preshared key; the error never carries the value."""
    key, raw = _parse_key(text, field)
    if not any(raw):
        raise FieldError(field, Reason("is all zeros, which WireGuard reads as no preshared key; omit the field"))
    return PresharedKey(key)
