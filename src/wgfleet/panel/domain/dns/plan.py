"""Plans: the changes that give a name its desired records, to be shown before they are made.

Pure. A record is ours if it has our mark. Foreign ones are left alone unless an administrator adopts them.
"""

import dataclasses
import hashlib
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from wgfleet.panel.domain.dns.listing import DnsMode
from wgfleet.panel.domain.dns.records import ADDRESS_TYPES, Changes, Record
from wgfleet.protocol.reasons import Reason

_ID_DIGITS = 16


class ConflictKind(StrEnum):
    """Why a foreign record is a conflict."""

    ALIAS = "alias"  # a CNAME: a name that has one has no other records (RFC 1034, section 3.6.2)
    PROXIED = "proxied"  # the provider then proxies the whole name, which blocks WireGuard
    TAKEN = "taken"  # the same as one that is desired
    FOREIGN = "foreign"


@dataclass(frozen=True, slots=True)
class RecordConflict:
    """A foreign record at the name. `detail` says what to do about it."""

    kind: ConflictKind
    record: Record
    detail: str


@dataclass(frozen=True, slots=True)
class Approval:
    """The threshold of approval: the share and the number of our records that may be deleted without anybody asking."""

    share: float
    records: int


@dataclass(frozen=True, slots=True)
class DnsPlan:
    """What a sync would do at a name. `stopped`: a conflict forbids all of it. `kept`: how many of our records stay."""

    name: str
    observed: tuple[Record, ...]
    changes: Changes
    conflicts: tuple[RecordConflict, ...] = ()
    stopped: bool = False
    kept: int = 0
    adopts: bool = False

    @property
    def id(self) -> str:
        """Return a digest of what the plan starts from and what it does, so that nobody approves another one unseen."""
        parts = [self.name, self.adopts, sorted(map(_key, self.observed)), _changes_key(self.changes)]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:_ID_DIGITS]

    @property
    def counts(self) -> dict[str, int]:
        """Count the changes by kind."""
        changes = self.changes
        return {
            "create": len(changes.creates),
            "update": len(changes.updates),
            "delete": len(changes.deletes),
            "keep": self.kept,
        }

    def ours(self, mark: str) -> tuple[str, ...]:
        """Return the addresses at the name that are ours."""
        return tuple(sorted({record.content for record in self.observed if is_ours(record, mark)}))


def is_ours(record: Record, mark: str) -> bool:
    """Tell whether a record is ours."""
    return record.owner == mark and record.type in ADDRESS_TYPES


def address_records(addresses: Collection[str], ttl: int, mark: str) -> tuple[Record, ...]:
    """Return the A and AAAA records of addresses, sorted."""
    return tuple(
        Record("AAAA" if ":" in address else "A", address, ttl, owner=mark) for address in sorted(set(addresses))
    )


def plan(
    name: str,
    observed: Sequence[Record],
    desired: Collection[Record],
    mark: str,
    *,
    mode: DnsMode = DnsMode.SYNC,
    withdrawn: bool = False,
    adopt: bool = False,
) -> DnsPlan:
    """Compare the observed records of a name with the desired ones; if none are desired, nothing changes.

    `withdrawn`: all our records are deleted, except desired ones: those are published through another zone.
    `adopt`: foreign addresses become ours, and are deleted if they are not desired; in a mode that deletes nothing,
    those stay foreign.
    """
    observed = tuple(observed)
    targets = {(record.type, record.content): record for record in desired}
    if withdrawn:
        gone = (r for r in observed if is_ours(r, mark) and (r.type, r.content) not in targets)
        return DnsPlan(name, observed, Changes(deletes=tuple(sorted(gone, key=_key))))
    adopted = {
        (r.type, r.content)
        for r in observed
        if adopt and r.type in ADDRESS_TYPES and (mode is not DnsMode.UPSERT_ONLY or (r.type, r.content) in targets)
    }
    mine = [r for r in observed if is_ours(r, mark) or (r.type, r.content) in adopted]
    foreign = [r for r in observed if r not in mine]
    conflicts = tuple(_conflict(r, targets) for r in sorted(foreign, key=_key))
    stopping = {ConflictKind.ALIAS, ConflictKind.PROXIED}
    # The first owner keeps the name: an address of ours beside theirs would get half of their visitors.
    stopped = any(c.kind in stopping for c in conflicts) or (bool(foreign) and not mine)
    if stopped or not targets:
        return DnsPlan(name, observed, Changes(), conflicts, stopped=stopped, kept=len(mine), adopts=adopt)
    changes, kept = _changes(mine, foreign, targets, mark)
    if mode is DnsMode.UPSERT_ONLY:
        kept += len(changes.deletes)
        changes = dataclasses.replace(changes, deletes=())
    return DnsPlan(name, observed, changes, conflicts, kept=kept, adopts=adopt)


