"""New WireGuard keys (RFC 7748, section 6.1), in base64."""

import os

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from wgfleet.protocol.keys import KEY_BYTES, raw_to_text


def new_key_pair() -> tuple[str, str]:
    """Return a private key and its public key."""
    key = X25519PrivateKey.generate()
    return raw_to_text(key.private_bytes_raw()), raw_to_text(key.public_key().public_bytes_raw())


def new_preshared_key() -> str:
    """Return a preshared key."""
    return raw_to_text(os.urandom(KEY_BYTES))
