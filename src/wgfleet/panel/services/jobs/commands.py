"""Jobs as administrators set them: of a peer, a tag or a config."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec

from wgfleet.panel import clock
from wgfleet.panel.domain.fields import check_list, check_range
from wgfleet.panel.domain.jobs.job import TOTALS, Job, JobAction, JobField, Operator, Period
from wgfleet.panel.domain.jobs.periods import checked_window, zone
from wgfleet.panel.domain.jobs.words import described
from wgfleet.panel.errors import Conflict, Invalid, NotFound
from wgfleet.panel.services import audit
from wgfleet.panel.store import Tx
from wgfleet.panel.store import jobs as job_rows
from wgfleet.panel.store.tables import Config, LimitJob, Peer, Tag
from wgfleet.protocol.quotes import quoted
from wgfleet.protocol.reasons import Reason

MAX_JOBS = 20  # of one owner
MAX_BYTES = 2**60
DAY_S = 86400
MAX_S = 100 * 365 * DAY_S  # after the first use
LAST_S = 253_402_300_799  # since the epoch: the end of the year 9999
MAX_NOTICE_S = 365 * DAY_S
MAX_DEVICES = 10


class Owner(NamedTuple):
    """Whose a job is: `kind` is `config`, `tag` or `peer`."""

    kind: str
    id: str
    name: str

    @property
    def column(self) -> str:
        """The column of rows that names it."""
        return f"{self.kind}_id"

    @property
    def origin(self) -> str:
        """It as `Job.origin` has it."""
        return f"tag {quoted(self.name)}" if self.kind == "tag" else self.kind


@dataclass(frozen=True, slots=True)
class JobSpec:
    """A job to be made; the fields are those of `domain.jobs.job`."""

    field: JobField
    operator: Operator = Operator.LARGER
    action: JobAction = JobAction.RESTRICT
    value: int | None = None
    period: Period | None = None
    from_first_use: bool = False
    time_zone: str = "UTC"
    windows: tuple[str, ...] = ()
    notice_s: int = 0


def owner_of(row: Config | Tag | Peer) -> Owner:
    """Return a config, a tag or a peer as an owner of jobs."""
    kind = "config" if isinstance(row, Config) else "tag" if isinstance(row, Tag) else "peer"
    return Owner(kind, row.id, row.name)


def add(tx: Tx, actor: str, owner: Owner, spec: JobSpec) -> LimitJob:
    """Make a job. It is looked at within seconds."""
    windows = check(spec)
    present = job_rows.of_owner(tx, owner.column, owner.id)
    if len(present) >= MAX_JOBS:
        raise Conflict(
            Reason(
                "{kind} {owner!r} has {max_jobs} jobs, and may have no more; delete one",
                kind=owner.kind,
                owner=owner.name,
                max_jobs=MAX_JOBS,
            )
        )
    job = _row(spec, windows, clock.now(), **{owner.column: owner.id})
    job_rows.add(tx, job)
    audit.record(tx, actor, "created", "job", job.id, **_details(owner, job))
    return job


def add_many(tx: Tx, jobs: Sequence[tuple[str, JobSpec]], now: float) -> None:
    """Make jobs of new peers, by their ids; the caller's entry in the audit log tells of them."""
    for peer_id, spec in jobs:
        job_rows.add(tx, _row(spec, check(spec), now, peer_id=peer_id), flush=False)


