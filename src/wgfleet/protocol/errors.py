"""The one error of parsing: which field is wrong, why, and what would be right."""


class FieldError(ValueError):
    """A value that came from outside is wrong.

    `field` is a dotted path with indexes (`peers[3].allowed_ips[0]`), `detail` says what is wrong and what would
    be right, in lower case. The value itself is left out where it may be a secret.
    """

    def __init__(self, field: str, detail: str) -> None:
        super().__init__(f"{field}: {detail}")
        self.field = field
        self.detail = detail