def _changes(
    mine: Sequence[Record], foreign: Sequence[Record], targets: dict[tuple[str, str], Record], mark: str
) -> tuple[Changes, int]:
    taken = {(record.type, record.content) for record in foreign}
    deletes, updates, found = [], [], set()
    # Ours before adopted ones, so that ours stays if two are equal.
    for record in sorted(mine, key=lambda r: (r.owner != mark, _key(r), r.handle or "")):
        key = (record.type, record.content)
        target = targets.get(key)
        if target is None or key in found:
            deletes.append(record)
            continue
        found.add(key)
        right = dataclasses.replace(target, handle=record.handle)
        if record != right:
            updates.append((record, right))
    creates = [target for key, target in sorted(targets.items()) if key not in found and key not in taken]
    changes = Changes(tuple(deletes), tuple(updates), tuple(creates))
    return changes, len(found) - len(updates)


def needs_approval(plan: DnsPlan, mark: str, expected: Collection[str], limit: Approval) -> bool:
    """Tell whether a plan deletes more than the threshold. `expected`: addresses that operators removed."""
    ours = sum(is_ours(record, mark) for record in plan.observed)
    unasked = sum(is_ours(record, mark) and record.content not in expected for record in plan.changes.deletes)
    return unasked >= limit.records and unasked > limit.share * ours


def without_deletes(plan: DnsPlan) -> DnsPlan:
    """Return a plan without its deletes: the part that can do no harm."""
    return dataclasses.replace(plan, changes=dataclasses.replace(plan.changes, deletes=()))


def differences(plan: DnsPlan) -> tuple[str, ...]:
    """Describe, field by field, what the plan would change."""

    def record(it: Record) -> str:
        return f"{it.type} {it.content}"

    found: list[str] = [Reason("{record}: wanted, not there", record=record(each)) for each in plan.changes.creates]
    found += [Reason("{record}: there, not wanted", record=record(each)) for each in plan.changes.deletes]
    for old, new in plan.changes.updates:
        found += [
            Reason(
                "{record}: {field} wanted {wanted}, found {found}",
                record=record(old),
                field=field,
                wanted=new_value,
                found=old_value,
            )
            for field, new_value, old_value in (
                ("ttl", new.ttl, old.ttl),
                ("proxied", new.proxied, old.proxied),
                ("owner", new.owner, old.owner),
            )
            if new_value != old_value
        ]
    return tuple(found)


def _conflict(record: Record, targets: dict[tuple[str, str], Record]) -> RecordConflict:
    whose = Reason("of {owner}", owner=record.owner) if record.owner else Reason("of somebody else")
    what = f"{record.type} {record.content}"
    if record.type not in ADDRESS_TYPES:
        detail = Reason(
            "{what} {whose}: an alias can have no records beside it; delete it there, or choose another name",
            what=what,
            whose=whose,
        )
        return RecordConflict(ConflictKind.ALIAS, record, detail)
    if record.proxied:
        detail = Reason(
            "{what} {whose} is proxied, which blocks WireGuard at the whole name; "
            "unproxy or delete it there, adopt it, or choose another name",
            what=what,
            whose=whose,
        )
        return RecordConflict(ConflictKind.PROXIED, record, detail)
    taken = (record.type, record.content) in targets
    detail = (
        Reason("{what} {whose} is already at the name; adopt it, or choose another name", what=what, whose=whose)
        if taken
        else Reason("{what} {whose} is also at the name; adopt it, or choose another name", what=what, whose=whose)
    )
    return RecordConflict(ConflictKind.TAKEN if taken else ConflictKind.FOREIGN, record, detail)


def _key(record: Record) -> list[Any]:
    """Return what a record says, without the provider's handle."""
    return [record.type, record.content, record.ttl, record.owner or "", record.proxied]


def _changes_key(changes: Changes) -> list[Any]:
    return [
        sorted(map(_key, changes.deletes)),
        sorted([_key(old), _key(new)] for old, new in changes.updates),
        sorted(map(_key, changes.creates)),
    ]
