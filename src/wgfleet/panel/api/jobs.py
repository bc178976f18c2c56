"""`.../jobs` of peers, tags and configs: limits, and what of them a peer has used up."""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated

from fastapi import status
from pydantic import Discriminator, Field, Tag

from wgfleet.panel import clock
from wgfleet.panel.api.auth import Reader, Writer
from wgfleet.panel.api.models import Body, Identifier, LocalMoment, Reference, Said, View, utc
from wgfleet.panel.api.panel import Panel, ThePanel
from wgfleet.panel.api.previews import EffectsView, rehearsal
from wgfleet.panel.api.subject_router import subject_router
from wgfleet.panel.api.tags import TagReference
from wgfleet.panel.domain.jobs.job import TOTALS, Job, JobAction, JobField, Operator, Period
from wgfleet.panel.domain.jobs.periods import zone
from wgfleet.panel.domain.jobs.verdicts import counted_since, due_at, used_by
from wgfleet.panel.errors import Invalid
from wgfleet.panel.services import configs
from wgfleet.panel.services.fleet import peers, tags
from wgfleet.panel.services.jobs import commands, decisions, limits_of_peers
from wgfleet.panel.services.jobs.commands import MAX_BYTES, JobSpec, Owner
from wgfleet.panel.services.jobs.decisions import LimitDecision
from wgfleet.panel.store import Tx
from wgfleet.panel.store.tables import LimitJob
from wgfleet.protocol.reasons import Reason

router = subject_router("jobs")
VALUE = (
    "Of totals, bytes. Of a date, the moment (where it names no time zone, or is a day, by that of the job), or, as a "
    "number, how many seconds after the first use of a peer it is. "
    "Of endpoints, how many devices may use the file at once. Of a schedule nothing."
)
TimeZone = Annotated[str, Field(max_length=64, description="Name in the database of IANA.", examples=["Europe/Berlin"])]


def _kind_of_value(value: object) -> str:
    """Say what a value is meant to be, so that a wrong number is not refused, or taken, as a moment."""
    return "Moment" if isinstance(value, str | datetime) else "Number"


JobValue = Annotated[
    Annotated[int, Field(ge=0, le=MAX_BYTES), Tag("Number")]
    | Annotated[LocalMoment, Field(strict=False), Tag("Moment")],
    Discriminator(_kind_of_value),
]


class NewJob(Body):
    """The job to create."""

    field: JobField = Field(strict=False, description="What is looked at; totals are of all nodes.")
    operator: Operator = Field(strict=False, default=Operator.LARGER, description="Larger, less, equal, or not equal.")
    value: JobValue | None = Field(default=None, description=VALUE)
    action: JobAction = Field(
        strict=False,
        default=JobAction.RESTRICT,
        description="`restrict` keeps the peer out as long as the comparison holds. `none` keeps jobs of tags or the "
        "config that look at the same field away from it.",
    )
    period: Period | None = Field(
        strict=False, default=None, description="Counting begins again each day, week or month; null: never."
    )
    from_first_use: bool = Field(
        default=False, description="Periods begin with the first use of a peer, and not with the calendar."
    )
    time_zone: TimeZone = "UTC"
    windows: list[Annotated[str, Field(max_length=64)]] = Field(
        default=[],
        max_length=32,
        description="Of a schedule: when the peer is let in.",
        examples=[["mon-fri 08:00-18:00"]],
    )
    notice_s: Annotated[int, Field(ge=0, lt=2**31)] = Field(
        default=0, description="How long before its date the audit log tells of it, in seconds."
    )


class JobView(View):
    """A job."""

    id: str
    field: JobField
    operator: Operator
    value: int | datetime | None = Field(description=VALUE)
    action: JobAction
    period: Period | None
    from_first_use: bool
    time_zone: str
    windows: list[str]
    notice_s: int
    created_at: datetime


class JobsView(View):
    """The jobs of a peer, a tag or a config; there are 20 at most."""

    items: list[JobView]


class JobInEffectView(JobView):
    """A job that counts for a peer, and how far it is."""

    origin: str = Field(description="Whose it is: `peer`, `config`, or a tag.", examples=["tag 'office'"])
    used: int | None = Field(description="Bytes of totals that it counts now; null: it counts none.")
    since: datetime | None = Field(description="Since when it counts; null: since the peer was made, or reset.")
    due_at: datetime | None = Field(description="Its date; null: it has none, or none yet.")


