"""`/api/nodes`: servers that run the agent."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, cast

from fastapi import Query, Response, status
from pydantic import Field

import wgfleet
from wgfleet.panel.api.auth import NodeAdmin, Reader, Writer
from wgfleet.panel.api.models import (
    UNCHANGED,
    After,
    Body,
    Limit,
    Page,
    PatchBody,
    Port,
    Reference,
    Said,
    Shown,
    View,
    cut,
    encoded_page,
    utc,
)
from wgfleet.panel.api.panel import ThePanel
from wgfleet.panel.api.subject_router import subject_router
from wgfleet.panel.domain.fields import MAX_LIST, MAX_NAME, private_warning
from wgfleet.panel.domain.health.votes import WORST_FIRST, Health
from wgfleet.panel.domain.phases import Phase
from wgfleet.panel.services import host_names
from wgfleet.panel.services.access import limits
from wgfleet.panel.services.access.callers import NODES, Caller
from wgfleet.panel.services.fleet import loads, node_agents, node_names, nodes, shared_addresses, witnesses
from wgfleet.panel.services.fleet.node_values import MAX_BANDWIDTH, MAX_CAPACITY, MAX_WEIGHT, NodeChanges
from wgfleet.panel.services.fleet.nodes import NodeSpec
from wgfleet.panel.services.moves import relay_control
from wgfleet.panel.store import Tx
from wgfleet.panel.store.nodes import AnyNode, LoadRow, NodeConfig
from wgfleet.protocol import releases
from wgfleet.protocol.features import Feature
from wgfleet.protocol.messages import AGENT_PORT
from wgfleet.protocol.releases import Release

router = subject_router("nodes")

Name = Annotated[str, Field(max_length=MAX_NAME)]
Addresses = Annotated[list[Annotated[str, Field(max_length=64)]], Field(max_length=MAX_LIST)]
Weight = Annotated[float, Field(gt=0, le=MAX_WEIGHT, allow_inf_nan=False)]
Capacity = Annotated[int, Field(ge=0, le=MAX_CAPACITY)]
Unproven = Annotated[
    bool, Query(description="Use new endpoint addresses at once, whether the node answers there or not.")
]
Bandwidth = Annotated[int, Field(ge=1, le=MAX_BANDWIDTH)]
Force = Annotated[
    bool,
    Query(
        description="Also one that still has to delete interfaces, which then stay on the machine, or relays clients."
    ),
]


ENDPOINT_NAME = (
    "A DNS name in place of addresses, for a node whose addresses change: it has those that the name leads to, and "
    "new ones are used once it answers there."
)


class NewNode(Body):
    """The node to create; its agent joins later."""

    witness: bool = Field(
        default=False,
        description="A machine without WireGuard, which serves nobody: it looks at the nodes of all configs, so that "
        "two nodes, or one beside the panel's machine, fail over. It has an `agent_host` and no endpoint addresses.",
    )

    name: Name = Field(examples=["fra1"])
    endpoint_addresses: Addresses = Field(
        default=[],
        description="Addresses at which clients reach the node; the first is preferred. A witness has none.",
        examples=[["192.0.2.10"]],
    )
    endpoint_name: Annotated[str, Field(max_length=253)] | None = Field(
        default=None, description=f"{ENDPOINT_NAME} null: it has the addresses above.", examples=["home.example.net"]
    )
    agent_host: Annotated[str, Field(max_length=253)] | None = Field(
        default=None,
        description="Host at which the panel calls its agent; null: `endpoint_name`, or the first endpoint address.",
    )
    agent_port: Port = Field(default=AGENT_PORT, description="TCP port of its agent; overwritten when the agent joins.")
    weight: Weight = Field(default=1.0, description="Share of peers relative to other nodes.")
    capacity: Capacity | None = Field(default=None, description="Maximum number of peers; null means unlimited.")
    bandwidth_mbps: Bandwidth | None = Field(
        default=None, description="Capacity of its uplink in Mbit/s each way; null: the speed that the link reports."
    )
    group: Name | None = Field(default=None, description="Id or name of its node group.")


class ChangedNode(PatchBody):
    """The fields to change; a field that is left out keeps its value."""

    name: Name = UNCHANGED
    endpoint_addresses: Addresses = Field(
        default=UNCHANGED, description="Addresses at which clients reach the node; the first is preferred."
    )
    endpoint_name: Annotated[str, Field(max_length=253)] | None = Field(
        default=UNCHANGED, description=f"{ENDPOINT_NAME} null: it keeps its addresses, or has those that are given."
    )
    agent_host: Annotated[str, Field(max_length=253)] = Field(
        default=UNCHANGED, description="Host at which the panel calls its agent."
    )
    agent_port: Port = UNCHANGED
    weight: Weight = Field(default=UNCHANGED, description="Share of peers relative to other nodes.")
    capacity: Capacity | None = Field(default=UNCHANGED, description="Maximum number of peers; null means unlimited.")
    bandwidth_mbps: Bandwidth | None = Field(
        default=UNCHANGED,
        description="Capacity of its uplink in Mbit/s each way; null: the speed that the link reports.",
    )
    group: Name | None = Field(
        default=UNCHANGED, description="Id or name of its node group; null removes it from its group."
    )


class LoadView(View):
    """How busy the machine was, as shares of 1."""

    cpu: float = Field(description="Of all processors.")
    memory: float
    bandwidth: float = Field(description="Of the busier direction of its uplink; also 0 if unknown.")
    at: datetime


class NodeView(View):
    """A node."""

    id: str
    name: str
    endpoint_addresses: list[str]
    endpoint_name: str | None = Field(description="The name that its addresses follow; null: they are set.")
    next_endpoint_addresses: list[str] = Field(
        description="Asked for, and used in place of the others once the node answers the panel at each of them."
    )
    endpoint_warning: Said | None = Field(
        description="null: no other node has one of its addresses, and those of its name, if it has one, are its own."
    )
    private_endpoint_warning: Said | None = Field(
        description="null: clients reach its addresses from the internet, as far as addresses tell."
    )
    agent_host: str
    agent_host_warning: Said | None = Field(
        description="null: it is an address, or a name whose addresses are outside of the tunnel."
    )
    agent_port: int
    weight: float
    capacity: int | None
    bandwidth_mbps: int | None
    group_id: str | None
    cordoned: bool = Field(description="Whether it is excluded from new placements, for maintenance.")
    is_panel_node: bool
    witness: bool = Field(description="Whether it serves nobody, and looks at the nodes of all configs.")
    witness_warning: Said | None = Field(description="null: it is none, or its word counts.")
    joined: bool = Field(description="Whether an agent has joined as this node.")
    certificate_expires_at: datetime | None
    connected: bool = Field(description="Whether the panel is connected to its agent.")
    last_seen_at: datetime | None
    clock_ahead_s: float | None = Field(description="How far its clock is ahead of the panel's, to half a second.")
    clock_warning: Said | None = Field(description="null: its clock is right enough.")
    agent_version: str | None
    agent_release: Release = Field(description="How its agent's release stands to the panel's.")
    agent_protocol: int | None = Field(description="Version of the protocol that it speaks; null: not heard yet.")
    agent_features: list[str] = Field(description="What it knows beyond 0.1.0.")
    agent_lacks: list[Feature] = Field(description="What the panel would send, and it does not understand.")
    agent_warning: Said | None = Field(description="What its release means for the node; null: nothing.")
    health: Health | None = Field(
        description="The worst of its configs, as `GET /api/configs/{config}/health` has it; null: it serves none yet."
    )
    health_config: str | None = Field(description="Name of the config of which that is.")
    health_reason: Said | None = Field(description="Why; null likewise.")
    summary: Said = Field(description="What the last reconcile cycle did, or why it could not.")
    configs: list[str] = Field(description="Names of the configs assigned to it.")
    peers: int = Field(description="Number of peers whose home is this node.")
    relayed_clients: int = Field(
        description="Number of clients whose packets it passes on to the nodes that have their sessions: they are cut "
        "off where it ends. `GET /api/relays` names them."
    )
    relayed_until: datetime | None = Field(description="When the last of these relays ends; null: there are none.")
    load: LoadView | None = Field(description="null: its agent has not reported it recently.")
    created_at: datetime


def _private(node: AnyNode) -> str | None:
    """Warn of private addresses, but not of a witness, which no client calls."""
    return None if node.witness else private_warning(node.endpoint_addresses)


def _load(row: LoadRow | None) -> Shown | None:
    if row is None:
        return None
    return {"cpu": row.cpu, "memory": row.memory, "bandwidth": row.bandwidth, "at": utc(row.at)}


def _worst(of_node: Sequence[NodeConfig]) -> Shown:
    """Return the worst health of a node; of a config that it is joining, nobody judges it yet."""
    judged = [each for each in of_node if each.phase != Phase.JOINING or each.health != Health.SERVING]
    worst = min(judged, key=lambda each: WORST_FIRST.index(each.health), default=None)
    if worst is None:
        return {"health": None, "health_config": None, "health_reason": None}
    return {"health": worst.health, "health_config": worst.name, "health_reason": worst.health_reason}


def shown(tx: Tx, rows: Sequence[AnyNode]) -> list[Shown]:
    """Return nodes as they are shown, with what they have."""
    ids = [node.id for node in rows]
    configs, homes = nodes.configs_of(tx, ids), nodes.home_counts(tx, ids)
    busy, shared = loads.fresh(tx, ids), shared_addresses.warnings(tx, rows)
    warnings = host_names.warnings(tx, {node.agent_host for node in rows})
    relays = relay_control.of_nodes(tx, ids)
    doubts, names = witnesses.warnings(tx), node_names.warnings(tx, rows)
    return [
        {
            "id": node.id,
            "name": node.name,
            "endpoint_addresses": node.endpoint_addresses,
            "endpoint_name": node.endpoint_name,
            "next_endpoint_addresses": node.next_endpoint_addresses,
            "endpoint_warning": shared.get(node.id) or names.get(node.id),
            "private_endpoint_warning": _private(node),
            "agent_host": node.agent_host,
            "agent_host_warning": warnings.get(node.agent_host),
            "agent_port": node.agent_port,
            "weight": node.weight,
            "capacity": node.capacity,
            "bandwidth_mbps": node.bandwidth_mbps,
            "group_id": node.group_id,
            "cordoned": node.cordoned,
            "is_panel_node": node.is_panel_node,
            "witness": node.witness,
            "witness_warning": doubts.get(node.id),
            "joined": node.certificate_expires_at is not None,
            "certificate_expires_at": utc(node.certificate_expires_at),
            "connected": node.connected,
            "last_seen_at": utc(node.last_seen_at),
            "clock_ahead_s": node.clock_ahead_s,
            "clock_warning": node_agents.clock_warning(node),
            "agent_version": node.agent_version,
            "agent_release": releases.compared(node.agent_version, wgfleet.__version__),
            "agent_protocol": releases.protocol(node.agent_features) if node.agent_version else None,
            "agent_features": node.agent_features,
            "agent_lacks": (
                list(releases.missing(node.agent_features, witness=node.witness)) if node.agent_version else []
            ),
            "agent_warning": releases.warning(
                node.agent_version, wgfleet.__version__, node.agent_features, witness=node.witness
            ),
            **_worst(configs[node.id]),
            "summary": node.summary,
            "configs": [each.name for each in configs[node.id]],
            "peers": homes.get(node.id, 0),
            "relayed_clients": relays.get(node.id, (0, 0.0))[0],
            "relayed_until": utc(relays[node.id][1]) if node.id in relays else None,
            "load": _load(busy.get(node.id)),
            "created_at": utc(node.created_at),
        }
        for node in rows
    ]


def views(tx: Tx, rows: Sequence[AnyNode]) -> list[NodeView]:
    """Show nodes."""
    return [NodeView.model_validate(each) for each in shown(tx, rows)]


@router.get("/api/nodes", summary="List nodes", response_model=Page[NodeView])
def list_nodes(panel: ThePanel, caller: Reader, after: After = None, limit: Limit = 100) -> Response:
    with panel.store.read() as tx:
        rows, following = cut(nodes.shown(tx, after, limit + 1, caller.limit), limit)
        items = shown(tx, rows)
    return encoded_page(items, following)


@router.post("/api/nodes", status_code=status.HTTP_201_CREATED, summary="Create a node")
def create_node(panel: ThePanel, caller: NodeAdmin, body: NewNode) -> NodeView:
    """Its agent joins with a join token; configs can be assigned before that, to a witness never.

    No two agents are at one host and port. Nodes behind one endpoint address can have no config in common.
    """
    with panel.write_with_names(caller, body.agent_host, body.endpoint_name) as tx:
        spec = NodeSpec(**body.model_dump())
        limits.check_group(tx, caller.limit, {"group": spec.group})
        made = (
            nodes.create_witness(tx, panel.vault, caller.actor, spec)
            if spec.witness
            else nodes.create(tx, caller.actor, spec)
        )
        return views(tx, [made])[0]


@router.get("/api/nodes/{node}", summary="Show a node")
def show_node(panel: ThePanel, _caller: Reader, node: Reference) -> NodeView:
    with panel.store.read() as tx:
        return views(tx, [nodes.get(tx, node)])[0]


def need_for(caller: Caller, changes: Mapping[str, Any]) -> None:
    """Raise `Forbidden` where a caller may not make such changes of a node."""
    if {"agent_host", "agent_port"} & changes.keys():
        caller.need(NODES, "changing where the agent is called")


@router.patch("/api/nodes/{node}", summary="Change a node")
def update_node(
    panel: ThePanel, caller: Writer, node: Reference, body: ChangedNode, *, force: Unproven = False
) -> NodeView:
    """Keep new endpoint addresses of a node that serves in `next_endpoint_addresses` until it answers there.

    Then, or with `force`, they are published, and are in files created from then on.

    `agent_host` and `agent_port` say which machine gets keys, so changing them needs the scope `nodes`.
    """
    changes = cast("NodeChanges", body.given())
    need_for(caller, changes)
    with panel.write_with_names(caller, changes.get("agent_host"), changes.get("endpoint_name")) as tx:
        limits.check_group(tx, caller.limit, changes)
        return views(tx, [nodes.update(tx, caller.actor, nodes.get(tx, node), changes, force=force)])[0]


@router.delete("/api/nodes/{node}", status_code=status.HTTP_204_NO_CONTENT, summary="Delete a node")
def delete_node(
    panel: ThePanel,
    caller: Writer,
    node: Reference,
    *,
    force: Force = False,
) -> None:
    """Refused (409) while a config is assigned to it, or while it still has to delete an interface."""
    with panel.store.write() as tx:
        nodes.delete(tx, caller.actor, nodes.get(tx, node), force=force)
