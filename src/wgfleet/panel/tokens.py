"""Random tokens of people, programs and agents: 256 bits behind a prefix that says what they are for.

There is nothing to guess, so a plain SHA-256 of a token is what is kept of it.
"""

import hashlib

from wgfleet.panel import clock


def new_token(prefix: str) -> str:
    """Return a new token that begins with `prefix`."""
    return f"{prefix}{clock.new_token()}"


def digest(token: str) -> str:
    """Return the SHA-256 of a token, in hexadecimal digits."""
    return hashlib.sha256(token.encode()).hexdigest()
