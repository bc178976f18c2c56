"""`/api/nodes`: servers that run the agent."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, cast

from fastapi import APIRouter, Query, status
from pydantic import Field

from wgfleet.panel.api.auth import Reader, Writer
from wgfleet.panel.api.models import (
    UNCHANGED,
    After,
    Body,
    Changes,
    Limit,
    Page,
    Port,
    Reference,
    View,
    page,
    utc,
)
from wgfleet.panel.api.panel import ThePanel
from wgfleet.panel.domain.fields import MAX_LIST, MAX_NAME
from wgfleet.panel.services.fleet import loads, nodes
from wgfleet.panel.services.fleet.nodes import MAX_BANDWIDTH, MAX_CAPACITY, MAX_WEIGHT, NodeChanges, NodeSpec
from wgfleet.panel.store import Tx
from wgfleet.panel.store.tables import Node, NodeLoad
from wgfleet.protocol.messages import AGENT_PORT

router = APIRouter(tags=["nodes"])

Name = Annotated[str, Field(max_length=MAX_NAME)]
Addresses = Annotated[list[Annotated[str, Field(max_length=64)]], Field(min_length=1, max_length=MAX_LIST)]
Weight = Annotated[float, Field(gt=0, le=MAX_WEIGHT, allow_inf_nan=False)]
Capacity = Annotated[int, Field(ge=0, le=MAX_CAPACITY)]
Bandwidth = Annotated[int, Field(ge=1, le=MAX_BANDWIDTH)]


class NewNode(Body):
    """A node to be made; its agent joins later."""

    name: Name = Field(examples=["fra1"])
    endpoint_addresses: Addresses = Field(
        description="Addresses that clients reach it at, the first one preferred.", examples=[["192.0.2.10"]]
    )
    agent_host: Annotated[str, Field(max_length=253)] | None = Field(
        default=None, description="Where the panel calls its agent; null: the first endpoint address."
    )
    agent_port: Port = Field(default=AGENT_PORT, description="TCP port of its agent; the agent says so when it joins.")
    weight: Weight = Field(default=1.0, description="Share of peers beside other nodes.")
    capacity: Capacity | None = Field(default=None, description="At most so many peers; null: no limit.")
    bandwidth_mbps: Bandwidth | None = Field(
        default=None, description="What its uplink carries, in Mbit/s each way; null: as the link says."
    )
    group: Name | None = Field(default=None, description="Id or name of its node group.")


class ChangedNode(Changes):
    """The fields to change; a field that is left out keeps its value."""

    name: Name = UNCHANGED
    endpoint_addresses: Addresses = Field(default=UNCHANGED, description="Addresses that clients reach it at.")
    agent_host: Annotated[str, Field(max_length=253)] = Field(
        default=UNCHANGED, description="Where the panel calls its agent."
    )
    agent_port: Port = UNCHANGED
    weight: Weight = Field(default=UNCHANGED, description="Share of peers beside other nodes.")
    capacity: Capacity | None = Field(default=UNCHANGED, description="At most so many peers; null: no limit.")
    bandwidth_mbps: Bandwidth | None = Field(
        default=UNCHANGED, description="What its uplink carries, in Mbit/s each way; null: as the link says."
    )
    group: Name | None = Field(default=UNCHANGED, description="Id or name of its node group; null: none.")


class LoadView(View):
    """How busy the machine was, as shares of 1."""

    cpu: float = Field(description="All its processors.")
    memory: float
    bandwidth: float = Field(description="The busier direction of its uplink; 0 also where it is not known.")
    at: datetime


class NodeView(View):
    """A node."""

    id: str
    name: str
    endpoint_addresses: list[str]
    agent_host: str
    agent_port: int
    weight: float
    capacity: int | None
    bandwidth_mbps: int | None
    group_id: str | None
    cordoned: bool = Field(description="Whether it gets no new homes, for maintenance.")
    is_panel_node: bool
    joined: bool = Field(description="Whether an agent has joined as this node.")
    certificate_expires_at: datetime | None
    connected: bool = Field(description="Whether the panel reaches its agent just now.")
    last_seen_at: datetime | None
    agent_version: str | None
    summary: str = Field(description="What the last cycle did, or why not.")
    configs: list[str] = Field(description="Names of the configs that are assigned to it.")
    peers: int = Field(description="How many peers have their home there.")
    load: LoadView | None = Field(description="null: its agent has not said so lately.")
    created_at: datetime


def _load(row: NodeLoad | None) -> LoadView | None:
    if row is None:
        return None
    return LoadView(cpu=row.cpu, memory=row.memory, bandwidth=row.bandwidth, at=utc(row.at))


def views(tx: Tx, rows: Sequence[Node]) -> list[NodeView]:
    """Show nodes, with what they have."""
    ids = [node.id for node in rows]
    configs, homes = nodes.config_names(tx, ids), nodes.home_counts(tx, ids)
    busy = loads.fresh(tx, ids)
    return [
        NodeView(
            id=node.id,
            name=node.name,
            endpoint_addresses=node.endpoint_addresses,
            agent_host=node.agent_host,
            agent_port=node.agent_port,
            weight=node.weight,
            capacity=node.capacity,
            bandwidth_mbps=node.bandwidth_mbps,
            group_id=node.group_id,
            cordoned=node.cordoned,
            is_panel_node=node.is_panel_node,
            joined=node.certificate_expires_at is not None,
            certificate_expires_at=utc(node.certificate_expires_at),
            connected=node.connected,
            last_seen_at=utc(node.last_seen_at),
            agent_version=node.agent_version,
            summary=node.summary,
            configs=configs[node.id],
            peers=homes.get(node.id, 0),
            load=_load(busy.get(node.id)),
            created_at=utc(node.created_at),
        )
        for node in rows
    ]


@router.get("/api/nodes", summary="List nodes")
def list_nodes(panel: ThePanel, _caller: Reader, after: After = None, limit: Limit = 100) -> Page[NodeView]:
    with panel.store.read() as tx:
        return page(nodes.page(tx, after, limit + 1), limit, lambda rows: views(tx, rows))


@router.post("/api/nodes", status_code=status.HTTP_201_CREATED, summary="Make a node")
def create_node(panel: ThePanel, caller: Writer, body: NewNode) -> NodeView:
    """Its agent joins with a join token; configs may be assigned to it before."""
    with panel.store.write() as tx:
        return views(tx, [nodes.create(tx, caller.actor, NodeSpec(**body.model_dump()))])[0]


@router.get("/api/nodes/{node}", summary="Show a node")
def show_node(panel: ThePanel, _caller: Reader, node: Reference) -> NodeView:
    with panel.store.read() as tx:
        return views(tx, [nodes.get(tx, node)])[0]


@router.patch("/api/nodes/{node}", summary="Change a node")
def update_node(panel: ThePanel, caller: Writer, node: Reference, body: ChangedNode) -> NodeView:
    """Publish new endpoint addresses at once; they go into the files that are made from now on."""
    with panel.store.write() as tx:
        changes = cast("NodeChanges", body.given())
        return views(tx, [nodes.update(tx, caller.actor, nodes.get(tx, node), changes)])[0]


@router.delete("/api/nodes/{node}", status_code=status.HTTP_204_NO_CONTENT, summary="Delete a node")
def delete_node(
    panel: ThePanel,
    caller: Writer,
    node: Reference,
    *,
    force: Annotated[bool, Query(description="Also forget interfaces that it still has to delete.")] = False,
) -> None:
    """Refused (409) while a config is assigned to it, or while it still has to delete an interface."""
    with panel.store.write() as tx:
        nodes.delete(tx, caller.actor, nodes.get(tx, node), force=force)
