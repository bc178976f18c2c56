"""`/api/configs/{config}/nodes`: which nodes serve a config; assigning and removing them."""

import asyncio
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query, Response, status
from fastapi.concurrency import run_in_threadpool
from pydantic import Field

from wgfleet.panel import clock
from wgfleet.panel.api import forecasts
from wgfleet.panel.api.auth import Reader, Writer
from wgfleet.panel.api.forecasts import NO_FAILOVER, NoFailoverView
from wgfleet.panel.api.models import (
    MAX_PAGE,
    After,
    Body,
    Limit,
    LongLimit,
    NameAfter,
    Page,
    Reference,
    View,
    cut_after,
    utc,
)
from wgfleet.panel.api.operations import OperationView
from wgfleet.panel.api.operations import view as operation_view
from wgfleet.panel.api.panel import Panel, ThePanel
from wgfleet.panel.domain import forwarding
from wgfleet.panel.domain.first_look import FirstLook
from wgfleet.panel.domain.health.votes import Health
from wgfleet.panel.domain.phases import Phase
from wgfleet.panel.services import configs, operations
from wgfleet.panel.services.access import limits
from wgfleet.panel.services.access.callers import NODES
from wgfleet.panel.services.fleet import assignments, nodes, owed
from wgfleet.panel.services.fleet.assignments import NodeAssignment as Assigned
from wgfleet.panel.services.fleet.owed import Owed
from wgfleet.panel.services.moves import removal
from wgfleet.panel.store.tables import Assignment, Config
from wgfleet.protocol.messages import ForwardingState
from wgfleet.protocol.relay import MAX_RELAY_S

router = APIRouter(tags=["assignments"])
MAX_WAIT_S = 600
MAX_WINDOW_S = 86400
RelayFor = Annotated[
    float,
    Query(
        ge=0,
        le=MAX_RELAY_S,
        description="For how many seconds the node passes on the packets of clients that nobody else can call (those "
        "behind NAT, without a floating address); their sessions then live on other nodes. 0: it does not.",
    ),
]
POLL_S = 0.1  # a removal takes seconds; a read of one row costs less than a millisecond


class NewAssignment(Body):
    """The node to assign."""

    node_id: str = Field(description="Id or name of the node.", min_length=1, max_length=64, examples=["fra1"])


class OwedView(View):
    """Changes that have not reached a node."""

    generations: int = Field(description="How many generations the node is behind.")
    peers: int = Field(description="Number of peers that it lacks, or has as they were.")
    revocations: list[str] = Field(
        description=(
            "Names of peers that were deleted, disabled or got new keys, or whose config was disabled, and that the "
            "node may still let in."
        )
    )
    since: datetime
    late: bool = Field(description="true: changes do not reach this node; false: they are on their way.")
    reason: str = Field(description="What became of the last attempt.")


class Revocation(View):
    """A peer that was deleted, disabled (or its config was) or got new keys, and the nodes that may still let it in."""

    name: str
    nodes: list[str] = Field(description="Names of the nodes that have not applied it.")
    since: datetime
    reasons: list[str]


FIRST_LOOK = Field(
    description=(
        "`answered`: its WireGuard answered the panel or another node before users were sent there. `unreached`: "
        "others are reached and it is not, so it is not published and gets no peers; `summary` says what to open. "
        "`unproven`: nobody could tell, so it serves by its agent's word. null: nobody has looked yet."
    )
)


class ForwardingView(View):
    """What an agent found out by a packet of a user's address. Nodes at which it failed are chosen last."""

    state: ForwardingState = Field(
        description="`ok`: it came back. `failed`: it did not, and the node is why. `not_proven`: nobody could tell."
    )
    reason: str = Field(description="Who answered, or what is wrong and what to type on the node.")


FORWARDING = Field(
    description="Whether users' packets get to the uplink and back: what the agent found out by sending one; null: "
    "not tried yet, or an agent of an earlier release."
)


