"""Random tokens of people, programs and agents: 256 bits behind a prefix that says what they are for.

There is nothing to guess, so a plain SHA-256 of a token is what is kept of it.
"""

import hashlib
import re

from wgfleet.panel import clock

MOST_LETTERS = 2000  # of what is pasted: a link
_BEFORE = re.compile(r"[#=/]")


def new_token(prefix: str) -> str:
    """Return a new token that begins with `prefix`."""
    return f"{prefix}{clock.new_token()}"


def digest(token: str) -> str:
    """Return the SHA-256 of a token, in hexadecimal digits."""
    return hashlib.sha256(token.encode()).hexdigest()


def pasted(text: str) -> str:
    """Return the token of a link that was pasted whole, or the text where it is one."""
    return _BEFORE.split(text[:MOST_LETTERS].strip())[-1]
