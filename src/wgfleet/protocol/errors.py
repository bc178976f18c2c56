"""Parsing error: which field is invalid, why, and what would be valid."""

from wgfleet.protocol.reasons import Reason, readable

__all__ = ["FieldError", "readable"]


class FieldError(ValueError):
    """A value from outside is invalid.

    `field` is a dotted path with indexes (`peers[3].allowed_ips[0]`), `detail` says what is invalid and what would
    be valid, in lower case. The value itself is left out where it may be a secret. `said`: the same for people, where
    it is known by its template.
    """

    def __init__(self, field: str, detail: str) -> None:
        self.field = field
        self.said = detail if isinstance(detail, Reason) else None
        self.detail = str(readable(detail))
        super().__init__(f"{field}: {self.detail}")