class AssignmentView(View):
    """A config on a node."""

    id: str
    config_id: str
    config_name: str
    node_id: str
    node_name: str
    phase: Phase
    health: Health = Field(description="Clients use the node in the first three, unless it is joining yet.")
    health_since: datetime
    health_reason: str
    peers: int = Field(description="Number of peers whose home is this node.")
    generation: int = Field(description="The generation that the node should have.")
    applied_generation: int = Field(description="The generation that its agent last confirmed; 0: none yet.")
    applied_at: datetime | None
    connected: bool = Field(description="Whether the panel is connected to the node's agent.")
    summary: str = Field(description="What the last reconcile cycle did, or why it could not.")
    drift: list[str] = Field(
        description="Fields in which the node differs from the desired state; `forwarding`: why users' packets do "
        "not get through it, and what to type there."
    )
    forwarding: ForwardingView | None = FORWARDING
    owed: OwedView | None = Field(description="What has not reached the node; null: it has everything.")
    first_look: FirstLook | None = FIRST_LOOK
    no_failover: NoFailoverView | None = NO_FAILOVER
    public_key: str | None = Field(description="The server key in the files of this node's clients.")
    created_at: datetime


class DriftView(View):
    """An assignment whose node differs from the desired state."""

    config_id: str
    config_name: str
    node_id: str
    node_name: str
    drift: list[str]


def owed_view(found: Owed | None) -> OwedView | None:
    """Show what has not reached a node."""
    if found is None:
        return None
    return OwedView(
        generations=found.generations,
        peers=found.peers,
        revocations=list(found.revocations),
        since=utc(found.since),
        late=found.late,
        reason=found.reason,
    )


def forwarding_view(row: Assignment) -> ForwardingView | None:
    """Show whether users' packets get through."""
    found = forwarding.overall(row.forwarding)
    return None if found is None else ForwardingView(state=found.state, reason=found.why)


def _view(
    config: Config, assigned: Assigned, missing: Owed | None = None, no_failover: NoFailoverView | None = None
) -> AssignmentView:
    row, node = assigned.assignment, assigned.node
    return AssignmentView(
        id=row.id,
        config_id=config.id,
        config_name=config.name,
        node_id=node.id,
        node_name=node.name,
        phase=row.phase,
        health=row.health,
        health_since=utc(row.health_since),
        health_reason=row.health_reason,
        peers=assigned.homes,
        generation=config.generation,
        applied_generation=row.applied_generation,
        applied_at=utc(row.applied_at),
        connected=node.connected,
        summary=row.summary,
        drift=row.drift,
        forwarding=forwarding_view(row),
        owed=owed_view(missing),
        first_look=row.first_look,
        no_failover=no_failover,
        public_key=row.public_key or config.public_key,
        created_at=utc(row.created_at),
    )


@router.get("/api/configs/{config}/nodes", summary="List the nodes of a config")
def list_assignments(
    panel: ThePanel, _caller: Reader, config: Reference, *, after: After = None, limit: LongLimit = MAX_PAGE
) -> Page[AssignmentView]:
    with panel.store.read() as tx:
        row = configs.get(tx, config)
        missing = {found.assignment_id: found for found in owed.of_config(tx, row.id)}
        listed, following = cut_after(
            assignments.listing(tx, row.id), lambda assigned: assigned.assignment.id, after, limit
        )
        lacking = forecasts.of_config(tx, panel, row)
        return Page(
            items=[
                _view(row, assigned, missing.get(assigned.assignment.id), lacking.get(assigned.node.id))
                for assigned in listed
            ],
            next=following,
        )


@router.get("/api/configs/{config}/revocations", summary="List revocations that have not reached every node")
def list_revocations(
    panel: ThePanel, _caller: Reader, config: Reference, *, after: NameAfter = None, limit: LongLimit = MAX_PAGE
) -> Page[Revocation]:
    """Ask after you deleted or disabled a peer: an empty list means that no node lets in anybody that it should not.

    A node that was removed from the config and has yet to delete its interface counts too.
    """
    with panel.store.read() as tx:
        row = configs.get(tx, config)
        found: dict[str, list[Owed]] = {}
        for missing in owed.of_config(tx, row.id):
            for name in missing.revocations:
                found.setdefault(name, []).append(missing)
        shown, following = cut_after(found.items(), lambda item: item[0], after, limit)
        return Page(
            items=[
                Revocation(
                    name=name,
                    nodes=[missing.node.name for missing in where],
                    since=utc(min(missing.since for missing in where)),
                    reasons=[f"{missing.node.name}: {missing.reason}" for missing in where],
                )
                for name, where in shown
            ],
            next=following,
        )


