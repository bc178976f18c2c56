"""`/api/configs/{config}/nodes`: which nodes serve a config; assigning and removing them."""

from datetime import datetime
from typing import Annotated

from fastapi import Query, status
from pydantic import Field

import wgfleet
from wgfleet.panel.api import forecasts
from wgfleet.panel.api.auth import Reader, Writer
from wgfleet.panel.api.forecasts import NO_FAILOVER, NoFailoverView
from wgfleet.panel.api.models import (
    MAX_PAGE,
    UNCHANGED,
    After,
    Body,
    Limit,
    LongLimit,
    NameAfter,
    Page,
    PatchBody,
    Port,
    Reference,
    Said,
    View,
    cut_after,
    utc,
)
from wgfleet.panel.api.panel import ThePanel
from wgfleet.panel.api.subject_router import subject_router
from wgfleet.panel.domain import forwarding
from wgfleet.panel.domain.first_look import FirstLook
from wgfleet.panel.domain.health.votes import Health
from wgfleet.panel.domain.phases import Phase
from wgfleet.panel.services import configs
from wgfleet.panel.services.access import limits
from wgfleet.panel.services.access.callers import NODES, Caller
from wgfleet.panel.services.fleet import assignments, nodes, owed, public_ports
from wgfleet.panel.services.fleet.assignments import NodeAssignment as Assigned
from wgfleet.panel.services.fleet.owed import Owed
from wgfleet.panel.store import Tx
from wgfleet.panel.store.tables import Assignment, Config, Node
from wgfleet.protocol.messages import ForwardingState
from wgfleet.protocol.quotes import quoted
from wgfleet.protocol.releases import compared

router = subject_router("assignments")
PUBLIC_PORT = (
    "UDP port at which clients and other nodes reach the node, where a router in front of it has another than the "
    "config says; null: that of the config. A cluster's name lists only nodes whose port is that of the files."
)
PUBLIC_BACKBONE_PORT = (
    "UDP port at which the other nodes reach this one's end of the backbone, where a router in front of it has another "
    "than the config says; null: that of the config. Used at once."
)
Unproven = Annotated[bool, Query(description="Use a new public port at once, whether the node answers there or not.")]


class NewAssignment(Body):
    """The node to assign."""

    node_id: str = Field(description="Id or name of the node.", min_length=1, max_length=64, examples=["fra1"])
    public_port: Port | None = Field(default=None, description=PUBLIC_PORT)
    public_backbone_port: Port | None = Field(default=None, description=PUBLIC_BACKBONE_PORT)


class ChangedAssignment(PatchBody):
    """The fields to change; a field that is left out keeps its value."""

    public_port: Port | None = Field(default=UNCHANGED, description=PUBLIC_PORT)
    public_backbone_port: Port | None = Field(default=UNCHANGED, description=PUBLIC_BACKBONE_PORT)


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
    reason: Said = Field(description="What became of the last attempt.")


class Revocation(View):
    """A peer that was deleted, disabled (or its config was) or got new keys, and the nodes that may still let it in."""

    name: str
    nodes: list[str] = Field(description="Names of the nodes that have not applied it.")
    since: datetime
    reasons: list[Said]


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
    reason: Said = Field(description="Who answered, or what is wrong and what to type on the node.")


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
    health_reason: Said
    peers: int = Field(description="Number of peers whose home is this node.")
    generation: int = Field(description="The generation that the node should have.")
    applied_generation: int = Field(description="The generation that its agent last confirmed; 0: none yet.")
    applied_at: datetime | None
    connected: bool = Field(description="Whether the panel is connected to the node's agent.")
    summary: Said = Field(description="What the last reconcile cycle did, or why it could not.")
    drift: list[Said] = Field(
        description="Fields in which the node differs from the desired state; `forwarding`: why users' packets do "
        "not get through it, and what to type there."
    )
    forwarding: ForwardingView | None = FORWARDING
    forwarding_unknown: Said | None = Field(description="Why `forwarding` is null; null: it is not.")
    owed: OwedView | None = Field(description="What has not reached the node; null: it has everything.")
    first_look: FirstLook | None = FIRST_LOOK
    public_port: int | None = Field(description="null: that of the config.")
    next_public_port: int | None = Field(
        description="Asked for, and used once the node answers the panel there; 0: none, but that of the config."
    )
    public_backbone_port: int | None = Field(description="null: that of the config.")
    public_port_warning: Said | None = Field(description="Why the config's name does not list the node; null: it may.")
    no_failover: NoFailoverView | None = NO_FAILOVER
    public_key: str | None = Field(description="The server key in the files of this node's clients.")
    created_at: datetime


class DriftView(View):
    """An assignment whose node differs from the desired state."""

    config_id: str
    config_name: str
    node_id: str
    node_name: str
    drift: list[Said]


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
        forwarding_unknown=forwarding.unknown(
            row.forwarding,
            row.phase,
            connected=node.connected,
            release=compared(node.agent_version, wgfleet.__version__),
        ),
        owed=owed_view(missing),
        first_look=row.first_look,
        public_port=row.public_port,
        next_public_port=row.next_public_port,
        public_backbone_port=row.public_backbone_port,
        public_port_warning=assigned.unpublished,
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
            caller.need(
                NODES,
                f"giving the keys of config {quoted(row.name)} to node {quoted(node.name)}, which never had them,",
            )
        made = assignments.assign(tx, panel.vault, caller.actor, row, node, body.public_port, body.public_backbone_port)
        shown = Assigned(made, node, 0, assignments.unpublished(tx, row, made))
        return _view(row, shown, None, forecasts.of_config(tx, panel, row).get(node.id))


@router.patch("/api/configs/{config}/nodes/{node_id}", summary="Change how a node serves a config")
def update_assignment(
    panel: ThePanel,
    caller: Writer,
    config: Reference,
    node_id: Reference,
    body: ChangedAssignment,
    *,
    force: Unproven = False,
) -> AssignmentView:
    """Keep the new public port of a node that serves in `next_public_port` until it answers there.

    Then, or with `force`, it is in files created from then on, and probes go there.
    """
    with panel.store.write() as tx:
        row, node = configs.get(tx, config), nodes.get(tx, node_id)
        change(tx, caller, row, node, body, force=force)
        (shown,) = [each for each in assignments.listing(tx, row.id) if each.node.id == node.id]
        missing = {found.assignment_id: found for found in owed.of_config(tx, row.id)}
        return _view(row, shown, missing.get(shown.assignment.id), forecasts.of_config(tx, panel, row).get(node.id))


def change(tx: Tx, caller: Caller, config: Config, node: Node, body: ChangedAssignment, *, force: bool) -> Assignment:
    """Change an assignment as a caller asked for."""
    values = body.given()
    assignment = assignments.get(tx, config, node)
    if "public_port" in values:
        assignment = public_ports.change(tx, caller.actor, config, node, values["public_port"], force=force)
    if "public_backbone_port" in values:
        assignment = public_ports.change_backbone(tx, caller.actor, config, node, values["public_backbone_port"])
    return assignment


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
