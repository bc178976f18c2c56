"""The provider `lexicon`: the DNS services that dns-lexicon knows, for those that have no provider of their own here.

Records are made and deleted one by one, so a change can end halfway; the order is such that the name is never shorter
than it must be, and a record that stands is marked (as in `txt_marks`). What lexicon is like is for `lexicon_client`.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from wgfleet.panel.dns.providers import Account, Capabilities, Finding, Raced, lexicon_client, ownership_txt
from wgfleet.panel.dns.providers.lexicon_client import Entry, Service, Session
from wgfleet.panel.domain.dns.records import Changes, Record
from wgfleet.panel.errors import PermanentError, TransientError

MAX_TTL_S = 86400  # what the services of the long tail have in common, as far as anything is
_KINDS = ("A", "AAAA", "CNAME")
Key = tuple[str, str]  # type and content


class Options(BaseModel):
    """Which of lexicon's providers, and what it wants to know: `auth_token` and the like (`lexicon NAME --help`).

    `min_ttl`: the least TTL that the service takes, in s; lexicon does not know.
    """

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    provider: str
    settings: dict[str, SecretStr] = Field(default_factory=dict)
    min_ttl: int = Field(default=60, ge=1, le=MAX_TTL_S)

    @model_validator(mode="after")
    def _known(self) -> Self:
        known = lexicon_client.settings_of(self.provider)
        if unknown := sorted(set(self.settings) - known):
            raise ValueError(f"{self.provider} has no setting {unknown[0]}; it has {', '.join(sorted(known))}")
        return self


@dataclass(frozen=True, slots=True)
class _Look:
    """What is at a name: the records, the service's own words for each, and the marks with theirs."""

    records: dict[Key, Record]
    entries: dict[Key, Entry]
    marks: dict[str, Entry]


class Lexicon:
    """A zone at a service that dns-lexicon knows."""

    name: ClassVar[str] = "lexicon"
    Options: ClassVar[type[BaseModel]] = Options

    def __init__(self, zone: str, options: BaseModel) -> None:
        if not isinstance(options, Options):
            raise TypeError(f"options of lexicon, not {type(options).__name__}")
        self._zone = zone.rstrip(".").lower()
        self._min_ttl = options.min_ttl
        settings = {key: value.get_secret_value() for key, value in options.settings.items()}
        self._service = Service(options.provider, self._zone, settings)
        identity = json.dumps([options.provider, settings], sort_keys=True)
        self._account = Account(hashlib.sha256(identity.encode()).hexdigest()[:32])

    @property
    def capabilities(self) -> Capabilities:
        """Return what lexicon makes of any service: one record a call."""
        return Capabilities(
            min_ttl=self._min_ttl, max_ttl=MAX_TTL_S, automatic_ttl=False, atomic=False, batch=1, marks="txt"
        )

    @property
    def account(self) -> Account:
        """Return the account: a service and the settings; what limit it has is not known."""
        return self._account

    def read(self, name: str) -> tuple[Record, ...]:
        """List the records at the name and their marks."""
        self._check_name(name)
        found = self._service.call(lambda session: self._look(session, name))
        return tuple(sorted(found.records.values(), key=lambda record: (record.type, record.content)))

    def apply(self, name: str, changes: Changes) -> int:
        """Look, and make one record after the other: marks first, new records before old ones go."""
        if not changes:
            return 0
        self._check_name(name)
        return self._service.call(lambda session: self._apply(session, name, changes))

    def check(self, name: str) -> list[Finding]:
        """List what is at the name: credential and zone are right then. Whether we may write, only writing tells."""
        try:
            found = self.read(name)
        except (PermanentError, TransientError) as error:
            return [Finding("zone", ok=False, detail=str(error), certain=isinstance(error, PermanentError))]
        return [
            Finding(
                "zone", ok=True, detail=f"{self._service} lists {name} ({len(found)} records); writing is not tried"
            )
        ]

    def close(self) -> None:
        """Nothing is open between calls."""

    def _check_name(self, name: str) -> None:
        if name != self._zone and not name.endswith(f".{self._zone}"):
            raise PermanentError(f"{name} is not in zone {self._zone}")

    def _look(self, session: Session, name: str) -> _Look:
        marks = {entry.content: entry for entry in session.find(ownership_txt.marker_name(name), "TXT")}
        owners = ownership_txt.owners(marks)
        entries = {(kind, entry.content): entry for kind in _KINDS for entry in session.find(name, kind)}
        records = {key: Record(key[0], entry.content, entry.ttl, owners.get(key)) for key, entry in entries.items()}
        return _Look(records, entries, marks)

    def _apply(self, session: Session, name: str, changes: Changes) -> int:
        look = self._look(session, name)
        gone = [*changes.deletes, *(old for old, _ in changes.updates)]
        come = [*(new for _, new in changes.updates), *changes.creates]
        kept = _kept(name, look, gone, come)
        right = ownership_txt.replaced(look.marks, gone, come, kept)
        marker = ownership_txt.marker_name(name)
        for text in sorted(right - set(look.marks)):
            session.create(marker, "TXT", text, ownership_txt.TTL_S)
        coming = {(record.type, record.content): record for record in come}
        for key, record in coming.items():
            if key not in look.records:
                session.create(name, *key, record.ttl)
        for record in gone:
            key = (record.type, record.content)
            if key not in coming:
                session.delete(name, look.entries[key])
        self._set_ttls(session, name, look, [record for key, record in coming.items() if key in look.records])
        for text in sorted(set(look.marks) - right):
            session.delete(marker, look.marks[text])
        return session.calls

    def _set_ttls(self, session: Session, name: str, look: _Look, wanted: Iterable[Record]) -> None:
        """Change the TTL of records that stay. Where a service has one for all of a type, all are made anew.

        The name then has none of that type for as long as two calls take: lexicon has no other way to say it.
        """
        changing = [record for record in wanted if record.ttl != look.records[record.type, record.content].ttl]
        for record in changing:
            session.update(name, look.entries[record.type, record.content], record.ttl)
        for kind in {record.type for record in changing}:
            now = {entry.content: entry for entry in session.find(name, kind)}
            ours = [record for record in changing if record.type == kind]
            late = [record for record in ours if record.content not in now or now[record.content].ttl != record.ttl]
            if not late or {record.content for record in ours} != set(now):
                continue
            for record in ours:
                session.delete(name, now[record.content])
            for record in ours:
                session.create(name, kind, record.content, record.ttl)


def _kept(name: str, look: _Look, gone: list[Record], come: list[Record]) -> list[Record]:
    """Return what a change leaves as it is; raise `Raced` if the change is not about what is there."""
    kept = dict(look.records)
    for record in gone:
        there = kept.pop((record.type, record.content), None)
        if there is None or there.owner != record.owner:
            raise Raced(f"{name} has no {record.type} {record.content} of {record.owner or 'nobody'} any more")
    for record in come:
        if (record.type, record.content) in kept:
            raise Raced(f"{name} has {record.type} {record.content} by now")
        if any(kind == "CNAME" for kind, _ in kept):
            raise PermanentError(f"{name} is an alias (CNAME), beside which no address can be; remove it first")
    return list(kept.values())