class PeerLimitsView(View):
    """The limits of a peer: of each field, those of the nearest of the peer, its tags by name, and its config."""

    jobs: list[JobInEffectView]
    left: int | None = Field(description="Bytes, in both directions, that it may still use; null: without end.")
    restricted_at: datetime | None = Field(description="Since when jobs keep it out; null: they do not.")
    restricted_because: Said | None
    devices: int | None = Field(description="How many used its file at once, when more than one last did; null: never.")
    shared_at: datetime | None = Field(description="When that was.")
    reset_at: datetime | None = Field(description="When its usage was last reset, for limits.")


def spec_of(body: NewJob) -> JobSpec:
    """Return a job as it was asked for."""
    value, from_first_use = body.value, body.from_first_use
    if isinstance(value, datetime):
        if body.field is not JobField.DATE:
            raise Invalid(
                Reason("{field} is compared with a number, not with a moment", field=body.field), field="value"
            )
        local = value if value.tzinfo is not None else value.replace(tzinfo=zone(body.time_zone))
        value, from_first_use = int(local.timestamp()), False
    elif body.field is JobField.DATE and value is not None:
        from_first_use = True
    return JobSpec(
        field=body.field,
        operator=body.operator,
        action=body.action,
        value=value,
        period=body.period,
        from_first_use=from_first_use,
        time_zone=body.time_zone,
        windows=tuple(body.windows),
        notice_s=body.notice_s,
    )


def _shown(job: Job) -> dict[str, object]:
    is_moment = job.field is JobField.DATE and job.value is not None and not job.from_first_use
    return {
        "id": job.id,
        "field": job.field,
        "operator": job.operator,
        "value": utc(job.value) if is_moment else job.value,
        "action": job.action,
        "period": job.period,
        "from_first_use": job.from_first_use,
        "time_zone": job.time_zone,
        "windows": list(job.windows),
        "notice_s": job.notice_s,
        "created_at": utc(job.created_at),
    }


def _view(row: LimitJob) -> JobView:
    return JobView.model_validate(_shown(commands.value_of(row, "peer")))


def limits_view(found: LimitDecision) -> PeerLimitsView:
    """Show the limits of a peer."""
    now, first_at = clock.now(), found.facts.first_at
    jobs = [
        {
            **_shown(job),
            "origin": job.origin,
            "used": used_by(job, found.facts, now) if job.field in TOTALS else None,
            "since": utc(counted_since(job, first_at, now)) if job.field in TOTALS else None,
            "due_at": utc(due_at(job, first_at, now)) if job.field is JobField.DATE else None,
        }
        for job in found.jobs
    ]
    return PeerLimitsView(
        jobs=[JobInEffectView.model_validate(each) for each in jobs],
        left=found.verdict.left,
        restricted_at=utc(found.peer.restricted_at),
        restricted_because=found.peer.restricted_because,
        devices=found.peer.devices,
        shared_at=utc(found.peer.shared_at),
        reset_at=utc(found.peer.reset_at),
    )


OwnerOf = Callable[[Tx], Owner]


def _list(panel: Panel, owner: OwnerOf) -> JobsView:
    with panel.store.read() as tx:
        return JobsView(items=[_view(row) for row in commands.listing(tx, owner(tx))])


def _add(panel: Panel, actor: str, owner: OwnerOf, body: NewJob) -> JobView:
    with panel.store.write() as tx:
        return _view(commands.add(tx, actor, owner(tx), spec_of(body)))


def _preview(panel: Panel, actor: str, owner: OwnerOf, body: NewJob) -> EffectsView:
    with rehearsal(panel) as tx:
        job = commands.add(tx, actor, owner(tx), spec_of(body))
        found = decisions.decide(tx, clock.now())
        mine = [each for each in found if job.id in {counted.id for counted in each.jobs}]
        return EffectsView(effects=decisions.effects(mine))


def _delete(panel: Panel, actor: str, owner: OwnerOf, job_id: str) -> None:
    with panel.store.write() as tx:
        commands.delete(tx, actor, owner(tx), job_id)


def _peer(peer_id: str) -> OwnerOf:
    return lambda tx: commands.owner_of(peers.get(tx, peer_id))


def _tag(tag: str) -> OwnerOf:
    return lambda tx: commands.owner_of(tags.get(tx, tag))


def _config(config: str) -> OwnerOf:
    return lambda tx: commands.owner_of(configs.get(tx, config))


@router.get("/api/peers/{peer_id}/jobs", summary="List the jobs of a peer")
def list_peer_jobs(panel: ThePanel, _caller: Reader, peer_id: Identifier) -> JobsView:
    return _list(panel, _peer(peer_id))


