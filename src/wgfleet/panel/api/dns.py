"""`/api/dns`: published names: their state, plans and history, and the actions on them."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import Query
from pydantic import Field

from wgfleet.panel.api.audit import AfterEntry, AuditPage, Offset, audit_page
from wgfleet.panel.api.auth import Admin, Reader, Writer
from wgfleet.panel.api.models import MAX_PAGE, SOME_LINE, After, Body, Limit, Page, Reference, Said, View, page
from wgfleet.panel.api.panel import Panel, ThePanel
from wgfleet.panel.api.subject_router import subject_router
from wgfleet.panel.domain.dns.description import describe_plan, describe_records
from wgfleet.panel.domain.dns.listing import DnsMode
from wgfleet.panel.domain.dns.plan import ConflictKind, DnsPlan
from wgfleet.panel.domain.dns.states import ErrorClass, HeldReason, SyncState
from wgfleet.panel.domain.dns.target import Target
from wgfleet.panel.errors import Conflict, PermanentError, TransientError, Unavailable
from wgfleet.panel.hints import Hint, HintCode
from wgfleet.panel.services.dns import commands
from wgfleet.panel.store import Tx
from wgfleet.panel.store.tables import DnsSync
from wgfleet.protocol.reasons import Reason, words_of

router = subject_router("dns")


class RecordView(View):
    """A record at a name."""

    type: str = Field(examples=["A"])
    content: str = Field(examples=["192.0.2.1"])
    ttl: int = Field(description="In seconds; 1 means the provider's default.")
    owner: str | None = Field(description="The ownership mark found with it: this panel's, another panel's, or null.")
    proxied: bool = Field(description="Answered by the provider's proxies, which do not carry WireGuard.")


class ChangeView(View):
    """One change of a plan."""

    action: Literal["create", "update", "delete"]
    before: RecordView | None = Field(description="The record as it is; null for `create`.")
    after: RecordView | None = Field(description="The record as it will be; null for `delete`.")


class ConflictView(View):
    """A foreign record at the name."""

    kind: ConflictKind
    record: RecordView
    detail: Said = Field(description="What the record is, and what to do about it.")


class CountsView(View):
    """How many records a plan creates, updates, deletes and keeps."""

    create: int = 0
    update: int = 0
    delete: int = 0
    keep: int = 0


class PlanView(View):
    """The changes planned for a name. Empty lists mean that there are none."""

    wanted: list[str] = Field(default=[], description="The addresses that the name should list.")
    ttl: int | None = None
    mode: DnsMode | None = None
    note: Said | None = Field(default=None, description="A remark about the choice of addresses.")
    changes: list[ChangeView] = Field(default=[], description="In order: deletes, updates, creates.")
    conflicts: list[ConflictView] = Field(default=[], description="Foreign records at the name.")
    counts: CountsView = CountsView()
    differences: list[str] = Field(default=[], description="The changes in words, field by field.")
    drift: list[Said] = Field(default=[], description="Changes made by somebody else, found by the last check.")
    held: HeldReason | None = Field(default=None, description="Why the changes were not made.")


class DnsSyncView(View):
    """A published name and its state. Retries are automatic and survive a restart of the panel."""

    id: str
    config_id: str
    config: str | None = Field(description="The config's name; null if it was deleted.")
    provider: str
    zone: str
    name: str
    withdrawn: bool = Field(description="The name is no longer wanted; our records are being deleted.")
    state: SyncState
    reason: Said = Field(description="Why the desired records last changed.")
    requested_by: str
    attempts: int = Field(description="Number of consecutive failed attempts.")
    error: Said | None
    error_class: ErrorClass | None
    next_try_at: datetime | None = Field(
        description="Time of the next attempt; null: immediately, or never if cancelled."
    )
    published: list[str] = Field(description="Our addresses at the name, as last seen.")
    plan_id: str | None = Field(description="Id of the plan that is still to be carried out; null if there is none.")
    approved_plan_id: str | None
    plan: PlanView
    decided_at: datetime
    checked_at: datetime | None
    published_at: datetime | None = Field(description="When the desired records were first seen at the provider.")
    seconds: float | None = Field(description="Seconds from the decision until the records were seen; null until then.")


class ConfigDnsView(View):
    """The names of a config."""

    config_id: str
    config: str | None
    current: DnsSyncView | None = Field(
        description="The name that is published now; of an independent config that of its oldest node."
    )
    names: list[DnsSyncView] = Field(
        description="All names that are published now: of an independent config one for each node that serves."
    )
    withdrawals: list[DnsSyncView] = Field(description="Former names, whose records are being deleted.")


class PreviewView(PlanView):
    """The plan for a name as of now."""

    id: str = Field(description="Pass this to `approve` or `adopt`.")
    name: str
    provider: str
    zone: str
    existing: list[RecordView] = Field(description="The records at the name.")
    stopped: bool = Field(description="A conflict prevents all changes.")
    needs_approval: bool = Field(description="It deletes more records than the approval threshold allows.")


class FindingView(View):
    """The result of one check."""

    subject: str = Field(examples=["token"])
    ok: bool
    detail: Said
    certain: bool = Field(description="false: the provider could not be asked; try again.")


class FindingsView(View):
    """What a provider says about credential, zone and permissions."""

    ok: bool
    items: list[FindingView]


WHICH = "Which name, of an independent config whose nodes have several."


class PlanReference(Body):
    """A plan that was shown before."""

    plan_id: str = Field(max_length=64, description="`plan_id` of the name, or `id` of the plan.")
    name: str | None = Field(default=None, max_length=253, description=WHICH)


WhichName = Annotated[str | None, Query(max_length=253, pattern=SOME_LINE, description=WHICH)]


def views(tx: Tx, rows: list[DnsSync]) -> list[DnsSyncView]:
    """Show syncs."""
    names = commands.config_names(tx, {row.config_id for row in rows})
    return [_view(row, names.get(row.config_id)) for row in rows]


def _view(row: DnsSync, config: str | None) -> DnsSyncView:
    shown = row.published_at is not None and row.published_at >= row.decided_at
    seconds = round(row.published_at - row.decided_at, 3) if shown and row.published_at is not None else None
    values = {
        name: getattr(row, name) for name in DnsSyncView.model_fields if name not in {"config", "plan", "seconds"}
    }
    return DnsSyncView.model_validate({**values, "config": config, "plan": row.plan, "seconds": seconds})


def _of_config(tx: Tx, rows: list[DnsSync], config_id: str) -> ConfigDnsView:
    shown = views(tx, rows)
    name = commands.config_names(tx, {config_id}).get(config_id)
    return ConfigDnsView(
        config_id=config_id,
        config=name,
        current=next((view for view in shown if not view.withdrawn), None),
        names=[view for view in shown if not view.withdrawn],
        withdrawals=[view for view in shown if view.withdrawn],
    )


@router.get("/api/dns", summary="List published names")
def list_dns(
    panel: ThePanel,
    caller: Reader,
    *,
    state: Annotated[SyncState | None, Query(description="Only names in this state.")] = None,
    after: After = None,
    limit: Limit = 100,
) -> Page[DnsSyncView]:
    with panel.store.read() as tx:
        return page(
            commands.page(tx, state, after, limit + 1, caller.limit), limit, lambda shown: views(tx, list(shown))
        )


@router.get("/api/dns/{config}", summary="Show the names of a config")
def show_dns(panel: ThePanel, _caller: Reader, config: Reference) -> ConfigDnsView:
    """Find the names of a deleted config by its id, until they are withdrawn."""
    with panel.store.read() as tx:
        rows = commands.of_config(tx, config)
        return _of_config(tx, rows, rows[0].config_id)


@router.get("/api/dns/{config}/plan", summary="Plan the changes for a name")
def plan_dns(
    panel: ThePanel,
    _caller: Writer,
    config: Reference,
    *,
    adopt: Annotated[bool, Query(description="Plan as if foreign records were adopted.")] = False,
    name: WhichName = None,
) -> PreviewView:
    """Read the name from the provider and return what would change. Changes nothing.

    It costs the account a call, hence the scope `write`. The plan of the last sync is in the name itself.
    """
    target, note = _target(panel, config, name)
    return _preview(target, note, _previewed(panel, target, adopt=adopt))


@router.post("/api/dns/{config}/retry", summary="Retry the names of a config now")
def retry_dns(panel: ThePanel, caller: Writer, config: Reference) -> ConfigDnsView:
    """Also resumes cancelled names, and repairs drift that was only reported."""
    with panel.store.write() as tx:
        rows = commands.retry(tx, caller.actor, config)
        return _of_config(tx, rows, rows[0].config_id)


@router.post("/api/dns/{config}/cancel", summary="Leave the names of a config as they are")
def cancel_dns(panel: ThePanel, caller: Writer, config: Reference) -> ConfigDnsView:
    """Stop until `retry`, or until the endpoint group is saved. Records that were being withdrawn stay for good."""
    with panel.store.write() as tx:
        config_id = commands.of_config(tx, config)[0].config_id
        return _of_config(tx, commands.cancel(tx, caller.actor, config), config_id)


@router.post("/api/dns/{config}/approve", summary="Approve the plan that a name is waiting with")
def approve_dns(panel: ThePanel, caller: Admin, config: Reference, body: PlanReference) -> DnsSyncView:
    """Approves exactly this plan: if the name has changed since, there is a new plan to approve."""
    with panel.store.write() as tx:
        return views(tx, [commands.approve(tx, caller.actor, config, body.plan_id)])[0]


@router.post("/api/dns/{config}/adopt", summary="Adopt foreign records at a name")
def adopt_dns(panel: ThePanel, caller: Admin, config: Reference, body: PlanReference) -> DnsSyncView:
    """Desired addresses become ours, others are deleted. `plan_id` is the id of a `plan` with `adopt=true`."""
    target, _ = _target(panel, config, body.name)
    found = _previewed(panel, target, adopt=True, urgent=True)
    if found.id != body.plan_id:
        raise Conflict(
            Reason("adopting would now be plan {found}, not plan {asked}", found=found.id, asked=body.plan_id),
            Hint(HintCode.PLAN_ADOPTION, config=config),
            field="plan_id",
        )
    with panel.store.write() as tx:
        return views(tx, [commands.adopt(tx, caller.actor, config, found, target.mark, body.name)])[0]


@router.post("/api/dns/{config}/check", summary="Check credential, zone and permissions")
def check_dns(panel: ThePanel, _caller: Writer, config: Reference, name: WhichName = None) -> FindingsView:
    """Asks the provider and changes nothing there. Checks that could not be made have `certain: false`."""
    target, _ = _target(panel, config, name)
    with _asking():
        found = panel.publisher.check(target.provider, target.zone, target.name, target.options)
    items = [FindingView(subject=f.subject, ok=f.ok, detail=f.detail, certain=f.certain) for f in found]
    return FindingsView(ok=all(item.ok for item in items), items=items)


@router.get("/api/dns/{config}/history", summary="Read the history of a config's names, newest first")
def list_dns_history(
    panel: ThePanel,
    _caller: Reader,
    config: Reference,
    *,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE, description="Maximum number of entries.")] = 50,
    after: AfterEntry = None,
    offset: Offset = 0,
) -> AuditPage:
    """Return the audit entries `dns_updated`, `dns_failing`, `dns_recovered`, `dns_conflict`, `dns_drifted`, ..."""
    with panel.store.read() as tx:
        rows, total = commands.history(tx, config, limit + 1, offset, after)
    return audit_page(rows, total, limit)


def _target(panel: Panel, config: str, name: str | None) -> tuple[Target, str | None]:
    with panel.store.read() as tx:
        return commands.current_target(tx, panel.vault, config, panel.settings.dns, name)


def _previewed(panel: Panel, target: Target, *, adopt: bool, urgent: bool = False) -> DnsPlan:
    with _asking():
        return panel.publisher.preview(target, adopt=adopt, urgent=urgent)


def _preview(target: Target, note: str | None, plan: DnsPlan) -> PreviewView:
    described: dict[str, Any] = describe_plan(plan)
    return PreviewView.model_validate(
        {
            **described,
            "id": plan.id,
            "name": target.name,
            "provider": target.provider,
            "zone": target.zone,
            "wanted": sorted({record.content for record in target.desired}),
            "ttl": target.desired[0].ttl if target.desired else None,
            "mode": target.mode,
            "note": note,
            "existing": describe_records(plan.observed),
            "stopped": plan.stopped,
            "needs_approval": target.needs_approval(plan),
        }
    )


@contextmanager
def _asking() -> Iterator[None]:
    """Turn a provider's failure into an answer of the API."""
    try:
        yield
    except TransientError as error:
        raise Unavailable(words_of(error), retry_after_s=error.retry_after_s) from error
    except PermanentError as error:
        raise Conflict(Reason("the provider refuses: {error}", error=error)) from error
