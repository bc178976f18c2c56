"""New WireGuard keys, in the text form that `wg` reads."""

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from wgfleet.protocol.keys import PrivateKey, PublicKey, raw_to_text


def new_key_pair() -> tuple[PrivateKey, PublicKey]:
    """Return a new Curve25519 key pair (RFC 7748); whoever calls seals the private half before it is stored."""
    key = X25519PrivateKey.generate()
    private, public = key.private_bytes_raw(), key.public_key().public_bytes_raw()
    return PrivateKey(raw_to_text(private)), PublicKey(raw_to_text(public))
