"""A zone in memory with a provider for it that keeps the contract, and misbehaves as it is told."""

import dataclasses
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from pydantic import BaseModel, ConfigDict, SecretStr

from wgfleet.panel.dns.providers import Account, Capabilities, Finding
from wgfleet.panel.domain.dns.records import Changes, Record
from wgfleet.panel.errors import PermanentError

Trouble = Callable[[], object]


@dataclass
class Zone:
    """`before` and `after`: what happens around the next calls of `read` and `apply`; an exception is raised there."""

    records: dict[str, set[Record]] = field(default_factory=dict)
    calls: Counter[str] = field(default_factory=Counter)
    before: dict[str, Trouble] = field(default_factory=dict)
    after: dict[str, Trouble] = field(default_factory=dict)
    history: list[tuple[float, frozenset[str]]] = field(default_factory=list)
    limit: Account = field(default_factory=lambda: Account("an account"))
    atomic: bool = True
    lock: threading.Lock = field(default_factory=threading.Lock)

    def at(self, name: str) -> set[str]:
        """Return the addresses at a name."""
        return {record.content for record in self.records.get(name, set())}

    def put(self, name: str, *records: Record) -> None:
        """Put records there by hand, in place of all others."""
        self.records[name] = set(records)

    def read(self, name: str) -> tuple[Record, ...]:
        self.calls["read"] += 1
        self.before.get("read", lambda: None)()
        with self.lock:
            return tuple(sorted(self.records.get(name, set()), key=repr))

    def apply(self, name: str, changes: Changes) -> int:
        self.calls["apply"] += 1
        self.before.get("apply", lambda: None)()
        with self.lock:
            found = set(self.records.get(name, set()))
            for gone in (*changes.deletes, *(old for old, _ in changes.updates)):
                if gone not in found:
                    raise PermanentError(f"there is no {gone.type} {gone.content} at {name}")
                found.remove(gone)
            for new in (*(new for _, new in changes.updates), *changes.creates):
                if any((new.type, new.content) == (old.type, old.content) for old in found):
                    raise PermanentError(f"{new.type} {new.content} exists already")
                found.add(dataclasses.replace(new, handle=f"{new.type} {new.content}"))
            self.records[name] = found
            self.history.append((time.monotonic(), frozenset(record.content for record in found)))
        self.after.get("apply", lambda: None)()
        return 1


class ScriptedOptions(BaseModel):
    model_config = ConfigDict(extra="forbid")
    token: SecretStr | None = None
    server: str = "here"


@dataclass
class Scripted:
    """The provider type of a zone."""

    one: Zone
    name: str = "scripted"
    Options: type[BaseModel] = ScriptedOptions

    def __call__(self, zone: str, options: BaseModel) -> "ScriptedProvider":
        del zone, options
        return ScriptedProvider(self.one)


@dataclass
class ScriptedProvider:
    zone: Zone

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            min_ttl=30, max_ttl=86400, automatic_ttl=False, atomic=self.zone.atomic, batch=100, marks="comment"
        )

    @property
    def account(self) -> Account:
        return self.zone.limit

    def read(self, name: str) -> tuple[Record, ...]:
        return self.zone.read(name)

    def apply(self, name: str, changes: Changes) -> int:
        return self.zone.apply(name, changes)

    def check(self, name: str) -> list[Finding]:
        return [Finding("zone", ok=name.endswith("example.com"), detail=f"{name} is looked for in example.com")]

    def close(self) -> None:
        pass
