"""Values of lookups of host names. Pure; `panel.host_names` makes the lookups."""

from dataclasses import dataclass

from wgfleet.protocol.reasons import Reason

LATE = Reason("the resolver did not answer in time")
TOO_MANY = Reason("too many lookups of this API key are under way")
UNANSWERED = frozenset({LATE, TOO_MANY})
"""Errors that say nothing of the name."""


@dataclass(frozen=True, slots=True)
class Lookup:
    """The addresses of a name, sorted; without any, `error` says why."""

    addresses: tuple[str, ...] = ()
    error: str = ""
