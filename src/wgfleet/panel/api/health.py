"""`/api/configs/{config}/health` and `/api/health/freeze`: the health of nodes, and what waits for a person."""

from datetime import datetime
from typing import Annotated

from fastapi import Query
from pydantic import Field

from wgfleet.panel.api import forecasts
from wgfleet.panel.api.assignments import FIRST_LOOK, FORWARDING, ForwardingView, OwedView, forwarding_view, owed_view
from wgfleet.panel.api.auth import Admin, Reader
from wgfleet.panel.api.forecasts import NO_FAILOVER, NoFailoverView
from wgfleet.panel.api.models import Body, Reference, Said, View, utc
from wgfleet.panel.api.panel import ThePanel
from wgfleet.panel.api.subject_router import subject_router
from wgfleet.panel.domain.first_look import FirstLook
from wgfleet.panel.domain.health.votes import Health
from wgfleet.panel.domain.phases import Phase
from wgfleet.panel.services import configs, freezes, health
from wgfleet.panel.services.fleet import assignments, node_agents, owed
from wgfleet.panel.services.moves import relay_control
from wgfleet.panel.store import Tx
from wgfleet.panel.store import nodes as node_rows
from wgfleet.panel.store.tables import HealthFreeze

router = subject_router("health")
MAX_HISTORY = 1000


class NodeHealth(View):
    """The current health of a node."""

    node_id: str
    node_name: str
    phase: Phase = Field(description="A node that is `joining` has not served yet; nobody judges its health.")
    health: Health
    since: datetime
    reason: Said
    summary: Said = Field(description="What the last reconcile cycle did, or why it could not.")
    first_look: FirstLook | None = FIRST_LOOK
    forwarding: ForwardingView | None = FORWARDING
    owed: OwedView | None = Field(description="Changes that have not reached the node; null: it has everything.")
    clock_warning: Said | None = Field(description="null: its clock is right enough for takeovers.")
    no_failover: NoFailoverView | None = NO_FAILOVER


class HealthChange(View):
    """A change of a node's health."""

    at: datetime
    node_id: str
    before: Health
    after: Health
    reason: Said


class RelayingNode(View):
    """A node that passes on the packets of clients whose sessions are on other nodes."""

    node_id: str
    node_name: str
    clients: int
    until: datetime = Field(description="When the last of these relays ends, by itself.")


class ConfigHealth(View):
    """The health of a config."""

    frozen: Said | None = Field(
        description="Why nodes that do not answer are left in use until an administrator approves it; null: none are."
    )
    paused_since: datetime | None = Field(description="Since when automation is paused; null: it is not.")
    paused_by: str | None
    nodes: list[NodeHealth]
    relays: list[RelayingNode] = Field(
        description="Nodes, also such that the config is not assigned to any more, whose end would cut clients off; "
        "`GET /api/relays` names them."
    )
    history: list[HealthChange] = Field(description="Newest first.")


class FrozenNode(View):
    """A node that does not answer and is left in use."""

    node_id: str
    node_name: str


class FreezeView(View):
    """Nodes that do not answer, and are left in use until they do or an administrator approves it."""

    id: str
    since: datetime
    reason: Said
    nodes: list[FrozenNode]
    approved_by: str | None
    approved_until: datetime | None = Field(
        description="Until then the approval counts; it is used up by the first node."
    )


class FreezeStatus(View):
    """`freeze` is null while nothing waits for an approval."""

    freeze: FreezeView | None


class FreezeApproval(Body):
    """Which freeze is meant: the list may have become another since it was shown."""

    id: str = Field(max_length=64)


def _freeze(tx: Tx, row: HealthFreeze) -> FreezeView:
    found = [node for node_id in row.nodes if (node := node_rows.find(tx, node_id)) is not None]
    return FreezeView(
        id=row.id,
        since=utc(row.since),
        reason=row.reason,
        nodes=[FrozenNode(node_id=node.id, node_name=node.name) for node in found],
        approved_by=row.approved_by,
        approved_until=utc(row.approved_until) if row.approved_until is not None else None,
    )


