"""Parsing error: which field is invalid, why, and what would be valid; and how its words are made readable."""

import re

_JOINER = re.compile(r"(?<!\\)((?:\\\\)*)\\u(200[cd])")


def readable(text: str) -> str:
    """Return a message with the joiners of names that it quotes, which Python's repr writes as escapes.

    In Persian and many other scripts they are part of how a word is spelled, and invisible by themselves.
    """
    return _JOINER.sub(lambda found: found[1] + chr(int(found[2], 16)), text)


class FieldError(ValueError):
    """A value from outside is invalid.

    `field` is a dotted path with indexes (`peers[3].allowed_ips[0]`), `detail` says what is invalid and what would
    be valid, in lower case. The value itself is left out where it may be a secret.
    """

    def __init__(self, field: str, detail: str) -> None:
        self.field = field
        self.detail = readable(detail)
        super().__init__(f"{field}: {self.detail}")