def replace(tx: Tx, actor: str, peers: Sequence[Peer], spec: JobSpec) -> dict[str, str]:
    """Give peers a job in the place of their own ones of that field; one that is there already stays.

    Returns why some cannot have it, by name.
    """
    windows, now = check(spec), clock.now()
    wanted = dataclasses.replace(spec, windows=tuple(windows))
    present = job_rows.of_peers(tx, [peer.id for peer in peers])
    refused: dict[str, str] = {}
    changed = []
    for peer in peers:
        mine = present.get(peer.id, [])
        same = [job for job in mine if job.field is spec.field]
        if len(same) == 1 and _spec(same[0]) == wanted:
            continue
        if len(mine) - len(same) >= MAX_JOBS:
            refused[peer.name] = Reason("it has {max_jobs} jobs, and may have no more", max_jobs=MAX_JOBS)
            continue
        changed.append((owner_of(peer), same))
    for owner, same in changed:
        for job in same:
            audit.record(tx, actor, "deleted", "job", job.id, **_details(owner, job))
    job_rows.delete_of_field(tx, [owner.id for owner, _ in changed], spec.field)
    for owner, _ in changed:
        job = _row(spec, windows, now, peer_id=owner.id)
        job_rows.add(tx, job, flush=False)
        audit.record(tx, actor, "created", "job", job.id, **_details(owner, job))
    return refused


def as_if(spec: JobSpec) -> Job:
    """Return a job of a peer that is not made, to decide by."""
    return value_of(_row(spec, check(spec), clock.now()), "peer")


def plain(spec: JobSpec) -> dict[str, Any]:
    """Return a job as JSON has it."""
    found: dict[str, Any] = msgspec.to_builtins(spec)
    return found


def of_plain(values: Mapping[str, Any]) -> JobSpec:
    """Return a job that `plain` wrote."""
    return msgspec.convert(values, JobSpec, strict=False)


def _spec(row: LimitJob) -> JobSpec:
    names = [each.name for each in dataclasses.fields(JobSpec)]
    return JobSpec(**{name: getattr(row, name) for name in names} | {"windows": tuple(row.windows)})


def _row(spec: JobSpec, windows: Sequence[str], now: float, **owner: str) -> LimitJob:
    return LimitJob(
        id=clock.new_id(),
        field=spec.field,
        operator=spec.operator,
        value=spec.value,
        action=spec.action,
        period=spec.period,
        from_first_use=spec.from_first_use,
        time_zone=spec.time_zone,
        windows=list(windows),
        notice_s=spec.notice_s,
        created_at=now,
        **owner,
    )


def listing(tx: Tx, owner: Owner) -> list[LimitJob]:
    """Return the jobs of an owner."""
    return job_rows.of_owner(tx, owner.column, owner.id)


def delete(tx: Tx, actor: str, owner: Owner, job_id: str) -> None:
    """Delete a job. What it restricted is let in again within seconds."""
    job = job_rows.find(tx, job_id)
    if job is None or getattr(job, owner.column) != owner.id:
        raise NotFound(
            Reason("{kind} {owner!r} has no job {job_id!r}", kind=owner.kind, owner=owner.name, job_id=job_id)
        )
    details = _details(owner, job)
    job_rows.delete_job(tx, job)
    audit.record(tx, actor, "deleted", "job", job_id, **details)


def value_of(row: LimitJob, origin: str) -> Job:
    """Return a row as the value that is decided upon."""
    return Job(
        id=row.id,
        field=row.field,
        operator=row.operator,
        action=row.action,
        value=row.value,
        period=row.period,
        from_first_use=row.from_first_use,
        time_zone=row.time_zone,
        windows=tuple(row.windows),
        notice_s=row.notice_s,
        created_at=row.created_at,
        origin=origin,
    )


def _details(owner: Owner, job: LimitJob) -> dict[str, str]:
    when = described(value_of(job, owner.origin))
    return {owner.kind: owner.name, "field": job.field, "does": job.action, "when": when}


