"""What the contract suite needs of a provider's server: one zone on it, looked at and changed from behind.

To have a provider pass the suite, write an `Environment` for it and add it to `ENVIRONMENTS` in `test_contract.py`.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Protocol

from wgfleet.panel.dns.providers import Provider
from wgfleet.panel.domain.dns.records import Record

TTL_S = 300  # what `plant` gives a record: RRset-minded servers know one TTL a name and type


class Environment(Protocol):
    """A real server with one zone. What it changes here, it changes without the provider that is tested."""

    @property
    def zone(self) -> str:
        """The zone's name, without a final dot."""

    @property
    def secret(self) -> str:
        """What no error, log or representation may hold."""

    def provider(self) -> Provider:
        """Make a new object of the provider, with what it needs to work."""

    def refused(self) -> Provider:
        """Make one whose credential the server does not take; `secret` is part of it all the same."""

    def unreachable(self) -> Provider:
        """Make one whose server does not answer; `secret` is its credential."""

    def plant(self, name: str, type_: str, content: str) -> object:
        """Put a record of somebody else there, with a TTL of `TTL_S`; `type_`: A, AAAA, CNAME, MX or TXT."""

    def records(self, name: str) -> set[tuple[str, str, int]]:
        """Return type, content and TTL of all the server has at exactly `name`, marks of ours left out."""


Opened = Callable[[], AbstractContextManager[Environment]]


def said(records: tuple[Record, ...]) -> set[Record]:
    """Return the records without the provider's way to name them."""
    return {replace(record, handle=None) for record in records}


def ours(type_: str, content: str, owner: str, ttl: int = TTL_S) -> Record:
    """Return a record as we want it."""
    return Record(type=type_, content=content, ttl=ttl, owner=owner)
