"""Provider `null`: for names whose records somebody keeps by hand. It reports what it would do, and does nothing.

It reads nothing either: only that somebody knows which records at the name are for the config. So its plan always lists
all desired records, and the name never counts as published.
"""

from typing import ClassVar

import structlog
from pydantic import BaseModel, ConfigDict

from wgfleet.panel.dns.providers import Account, Capabilities, Finding
from wgfleet.panel.domain.dns.records import Changes, Record
from wgfleet.protocol.reasons import Reason

MAX_TTL_S = 2**31 - 1  # RFC 2181 section 8
_log = structlog.get_logger(__name__)


class NullOptions(BaseModel):
    """No options."""

    model_config = ConfigDict(extra="forbid")


class Null:
    """A zone that is never read or changed."""

    name: ClassVar[str] = "null"
    Options: ClassVar[type[BaseModel]] = NullOptions

    def __init__(self, zone: str, options: BaseModel) -> None:
        self._zone = zone
        self._options = options

    @property
    def capabilities(self) -> Capabilities:
        """Return that nothing is published."""
        return Capabilities(
            min_ttl=1, max_ttl=MAX_TTL_S, automatic_ttl=True, atomic=True, batch=1_000_000, marks="txt", publishes=False
        )

    @property
    def account(self) -> Account:
        """Return an account without limit; no call leaves the machine."""
        return Account("null")

    def read(self, name: str) -> tuple[Record, ...]:
        """Return nothing, whatever is at the name."""
        del name
        return ()

    def apply(self, name: str, changes: Changes) -> int:
        """Log what would be done."""
        if changes:
            _log.info(
                "dns would change",
                zone=self._zone,
                name=name,
                creates=[f"{record.type} {record.content}" for record in changes.creates],
                updates=[f"{old.type} {old.content} to {new.content}" for old, new in changes.updates],
                deletes=[f"{record.type} {record.content}" for record in changes.deletes],
            )
        return 0

    def check(self, name: str) -> list[Finding]:
        """Report that there is nothing to check."""
        return [
            Finding(
                "records",
                ok=True,
                detail=Reason("the records of {name} are kept by hand; nothing is read or changed", name=name),
            )
        ]

    def close(self) -> None:
        """Nothing is open."""