def check(spec: JobSpec) -> list[str]:
    """Refuse what cannot be; return the windows in one spelling."""
    zone(spec.time_zone)
    check_list(spec.windows, "windows")
    if spec.action is JobAction.NONE:
        return []
    if spec.windows and spec.field is not JobField.SCHEDULE:
        raise Invalid(Reason("only field 'schedule' has windows"), field="windows")
    if spec.notice_s and spec.field is not JobField.DATE:
        raise Invalid(Reason("notice is given of a date only"), field="notice_s")
    if spec.action is JobAction.WARN and spec.field is not JobField.ENDPOINTS:
        raise Invalid(Reason("only of field 'endpoints' a warning is written; give another action"), field="action")
    if spec.notice_s > MAX_NOTICE_S:
        said = Reason("notice is given up to {days} days before", days=MAX_NOTICE_S // DAY_S)
        raise Invalid(said, field="notice_s")
    if spec.field in TOTALS:
        _check_total(spec)
    elif spec.field is JobField.DATE:
        _check_date(spec)
    elif spec.field is JobField.ENDPOINTS:
        _check_endpoints(spec)
    else:
        _check_schedule(spec)
    return [checked_window(text, f"windows[{i}]") for i, text in enumerate(spec.windows)]


def _check_total(spec: JobSpec) -> None:
    if spec.value is None:
        raise Invalid(Reason("give the number of bytes that {field} is compared with", field=spec.field), field="value")
    check_range(spec.value, 0, MAX_BYTES, "value", "bytes")
    if spec.action is JobAction.RESET and (spec.operator is not Operator.LARGER or not spec.value):
        raise Invalid(
            Reason("a reset follows on 'lgt' some bytes: on all else it would be reset again and again"),
            field="operator",
        )
    if spec.action is JobAction.DELETE and spec.operator is not Operator.LARGER:
        raise Invalid(
            Reason("would delete peers that used nothing yet; {action!r} takes 'lgt'", action=spec.action.value),
            field="operator",
        )
    if spec.from_first_use and spec.period is None:
        raise Invalid(Reason("what counts from the first use on begins again after a period; give one"), field="period")


def _check_date(spec: JobSpec) -> None:
    if spec.operator not in {Operator.LARGER, Operator.LESS}:
        raise Invalid(Reason("a date is passed ('lgt') or not yet ('lst')"), field="operator")
    if spec.period is not None and spec.action is not JobAction.RESET:
        raise Invalid(Reason("a date comes once; a period is for totals, and for resets"), field="period")
    if spec.value is None and spec.period is None:
        raise Invalid(Reason("give the date, or how many seconds after the first use it is"), field="value")
    if spec.value is not None:
        if spec.from_first_use and spec.value > MAX_S:
            said = Reason("must be up to {years} years after the first use", years=MAX_S // (365 * DAY_S))
            raise Invalid(said, field="value")
        check_range(spec.value, 0, LAST_S, "value", "s")
    if spec.operator is Operator.LESS and (spec.from_first_use or spec.action is not JobAction.RESTRICT):
        raise Invalid(Reason("before a date that is set, a peer can be restricted, and nothing else"), field="operator")


def _check_endpoints(spec: JobSpec) -> None:
    if spec.value is None:
        raise Invalid(Reason("give how many devices may use the file of a peer at once"), field="value")
    check_range(spec.value, 1, MAX_DEVICES, "value", "devices")
    if spec.period is not None:
        said = Reason("devices are counted at once, and not over a period; leave it out")
        raise Invalid(said, field="period")
    if spec.operator is not Operator.LARGER:
        raise Invalid(Reason("devices are counted at once, and are more than the value ('lgt')"), field="operator")
    if spec.action not in {JobAction.RESTRICT, JobAction.WARN}:
        raise Invalid(Reason("a peer whose file is shared can be restricted, or warned of"), field="action")


def _check_schedule(spec: JobSpec) -> None:
    if not spec.windows:
        raise Invalid(
            Reason("give the windows in which the peer is let in, such as 'mon-fri 08:00-18:00'"), field="windows"
        )
    if spec.action is not JobAction.RESTRICT:
        raise Invalid(Reason("outside of its windows a peer is restricted; there is no other action"), field="action")
    if spec.value is not None or spec.period is not None:
        raise Invalid(Reason("a schedule has windows, and neither value nor period"), field="value")
