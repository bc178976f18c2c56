"""Errors of the panel: what it says when it cannot do something.

PanelError
├── Invalid        a field is wrong (422); carries `field`
├── Unauthorized   no credential, or one that is not known (401)
├── Forbidden      the credential lacks a scope (403)
├── NotFound       no such thing (404)
├── Conflict       it clashes with what is there (409); may carry `field`
├── Exhausted      a pool or the nodes' capacity is used up (409)
├── TooMany        asked too often (429); carries `retry_after_s`
└── Unavailable    the database or an agent cannot be reached at the moment (503); carries `retry_after_s`

Two more say whether a reconciler tries again: TransientError and PermanentError. Anything else is a bug.
Texts are in lower case, carry identifiers and never a secret. The ways out are hints: each surface has its own words.
"""

from wgfleet.panel.hints import Hint
from wgfleet.protocol.reasons import Reason, readable, words_of


class PanelError(Exception):
    """A refusal with a reason and the ways out. `field` is the dotted path of the wrong value, where there is one.

    `said`: the detail as it can be said in other languages, where it is known by its template.
    """

    status = 500
    title = "error"

    def __init__(self, detail: str, *hints: Hint, field: str | None = None, retry_after_s: float | None = None) -> None:
        self.detail = str(readable(detail))
        self.said = detail if isinstance(detail, Reason) else None
        super().__init__(self.detail)
        self.hints = hints
        self.field = field
        self.retry_after_s = retry_after_s

    @property
    def retry_headers(self) -> dict[str, str]:
        """What an answer says of when to try again, as HTTP has it."""
        return {} if self.retry_after_s is None else {"Retry-After": str(max(1, round(self.retry_after_s)))}


class Invalid(PanelError):
    status = 422
    title = "a value is not valid"


class Unauthorized(PanelError):
    status = 401
    title = "credential needed"


class Forbidden(PanelError):
    status = 403
    title = "not allowed"


class NotFound(PanelError):
    status = 404
    title = "not found"


class Conflict(PanelError):
    status = 409
    title = "conflict"


class Exhausted(Conflict):
    title = "used up"


class TooMany(PanelError):
    status = 429
    title = "too many requests"


class Unavailable(PanelError):
    status = 503
    title = "not available at the moment"


class TransientError(Exception):
    """Worth another try, after `retry_after_s` where it is given."""

    def __init__(self, detail: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s


class PermanentError(Exception):
    """Another try gives the same until somebody changes something."""


def told(error: BaseException) -> str:
    """Return what people who may only read can be told: words of ours, or else the kind of bug, never its text."""
    if isinstance(error, (PanelError, TransientError, PermanentError)):
        return words_of(error)
    return Reason("the panel failed: {kind}; its log says more", kind=type(error).__name__)
