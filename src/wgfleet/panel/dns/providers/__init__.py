"""DNS providers: read the records at a name, and change them. What is to change, when and how often is not theirs.

A provider is a plugin: an entry point in the group `wgfleet.dns_providers` whose object is a `ProviderType`. All calls
block and are made from threads; one object serves one account and may be called from several threads.
"""

from dataclasses import dataclass
from typing import Protocol

from pydantic import BaseModel

from wgfleet.panel.domain.dns.records import Changes, Record
from wgfleet.panel.errors import TransientError

ENTRY_POINTS = "wgfleet.dns_providers"

__all__ = [
    "ENTRY_POINTS",
    "Account",
    "Blocked",
    "Capabilities",
    "Changes",
    "Finding",
    "Provider",
    "ProviderType",
    "Raced",
    "Record",
]


class Blocked(TransientError):
    """The whole account is turned away until `retry_after_s` have passed: no name of it may be tried before."""


class Raced(TransientError):
    """Somebody else changed the name between our look and our change; nothing of ours was done."""


@dataclass(frozen=True, slots=True)
class Account:
    """Whose rate limit a call counts against. `id` is a digest of what identifies it, never the credential.

    `calls` in `window_s` are allowed (0: no limit is known).
    """

    id: str
    calls: int = 0
    window_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a provider can do. TTLs in s; `automatic_ttl`: it takes 1 for its own choice.

    `atomic`: all changes of a call happen or none. `batch`: the most changes that one call carries.
    `marks`: `comment` with each record, or `txt` beside the name. `publishes`: False where nothing is ever changed, and
    what would be done is only said.
    """

    min_ttl: int
    max_ttl: int
    automatic_ttl: bool
    atomic: bool
    batch: int
    marks: str
    publishes: bool = True


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that `check` looked at: `ok`, and in `detail` what was found or what to do about it.

    `certain` is False where the provider could not be asked, so that another look may find otherwise.
    """

    subject: str
    ok: bool
    detail: str
    certain: bool = True


class Provider(Protocol):
    """One account at a provider, for one zone.

    Failures: `TransientError` (worth another try; whether a change was made is not known, so read first), its
    subclasses `Blocked` and `Raced`, or `PermanentError` with the provider's own words and what would help. No error
    holds a credential.
    """

    @property
    def capabilities(self) -> Capabilities: ...

    @property
    def account(self) -> Account: ...

    def read(self, name: str) -> tuple[Record, ...]:
        """Return all A, AAAA and CNAME records at exactly `name` (lower case, IDNA A-labels, no final dot)."""

    def apply(self, name: str, changes: Changes) -> int:
        """Make the changes; records of `creates` and new ones of `updates` get their `owner` as mark.

        Returns how many calls it took. Nothing else at the name or in the zone is touched.
        """

    def check(self, name: str) -> list[Finding]:
        """Look whether credential, zone and permissions are as they must be for `name`; changes nothing."""

    def close(self) -> None: ...


class ProviderType(Protocol):
    """What an entry point holds: a class of providers. `Options` says what an endpoint group may set.

    Secret fields of `Options` are `pydantic.SecretStr`.
    """

    name: str
    Options: type[BaseModel]

    def __call__(self, zone: str, options: BaseModel) -> Provider: ...
