"""Provider `lexicon`: the many DNS services of dns-lexicon, for those without a provider of their own here.

Records are created and deleted one by one, so a change can end halfway. The order keeps the name as long as possible,
and every record marked (as in `ownership_txt`). How lexicon is called is in `lexicon_client`.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from wgfleet.panel.dns.providers import (
    TEXT_TTL_S,
    Account,
    Capabilities,
    Finding,
    OutsideZone,
    lexicon_client,
    ownership_txt,
)
from wgfleet.panel.dns.providers.lexicon_client import Entry, Service, Session
from wgfleet.panel.domain.dns.records import Changes, Record
from wgfleet.panel.errors import PermanentError, TransientError
from wgfleet.protocol.reasons import Reason, words_of

MAX_TTL_S = 86400  # lexicon does not know; most services accept this
_KINDS = ("A", "AAAA", "CNAME")
Key = tuple[str, str]  # type and content


class LexiconOptions(BaseModel):
    """One of lexicon's providers and its settings: `auth_token` and the like (`lexicon NAME --help`).

    `min_ttl`: the least TTL that the service accepts, in s; lexicon does not know.
    """

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    provider: str
    settings: dict[str, SecretStr] = Field(default_factory=dict)
    min_ttl: int = Field(default=60, ge=1, le=MAX_TTL_S)

    @model_validator(mode="after")
    def _known(self) -> Self:
        known = lexicon_client.settings_of(self.provider)
        if unknown := sorted(set(self.settings) - known):
            raise ValueError(
                Reason(
                    "{provider} has no setting {unknown}; it has {known}",
                    provider=self.provider,
                    unknown=unknown[0],
                    known=", ".join(sorted(known)),
                )
            )
        return self


@dataclass(frozen=True, slots=True)
class _Observed:
    """The records at a name and its marks, each with the entry that the service lists for it."""

    records: dict[Key, Record]
    entries: dict[Key, Entry]
    marks: dict[str, Entry]


class Lexicon:
    """A zone at a service that dns-lexicon knows."""

    name: ClassVar[str] = "lexicon"
    Options: ClassVar[type[BaseModel]] = LexiconOptions

    def __init__(self, zone: str, options: BaseModel) -> None:
        if not isinstance(options, LexiconOptions):
            raise TypeError(f"options of lexicon, not {type(options).__name__}")
        self._zone = zone.rstrip(".").lower()
        self._min_ttl = options.min_ttl
        settings = {key: value.get_secret_value() for key, value in options.settings.items()}
        self._service = Service(options.provider, self._zone, settings)
        identity = json.dumps([options.provider, settings], sort_keys=True)
        self._account = Account(hashlib.sha256(identity.encode()).hexdigest()[:32])

    @property
    def capabilities(self) -> Capabilities:
        """Return what lexicon can do with any service: one record a call."""
        return Capabilities(
            min_ttl=self._min_ttl,
            max_ttl=MAX_TTL_S,
            automatic_ttl=False,
            atomic=False,
            batch=1,
            marks="txt",
            texts=True,
        )

    @property
    def account(self) -> Account:
        """Return the account: a service and the settings; its limit is not known."""
        return self._account

    def read(self, name: str) -> tuple[Record, ...]:
        """List the records at the name and their marks."""
        self._check_name(name)
        found = self._service.call(lambda session: self._observe(session, name))
        return tuple(sorted(found.records.values(), key=lambda record: (record.type, record.content)))

    def apply(self, name: str, changes: Changes) -> int:
        """Make the changes one by one, after reading the name again: marks first, creates before deletes."""
        if not changes:
            return 0
        self._check_name(name)
        return self._service.call(lambda session: self._apply(session, name, changes))

    def check(self, name: str) -> list[Finding]:
        """List the records at the name, which proves credential and zone. The permission to write is not tested."""
        try:
            found = self.read(name)
        except (PermanentError, TransientError) as error:
            return [Finding("zone", ok=False, detail=words_of(error), certain=isinstance(error, PermanentError))]
        return [
            Finding(
                "zone",
                ok=True,
                detail=Reason(
                    "{service} lists {name} ({count} records); writing was not tested",
                    service=self._service,
                    name=name,
                    count=len(found),
                ),
            )
        ]

    def add_text(self, name: str, text: str) -> None:
        """Create a TXT record, unless the name has it."""
        self._check_name(name)

        def add(session: Session) -> None:
            if all(entry.content != text for entry in session.find(name, "TXT")):
                session.create(name, "TXT", text, max(TEXT_TTL_S, self._min_ttl))

        self._service.call(add)

    def remove_text(self, name: str, text: str) -> None:
        """Delete a TXT record, if the name has it."""
        self._check_name(name)

        def remove(session: Session) -> None:
            for entry in session.find(name, "TXT"):
                if entry.content == text:
                    session.delete(name, entry)

        self._service.call(remove)

    def close(self) -> None:
        """Nothing is open between calls."""

    def _check_name(self, name: str) -> None:
        if name != self._zone and not name.endswith(f".{self._zone}"):
            raise OutsideZone(Reason("{name} is not in zone {zone}", name=name, zone=self._zone))

    def _observe(self, session: Session, name: str) -> _Observed:
        marks = {entry.content: entry for entry in session.find(ownership_txt.marker_name(name), "TXT")}
        owners = ownership_txt.owners(marks)
        entries = {(kind, entry.content): entry for kind in _KINDS for entry in session.find(name, kind)}
        records = {key: Record(key[0], entry.content, entry.ttl, owners.get(key)) for key, entry in entries.items()}
        return _Observed(records, entries, marks)

    def _apply(self, session: Session, name: str, changes: Changes) -> int:
        observed = self._observe(session, name)
        removed = [*changes.deletes, *(old for old, _ in changes.updates)]
        added = [*(new for _, new in changes.updates), *changes.creates]
        kept = ownership_txt.left_alone(name, observed.records.values(), removed, added)
        right = ownership_txt.replaced(observed.marks, removed, added, kept)
        marker = ownership_txt.marker_name(name)
        for text in sorted(right - set(observed.marks)):
            session.create(marker, "TXT", text, ownership_txt.TTL_S)
        desired = {(record.type, record.content): record for record in added}
        for key, record in desired.items():
            if key not in observed.records:
                session.create(name, *key, record.ttl)
        for record in removed:
            key = (record.type, record.content)
            if key not in desired:
                session.delete(name, observed.entries[key])
        self._set_ttls(session, name, observed, [record for key, record in desired.items() if key in observed.records])
        for text in sorted(set(observed.marks) - right):
            session.delete(marker, observed.marks[text])
        return session.calls

    def _set_ttls(self, session: Session, name: str, observed: _Observed, records: Iterable[Record]) -> None:
        """Change the TTL of records that stay. If the service has one TTL for a type, recreate all records of it.

        The name then has none of that type for the time of two calls: lexicon offers no other way.
        """
        changing = [record for record in records if record.ttl != observed.records[record.type, record.content].ttl]
        for record in changing:
            session.update(name, observed.entries[record.type, record.content], record.ttl)
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
