"""New WireGuard keys (RFC 7748, section 6.1), in the text form that `wg` reads; the caller seals the secrets."""

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from wgfleet.panel import clock
from wgfleet.protocol.keys import (
    KEY_BYTES,
    PresharedKey,
    PrivateKey,
    PublicKey,
    parse_private_key,
    public_key_of,
    raw_to_text,
)


def new_key_pair() -> tuple[PrivateKey, PublicKey]:
    """Return a private key and its public key."""
    key = X25519PrivateKey.generate()
    private, public = key.private_bytes_raw(), key.public_key().public_bytes_raw()
    return PrivateKey(raw_to_text(private)), PublicKey(raw_to_text(public))


def key_pair_of(private_key: str) -> tuple[PrivateKey, PublicKey]:
    """Return a private key that somebody brought, and its public key. Raise `FieldError`."""
    key = parse_private_key(private_key)
    return key, public_key_of(key)


def new_preshared_key() -> PresharedKey:
    """Return a preshared key."""
    return PresharedKey(raw_to_text(clock.new_bytes(KEY_BYTES)))