@router.post("/api/peers/{peer_id}/jobs", status_code=status.HTTP_201_CREATED, summary="Give a peer a job")
def create_peer_job(panel: ThePanel, caller: Writer, peer_id: Identifier, body: NewJob) -> JobView:
    """Have it count in place of what tags or the config say of the same field; it is looked at within seconds."""
    return _add(panel, caller.actor, _peer(peer_id), body)


@router.post("/api/peers/{peer_id}/jobs/preview", summary="Show whom a job of a peer would hit at once")
def preview_peer_job(panel: ThePanel, caller: Writer, peer_id: Identifier, body: NewJob) -> EffectsView:
    return _preview(panel, caller.actor, _peer(peer_id), body)


@router.delete(
    "/api/peers/{peer_id}/jobs/{job_id}", status_code=status.HTTP_204_NO_CONTENT, summary="Delete a job of a peer"
)
def delete_peer_job(panel: ThePanel, caller: Writer, peer_id: Identifier, job_id: Identifier) -> None:
    """Let a peer that it restricted in again, within seconds."""
    _delete(panel, caller.actor, _peer(peer_id), job_id)


@router.get("/api/tags/{tag}/jobs", summary="List the jobs of a tag")
def list_tag_jobs(panel: ThePanel, _caller: Reader, tag: TagReference) -> JobsView:
    return _list(panel, _tag(tag))


@router.post("/api/tags/{tag}/jobs", status_code=status.HTTP_201_CREATED, summary="Give a tag a job")
def create_tag_job(panel: ThePanel, caller: Writer, tag: TagReference, body: NewJob) -> JobView:
    """Have it count for each peer of the tag by itself, in place of what the config says of the same field."""
    return _add(panel, caller.actor, _tag(tag), body)


@router.post("/api/tags/{tag}/jobs/preview", summary="Show whom a job of a tag would hit at once")
def preview_tag_job(panel: ThePanel, caller: Writer, tag: TagReference, body: NewJob) -> EffectsView:
    return _preview(panel, caller.actor, _tag(tag), body)


@router.delete("/api/tags/{tag}/jobs/{job_id}", status_code=status.HTTP_204_NO_CONTENT, summary="Delete a job of a tag")
def delete_tag_job(panel: ThePanel, caller: Writer, tag: TagReference, job_id: Identifier) -> None:
    """Peers that it restricted are let in again within seconds."""
    _delete(panel, caller.actor, _tag(tag), job_id)


@router.get("/api/configs/{config}/jobs", summary="List the jobs of a config")
def list_config_jobs(panel: ThePanel, _caller: Reader, config: Reference) -> JobsView:
    return _list(panel, _config(config))


@router.post("/api/configs/{config}/jobs", status_code=status.HTTP_201_CREATED, summary="Give a config a job")
def create_config_job(panel: ThePanel, caller: Writer, config: Reference, body: NewJob) -> JobView:
    """Have it count for each peer of the config by itself."""
    return _add(panel, caller.actor, _config(config), body)


@router.post("/api/configs/{config}/jobs/preview", summary="Show whom a job of a config would hit at once")
def preview_config_job(panel: ThePanel, caller: Writer, config: Reference, body: NewJob) -> EffectsView:
    return _preview(panel, caller.actor, _config(config), body)


@router.delete(
    "/api/configs/{config}/jobs/{job_id}", status_code=status.HTTP_204_NO_CONTENT, summary="Delete a job of a config"
)
def delete_config_job(panel: ThePanel, caller: Writer, config: Reference, job_id: Identifier) -> None:
    """Peers that it restricted are let in again within seconds."""
    _delete(panel, caller.actor, _config(config), job_id)


@router.get("/api/peers/{peer_id}/limits", summary="Show the limits of a peer, and what it used of them")
def show_limits(panel: ThePanel, _caller: Reader, peer_id: Identifier) -> PeerLimitsView:
    with panel.store.read() as tx:
        return limits_view(limits_of_peers.of_peer(tx, peers.get(tx, peer_id)))


@router.post("/api/peers/{peer_id}/usage-reset", summary="Have a peer's limits count from now on")
def reset_usage(panel: ThePanel, caller: Writer, peer_id: Identifier) -> PeerLimitsView:
    """Keep what it used known; a peer that was restricted for it is let in at once."""
    with panel.store.write() as tx:
        return limits_view(limits_of_peers.reset(tx, caller.actor, peers.get(tx, peer_id)))
