"""What turns the records at a name into those that are wanted: a plan that can be shown before it is carried out.

Pure. A record is ours when it has our mark; no other is changed or deleted, unless an administrator adopts it.
"""

import dataclasses
import hashlib
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from wgfleet.panel.domain.dns.listing import Mode
from wgfleet.panel.domain.dns.records import ADDRESS_TYPES, Changes, Record

_ID_DIGITS = 16


class ConflictKind(StrEnum):
    """Why somebody else's record is in the way."""

    ALIAS = "alias"  # a CNAME, beside which nothing may stand (RFC 1034, section 3.6.2)
    PROXIED = "proxied"  # the provider then proxies the whole name, and WireGuard is cut off
    TAKEN = "taken"  # says what we want to say
    FOREIGN = "foreign"


@dataclass(frozen=True, slots=True)
class Conflict:
    """A record at the name that is not ours. `detail` says what to do about it."""

    kind: ConflictKind
    record: Record
    detail: str


@dataclass(frozen=True, slots=True)
class Approval:
    """From which share of our records, and from how many on, a deletion that nobody asked for needs to be approved."""

    share: float
    records: int


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done at a name. `stopped`: a conflict forbids all of it. `kept`: how many stay as they are."""

    name: str
    existing: tuple[Record, ...]
    changes: Changes
    conflicts: tuple[Conflict, ...] = ()
    stopped: bool = False
    kept: int = 0
    adopts: bool = False

    @property
    def id(self) -> str:
        """Name the plan by what it starts from and what it does, so that nobody approves another one unseen."""
        parts = [self.name, self.adopts, sorted(map(_said, self.existing)), _said_all(self.changes)]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:_ID_DIGITS]

    @property
    def counts(self) -> dict[str, int]:
        """Count what is done."""
        changes = self.changes
        return {
            "create": len(changes.creates),
            "update": len(changes.updates),
            "delete": len(changes.deletes),
            "keep": self.kept,
        }

    def ours(self, mark: str) -> tuple[str, ...]:
        """Return the addresses at the name that are ours."""
        return tuple(sorted({record.content for record in self.existing if is_ours(record, mark)}))


def is_ours(record: Record, mark: str) -> bool:
    """Tell whether a record is ours to change."""
    return record.owner == mark and record.type in ADDRESS_TYPES


def address_records(addresses: Collection[str], ttl: int, mark: str) -> tuple[Record, ...]:
    """Return the records for addresses, A and AAAA, in order."""
    return tuple(
        Record("AAAA" if ":" in address else "A", address, ttl, owner=mark) for address in sorted(set(addresses))
    )


def plan(
    name: str,
    existing: Sequence[Record],
    wanted: Collection[Record],
    mark: str,
    *,
    mode: Mode = Mode.SYNC,
    withdrawn: bool = False,
    adopt: bool = False,
) -> Plan:
    """Compare the records at a name with those that are wanted; none wanted changes nothing.

    `withdrawn`: all that is ours goes, but for what is wanted, which somebody else publishes at the name.
    `adopt`: addresses that are not ours become ours, and go where they are not wanted; where nothing may go, those stay
    somebody else's.
    """
    existing = tuple(existing)
    targets = {(record.type, record.content): record for record in wanted}
    if withdrawn:
        gone = (r for r in existing if is_ours(r, mark) and (r.type, r.content) not in targets)
        return Plan(name, existing, Changes(deletes=tuple(sorted(gone, key=_said))))
    adopted = {
        (r.type, r.content)
        for r in existing
        if adopt and r.type in ADDRESS_TYPES and (mode is not Mode.UPSERT_ONLY or (r.type, r.content) in targets)
    }
    mine = [r for r in existing if is_ours(r, mark) or (r.type, r.content) in adopted]
    foreign = [r for r in existing if r not in mine]
    conflicts = tuple(_conflict(r, targets) for r in sorted(foreign, key=_said))
    stopping = {ConflictKind.ALIAS, ConflictKind.PROXIED}
    # Whoever was there first keeps the name: an address of ours beside theirs would take half of their visitors.
    stopped = any(c.kind in stopping for c in conflicts) or (bool(foreign) and not mine)
    if stopped or not targets:
        return Plan(name, existing, Changes(), conflicts, stopped=stopped, kept=len(mine), adopts=adopt)
    changes, kept = _changes(mine, foreign, targets, mark)
    if mode is Mode.UPSERT_ONLY:
        kept += len(changes.deletes)
        changes = dataclasses.replace(changes, deletes=())
    return Plan(name, existing, changes, conflicts, kept=kept, adopts=adopt)


def _changes(
    mine: Sequence[Record], foreign: Sequence[Record], targets: dict[tuple[str, str], Record], mark: str
) -> tuple[Changes, int]:
    taken = {(record.type, record.content) for record in foreign}
    deletes, updates, found = [], [], set()
    # Ours before adopted ones, so that of two equal records ours stays.
    for record in sorted(mine, key=lambda r: (r.owner != mark, _said(r), r.handle or "")):
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


def needs_approval(plan: Plan, mark: str, expected: Collection[str], limit: Approval) -> bool:
    """Tell whether a plan deletes more of our records than may go unseen. `expected`: addresses that people removed."""
    ours = sum(is_ours(record, mark) for record in plan.existing)
    unasked = sum(is_ours(record, mark) and record.content not in expected for record in plan.changes.deletes)
    return unasked >= limit.records and unasked > limit.share * ours


def without_deletes(plan: Plan) -> Plan:
    """Return the part of a plan that can do no harm."""
    return dataclasses.replace(plan, changes=dataclasses.replace(plan.changes, deletes=()))


def differences(plan: Plan) -> tuple[str, ...]:
    """Say field by field what the plan would mend."""
    found = [f"{r.type} {r.content}: wanted, not there" for r in plan.changes.creates]
    found += [f"{r.type} {r.content}: there, not wanted" for r in plan.changes.deletes]
    for old, new in plan.changes.updates:
        found += [
            f"{old.type} {old.content}: {field} wanted {wanted}, found {there}"
            for field, wanted, there in (
                ("ttl", new.ttl, old.ttl),
                ("proxied", new.proxied, old.proxied),
                ("owner", new.owner, old.owner),
            )
            if wanted != there
        ]
    return tuple(found)


def _conflict(record: Record, targets: dict[tuple[str, str], Record]) -> Conflict:
    whose = f"of {record.owner}" if record.owner else "of somebody else"
    said = f"{record.type} {record.content}"
    if record.type not in ADDRESS_TYPES:
        detail = f"{said} {whose}: nothing may stand beside an alias; delete it there, or choose another name"
        return Conflict(ConflictKind.ALIAS, record, detail)
    if record.proxied:
        detail = (
            f"{said} {whose} is proxied, which cuts WireGuard off at the whole name; "
            "unproxy or delete it there, adopt it, or choose another name"
        )
        return Conflict(ConflictKind.PROXIED, record, detail)
    taken = (record.type, record.content) in targets
    detail = f"{said} {whose} is at the name {'already' if taken else 'too'}; adopt it, or choose another name"
    return Conflict(ConflictKind.TAKEN if taken else ConflictKind.FOREIGN, record, detail)


def _said(record: Record) -> list[Any]:
    """Return what a record says, without the provider's handle."""
    return [record.type, record.content, record.ttl, record.owner or "", record.proxied]


def _said_all(changes: Changes) -> list[Any]:
    return [
        sorted(map(_said, changes.deletes)),
        sorted([_said(old), _said(new)] for old, new in changes.updates),
        sorted(map(_said, changes.creates)),
    ]
