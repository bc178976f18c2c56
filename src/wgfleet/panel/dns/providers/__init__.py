"""DNS providers: the interface for reading and changing the records of a name.

The panel decides what to change, when and how often. A provider is a plugin: an entry point in the group
`wgfleet.dns_providers` whose object is a `ProviderType`. All calls block and are made from threads; one object serves
one account and may be called from several threads.
"""

from dataclasses import dataclass
from typing import Protocol

from pydantic import BaseModel

from wgfleet.panel.accounts import Account, Blocked
from wgfleet.panel.domain.dns.records import Changes, Record
from wgfleet.panel.errors import PermanentError, TransientError

ENTRY_POINTS = "wgfleet.dns_providers"
TEXT_TTL_S = 60
TEXT_CALLS = 3
"""The most calls that adding a text takes, or removing it."""

__all__ = [
    "ENTRY_POINTS",
    "TEXT_CALLS",
    "TEXT_TTL_S",
    "Account",
    "Blocked",
    "Capabilities",
    "Changes",
    "Finding",
    "Provider",
    "ProviderType",
    "Raced",
    "Record",
    "TextProvider",
]


class Raced(TransientError):
    """Somebody else changed the name between our read and our change; nothing was changed by us."""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a provider can do. TTLs in s; `automatic_ttl`: it accepts 1 for its own choice.

    `atomic`: all changes of a call happen or none. `batch`: the most changes that one call carries.
    `marks`: `comment` with each record, or `txt` beside the name. `publishes`: False if it never changes anything and
    only reports what it would do. `check_calls`: the most calls that `check` makes. `texts`: it is a `TextProvider`.
    """

    min_ttl: int
    max_ttl: int
    automatic_ttl: bool
    atomic: bool
    batch: int
    marks: str
    publishes: bool = True
    check_calls: int = 1
    texts: bool = False


@dataclass(frozen=True, slots=True)
class Finding:
    """A result of `check`: `ok`, and in `detail` what was found or what to do about it.

    `certain` is False if the provider could not be asked, so that another check may find otherwise.
    """

    subject: str
    ok: bool
    detail: str
    certain: bool = True


class OutsideZone(PermanentError):
    """A name is not in the zone that the provider was opened for."""


class Provider(Protocol):
    """One account at a provider, for one zone.

    Errors: `TransientError` (worth another attempt; whether a change was made is not known, so read first), its
    subclasses `Blocked` and `Raced`, or `PermanentError` with the provider's own message and what to do. No error
    holds a credential.
    """

    @property
    def capabilities(self) -> Capabilities: ...

    @property
    def account(self) -> Account: ...

    def read(self, name: str) -> tuple[Record, ...]:
        """Return all A, AAAA and CNAME records at exactly `name` (lower case, IDNA A-labels, no final dot)."""

    def apply(self, name: str, changes: Changes) -> int:
        """Make the changes; created and updated records get their `owner` as mark.

        Returns the number of calls. Nothing else at the name or in the zone is touched.
        """

    def check(self, name: str) -> list[Finding]:
        """Check credential, zone and permissions for `name`; changes nothing."""

    def close(self) -> None: ...


class TextProvider(Provider, Protocol):
    """A provider that puts TXT records, too: by these a CA sees that a name is ours (RFC 8555, section 8.4).

    Errors are those of a `Provider`. Both calls do nothing where nothing is to be done, and count against the account.
    """

    def add_text(self, name: str, text: str) -> None:
        """Have `text` (ASCII, 255 characters at most) be a TXT record at exactly `name`, beside those of others."""

    def remove_text(self, name: str, text: str) -> None:
        """Remove the TXT records at exactly `name` that are `text`, and no others."""


class ProviderType(Protocol):
    """The object of an entry point: a class of providers. `Options` are what an endpoint group may set.

    Secret fields of `Options` are `pydantic.SecretStr`.
    """

    name: str
    Options: type[BaseModel]

    def __call__(self, zone: str, options: BaseModel) -> Provider: ...
