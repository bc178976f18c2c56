"""Curve25519 and preshared keys in WireGuard's base64 form (32 bytes, 44 characters)."""

import binascii
from typing import NewType

from wgfleet.protocol.errors import FieldError

PublicKey = NewType("PublicKey", str)
PrivateKey = NewType("PrivateKey", str)
PresharedKey = NewType("PresharedKey", str)

KEY_BYTES = 32
_KEY_CHARACTERS = 44


def _parse_key(text: str, field: str) -> str:
    """Return the canonical form; `wg` refuses any other, so trailing bits must be zero."""
    try:
        raw = binascii.a2b_base64(text, strict_mode=True)
    except (binascii.Error, ValueError):
        raw = b""
    if len(text) != _KEY_CHARACTERS or len(raw) != KEY_BYTES:
        raise FieldError(field, "must be a key of 32 bytes in base64 (44 characters), as `wg genkey` prints it")
    canonical = binascii.b2a_base64(raw, newline=False).decode()
    if canonical != text:
        raise FieldError(field, "is not a canonical base64 key: its last character carries stray bits")
    return canonical


def parse_public_key(text: str, field: str = "public_key") -> PublicKey:
    """Parse a public key; raise `FieldError` naming `field`."""
    return PublicKey(_parse_key(text, field))


def parse_private_key(text: str, field: str = "private_key") -> PrivateKey:
    """Parse a private key; the error never carries the value."""
    return PrivateKey(_parse_key(text, field))


def parse_preshared_key(text: str, field: str = "preshared_key") -> PresharedKey:
    """Parse a preshared key; the error never carries the value."""
    return PresharedKey(_parse_key(text, field))