@router.get("/api/health/freeze", summary="Show which nodes wait for an approval to be taken out of use")
def show_freeze(panel: ThePanel, _caller: Reader) -> FreezeStatus:
    """More than half of all nodes fell silent at once, or only one site misses a node."""
    with panel.store.read() as tx:
        row = freezes.current(tx)
        return FreezeStatus(freeze=_freeze(tx, row) if row is not None else None)


@router.post("/api/health/freeze/approve", summary="Say that the nodes that do not answer are down")
def approve_freeze(panel: ThePanel, caller: Admin, body: FreezeApproval) -> FreezeView:
    """Once: those of the list that nobody reaches are taken out of use and replaced. It expires after five minutes."""
    with panel.store.write() as tx:
        return _freeze(tx, freezes.approve(tx, caller.actor, body.id))


class Automation(Body):
    """Whether the watch may act on a config."""

    paused: bool = Field(description="true: no node is taken out of use, whatever happens to it.")


class AutomationView(View):
    """Whether the watch may act on a config, and since when and by whom not."""

    paused: bool
    paused_since: datetime | None
    paused_by: str | None


@router.post("/api/configs/{config}/automation", summary="Pause or resume what is done without a person")
def set_automation(panel: ThePanel, caller: Admin, config: Reference, body: Automation) -> AutomationView:
    """Paused, no node of the config is taken out of use: no failover, no address moves, no name changes for it.

    What a person asks for (drain, removal, rebalance) is done, and nodes that recover are used again.
    """
    with panel.store.write() as tx:
        row = configs.get(tx, config)
        (freezes.pause if body.paused else freezes.resume)(tx, caller.actor, row)
        return AutomationView(
            paused=row.paused_since is not None,
            paused_since=utc(row.paused_since) if row.paused_since is not None else None,
            paused_by=row.paused_by,
        )


@router.get("/api/configs/{config}/health", summary="Show the health of a config's nodes")
def show_health(
    panel: ThePanel,
    _caller: Reader,
    config: Reference,
    history: Annotated[int, Query(ge=0, le=MAX_HISTORY, description="Number of changes to list.")] = 50,
) -> ConfigHealth:
    """Which nodes serve, since when and why, and the latest changes."""
    with panel.store.read() as tx:
        row, frozen = configs.get(tx, config), freezes.current(tx)
        missing = {found.assignment_id: found for found in owed.of_config(tx, row.id)}
        lacking = forecasts.of_config(tx, panel, row)
        return ConfigHealth(
            frozen=frozen.reason if frozen is not None else None,
            paused_since=utc(row.paused_since) if row.paused_since is not None else None,
            paused_by=row.paused_by,
            nodes=[
                NodeHealth(
                    node_id=assigned.node.id,
                    node_name=assigned.node.name,
                    phase=assigned.assignment.phase,
                    health=assigned.assignment.health,
                    since=utc(assigned.assignment.health_since),
                    reason=assigned.assignment.health_reason,
                    summary=assigned.assignment.summary,
                    first_look=assigned.assignment.first_look,
                    forwarding=forwarding_view(assigned.assignment),
                    owed=owed_view(missing.get(assigned.assignment.id)),
                    clock_warning=node_agents.clock_warning(assigned.node),
                    no_failover=lacking.get(assigned.node.id),
                )
                for assigned in assignments.listing(tx, row.id)
            ],
            relays=[
                RelayingNode(
                    node_id=found.node_id, node_name=found.node_name, clients=found.clients, until=utc(found.ends_at)
                )
                for found in relay_control.tallies(tx, row)
            ],
            history=[
                HealthChange(
                    at=utc(event.at), node_id=event.node_id, before=event.before, after=event.after, reason=event.reason
                )
                for event in health.history(tx, row.id, limit=history)
            ],
        )
