"""Parsing error: which field is invalid, why, and what would be valid."""


class FieldError(ValueError):
    """A value from outside is invalid.

    `field` is a dotted path with indexes (`peers[3].allowed_ips[0]`), `detail` says what is invalid and what would
    be valid, in lower case. The value itself is left out where it may be a secret.
    """

    def __init__(self, field: str, detail: str) -> None:
        super().__init__(f"{field}: {detail}")
        self.field = field
        self.detail = detail
