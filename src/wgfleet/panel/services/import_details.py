"""Details of imported peers beside keys and settings: owner, date of expiry, limits, and counted bytes."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from wgfleet.imports.fleet import ImportedJob, ImportedPeer
from wgfleet.panel.domain.jobs.job import TOTALS, JobAction, JobField, Operator
from wgfleet.panel.errors import Invalid
from wgfleet.panel.services import usage
from wgfleet.panel.services.fleet.peer_details import MAX_NOTES
from wgfleet.panel.services.fleet.peers import PeerSpec
from wgfleet.panel.services.import_rules import ImportRules
from wgfleet.panel.services.jobs import commands, decisions, expectations
from wgfleet.panel.services.jobs.commands import MAX_JOBS, JobSpec
from wgfleet.panel.services.jobs.expectations import ExpectedPeer
from wgfleet.panel.store import Tx
from wgfleet.panel.store import users as user_rows
from wgfleet.panel.store.tables import User
from wgfleet.protocol.reasons import Reason

FIELDS = {JobField.DATE, *TOTALS}


@dataclass(frozen=True, slots=True)
class CarriedOver:
    """What a peer gets. `said`: what that is, in sentences; `missing`: what it does not get, and why.

    `rule_set`: the name of the set of destination rules that it is held to.

    `off`: it is switched off, as all devices of its owner are.
    """

    owner_id: str | None
    off: bool
    notes: str
    jobs: tuple[JobSpec, ...]
    received: int
    sent: int
    said: tuple[str, ...]
    missing: tuple[str, ...]
    rule_set: str | None = None


class ImportDetails:
    """Finds what each peer of an import into a config gets.

    `may_own`: whether the caller may make peers the devices of users.
    """

    def __init__(self, tx: Tx, config: str, *, may_own: bool) -> None:
        self._tx = tx
        self.rules = ImportRules(tx, config)
        self._may_own = may_own
        self._users: dict[str, User | None] = {}

    def of(self, peer: ImportedPeer) -> CarriedOver:
        """Return what a peer gets."""
        said: list[str] = []
        missing: list[str] = []
        owner_id, notes = self._owner(peer, said, missing)
        jobs = _jobs(peer, said, missing)
        received, sent = peer.received or 0, peer.sent or 0
        if received or sent:
            said.append(
                Reason(
                    "{total:,} bytes as opening balance ({received:,} received, {sent:,} sent)",
                    total=received + sent,
                    received=received,
                    sent=sent,
                )
            )
        owner = None if owner_id is None else self._user(_name(peer))
        off = owner is not None and owner.disabled
        if owner is not None and off and peer.enabled:
            missing.append(Reason("it is switched off, since its owner {name!r} is disabled", name=owner.name))
        rule_set = self.rules.of(peer, said, missing)
        return CarriedOver(owner_id, off, notes, jobs, received, sent, tuple(said), tuple(missing), rule_set)

    def _owner(self, peer: ImportedPeer, said: list[str], missing: list[str]) -> tuple[str | None, str]:
        if not (name := _name(peer)):
            return None, peer.notes
        user = self._user(name)
        if user is not None and self._may_own:
            said.append(Reason("it is a device of user {name!r}", name=name))
            return user.id, peer.notes
        line = f"owner: {name}"
        notes = f"{peer.notes}\n{line}" if peer.notes else line
        why = (
            Reason("is no user here")
            if user is None
            else Reason("is a user, whose devices take the scope 'secrets' to give")
        )
        if len(notes) > MAX_NOTES:
            missing.append(
                Reason("its owner {name!r} {why}, and its notes have no room for the name", name=name, why=why)
            )
            return None, peer.notes
        said.append(Reason("its owner {name!r} {why}: the name is added to its notes", name=name, why=why))
        return None, notes

    def _user(self, name: str) -> User | None:
        if name not in self._users:
            user = user_rows.find(self._tx, name)
            self._users[name] = None if user is None or user.name != name else user
        return self._users[name]


def _name(peer: ImportedPeer) -> str:
    """Return the owner that the source says, "" where it says none."""
    return " ".join((peer.owner or "").split())


def _jobs(peer: ImportedPeer, said: list[str], missing: list[str]) -> tuple[JobSpec, ...]:
    found: list[JobSpec] = []
    for job in (*peer.jobs, *_expiry(peer)):
        words = Reason(
            "{action} if {field} {operator} {value}",
            action=job.action,
            field=job.field,
            operator=job.operator,
            value=job.value,
        )
        try:
            spec = _spec(job)
            commands.check(spec)
        except (Invalid, ValueError) as error:
            missing.append(Reason("its limit ({words}) has no like here: {error}", words=words, error=error))
            continue
        if len(found) == MAX_JOBS:
            missing.append(Reason("its limit ({words}) would be one more than {most}", words=words, most=MAX_JOBS))
            continue
        found.append(spec)
        said.append(Reason("limit: {words}", words=words))
    return tuple(found)


def _expiry(peer: ImportedPeer) -> list[ImportedJob]:
    """Return the date of expiry as the limit that does the same."""
    if peer.expires_at is None:
        return []
    value = str(peer.expires_at)
    if math.isfinite(peer.expires_at) and 0 <= peer.expires_at < commands.LAST_S:
        value = datetime.fromtimestamp(int(peer.expires_at), UTC).isoformat()
    return [ImportedJob(field="date", operator="lgt", value=value, action="restrict")]


def _spec(job: ImportedJob) -> JobSpec:
    """Return a limit of ours, or raise `ValueError`."""
    if job.field not in FIELDS:
        raise ValueError(Reason("there is no field {field!r}", field=job.field))
    if job.operator not in set(Operator):
        raise ValueError(Reason("there is no operator {operator!r}", operator=job.operator))
    if job.action not in {JobAction.RESTRICT, JobAction.DELETE, JobAction.RESET}:
        raise ValueError(Reason("there is no action {action!r}", action=job.action))
    return JobSpec(JobField(job.field), Operator(job.operator), JobAction(job.action), _value(job))


def _value(job: ImportedJob) -> int:
    if job.field == JobField.DATE:
        try:
            at = datetime.fromisoformat(job.value)
        except ValueError:
            raise ValueError(Reason("its date is none of the calendar, such as 2027-01-31T18:00:00+00:00")) from None
        if at.tzinfo is None:
            raise ValueError(Reason("its date has no time zone"))
        return int(at.timestamp())
    if not (job.value.isascii() and job.value.isdigit()):
        raise ValueError(Reason("its value is no number of bytes"))
    return int(job.value)


def give(tx: Tx, config_id: str, given: Mapping[str, CarriedOver], now: float) -> None:
    """Give new peers, by id, limits and opening balances."""
    commands.add_many(tx, [(peer_id, spec) for peer_id, each in given.items() for spec in each.jobs], now)
    balances = {peer_id: (each.received, each.sent) for peer_id, each in given.items() if each.received or each.sent}
    usage.open_balances(tx, config_id, balances, now)


def effects(tx: Tx, config_id: str, specs: Sequence[PeerSpec], gets: Sequence[CarriedOver], now: float) -> list[str]:
    """Say what the limits of new peers, of their tags and of the config do at once, and to whom."""
    found = [
        ExpectedPeer(spec.name, () if spec.details is None else spec.details.tags, each.jobs, each.received, each.sent)
        for spec, each in zip(specs, gets, strict=True)
    ]
    return decisions.effects(expectations.decide(tx, config_id, found, now))


def counted(given: Sequence[CarriedOver]) -> dict[str, int]:
    """Return how many peers get what, for the audit log."""
    return {
        "owners": sum(each.owner_id is not None for each in given),
        "limits": sum(len(each.jobs) for each in given),
        "rule_sets": sum(each.rule_set is not None for each in given),
        "balances": sum(bool(each.received or each.sent) for each in given),
    }