@router.post("/api/configs/{config}/nodes", status_code=status.HTTP_201_CREATED, summary="Assign a node")
def assign_node(panel: ThePanel, caller: Writer, config: Reference, body: NewAssignment) -> AssignmentView:
    """Assign the node. It starts to serve the config once its agent has confirmed the whole state.

    The first time, the node gets the config's private keys, which needs the scope `nodes`.
    """
    with panel.store.write() as tx:
        row = configs.get(tx, config)
        limits.check(tx, caller.limit, "node", body.node_id, "node_id")
        node = nodes.named(tx, body.node_id, "node_id")
        if not assignments.entrusted(tx, row, node):
            caller.need(NODES, f"giving the keys of config {row.name!r} to node {node.name!r}, which never had them,")
        made = assignments.assign(tx, panel.vault, caller.actor, row, node)
        return _view(row, Assigned(made, node, 0), None, forecasts.of_config(tx, panel, row).get(node.id))


@router.delete(
    "/api/configs/{config}/nodes/{node_id}",
    status_code=status.HTTP_202_ACCEPTED,
    summary="Remove a node",
    responses={200: {"model": OperationView, "description": "The removal has finished (only with `wait`)."}},
)
async def remove_node(
    panel: ThePanel,
    caller: Writer,
    config: Reference,
    node_id: Reference,
    response: Response,
    *,
    force: Annotated[
        bool,
        Query(
            description="Remove it even if fewer than `min_nodes` or too little capacity would be left, or live "
            "clients would be cut off (`GET .../departure` names them)."
        ),
    ] = False,
    wait: Annotated[
        float, Query(ge=0, le=MAX_WAIT_S, description="Wait up to this many seconds for it to finish.")
    ] = 0,
    drain_window_s: Annotated[
        float | None,
        Query(
            ge=0,
            le=MAX_WINDOW_S,
            description="Seconds to wait for sessions that could not be moved; default: TTL + drain.grace_s.",
        ),
    ] = None,
    relay_s: RelayFor = 0.0,
) -> OperationView:
    """Move its peers and their live sessions to the other nodes. Repeating the call returns the same operation.

    Without `force` it ends as `failed`, and the node goes on serving, where live clients answered no other node.
    """

    def begin() -> OperationView:
        with panel.store.write() as tx:
            row, node = configs.get(tx, config), nodes.get(tx, node_id)
            grace_s = panel.settings.drain.grace_s
            started = removal.start(
                tx,
                caller.actor,
                row,
                node,
                grace_s=grace_s,
                force=force,
                drain_window_s=drain_window_s,
                relay_s=relay_s,
            )
            return operation_view(started)

    shown = await run_in_threadpool(begin)
    deadline = clock.monotonic() + wait
    while wait and shown.finished_at is None and clock.monotonic() < deadline:
        await asyncio.sleep(POLL_S)
        shown = await run_in_threadpool(_show, panel, shown.id)
    if shown.finished_at is not None:
        response.status_code = status.HTTP_200_OK
    response.headers["Location"] = f"/api/operations/{shown.id}"
    return shown


def _show(panel: Panel, operation_id: str) -> OperationView:
    with panel.store.read() as tx:
        return operation_view(operations.get(tx, operation_id))


@router.get("/api/drift", summary="List assignments with drift")
def list_drift(panel: ThePanel, caller: Reader, *, after: After = None, limit: Limit = 100) -> Page[DriftView]:
    """Every assignment whose node differs from the desired state, as its agent last reported."""
    with panel.store.read() as tx:
        found = assignments.drifted(tx, after, limit + 1, caller.limit)
        items = [
            DriftView(
                config_id=config.id, config_name=config.name, node_id=node.id, node_name=node.name, drift=row.drift
            )
            for row, config, node in found[:limit]
        ]
        return Page(items=items, next=found[limit - 1][0].id if len(found) > limit else None)
