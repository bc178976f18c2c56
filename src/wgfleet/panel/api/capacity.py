"""`/api/configs/{config}/capacity`: how much room its nodes have, and the effect of losing one."""

from pydantic import Field

from wgfleet.panel.api import forecasts
from wgfleet.panel.api.auth import Reader
from wgfleet.panel.api.forecasts import NO_FAILOVER, NoFailoverView
from wgfleet.panel.api.models import Reference, Said, View
from wgfleet.panel.api.panel import Panel, ThePanel
from wgfleet.panel.api.subject_router import subject_router
from wgfleet.panel.services import configs
from wgfleet.panel.services.fleet import capacity
from wgfleet.panel.store import Tx
from wgfleet.panel.store.tables import Config

router = subject_router("configs")


class LossView(View):
    """The effect of losing the node, counting all of its configs. Nodes are given by name."""

    holds: bool = Field(description="Whether the other nodes have room for all its peers.")
    gained: dict[str, int] = Field(description="Number of peers that each other node would receive.")
    overloaded: dict[str, int] = Field(description="Nodes that would exceed their capacity, and by how many peers.")
    overworked: dict[str, float] = Field(
        description="Nodes that would need more than their machine has, with the share needed (above 1)."
    )
    homeless: int = Field(description="Number of peers that no node could take.")


class NodeCapacityView(View):
    """A node that serves the config."""

    node_id: str
    node_name: str
    cordoned: bool
    homes: int = Field(description="Peers of this config whose home is this node.")
    live: int = Field(description="Peers of this config with a live session on this node.")
    load: int = Field(description="Peers of all configs whose home is this node.")
    capacity: int | None = Field(description="Maximum number of peers; null means unlimited.")
    headroom: int | None = Field(description="Number of peers that can be added; null means unlimited.")
    busy: float | None = Field(
        description="Share of processors, memory or uplink in use, whichever is highest; null if unknown."
    )
    if_it_dies: LossView
    no_failover: NoFailoverView | None = NO_FAILOVER


class CapacityView(View):
    """The capacity of a config."""

    nodes: list[NodeCapacityView]
    warnings: list[Said] = Field(description="Nodes whose loss the others could not absorb; empty if there are none.")


@router.get(
    "/api/configs/{config}/capacity", summary="Show the capacity of a config's nodes, and the effect of losing one"
)
def show_capacity(panel: ThePanel, _caller: Reader, config: Reference) -> CapacityView:
    """For each serving node: its load, and which nodes would receive its peers if it failed now."""
    with panel.store.read() as tx:
        return view(tx, panel, configs.get(tx, config))


def view(tx: Tx, panel: Panel, config: Config, after: str | None = None, limit: int | None = None) -> CapacityView:
    """Show the capacity of a config, or of a part of its nodes without their sessions."""
    live_s = panel.settings.drain.live_s if limit is None else None
    found = capacity.of_config(tx, config, live_within_s=live_s, after=after, limit=limit)
    lacking = forecasts.of_config(tx, panel, config)
    return CapacityView(
        nodes=[_view(one, found, lacking.get(one.node.id)) for one in found.nodes], warnings=found.warnings
    )


def _view(
    one: capacity.NodeCapacity, found: capacity.ConfigCapacity, no_failover: NoFailoverView | None
) -> NodeCapacityView:
    return NodeCapacityView(
        node_id=one.node.id,
        node_name=one.node.name,
        cordoned=one.node.cordoned,
        homes=one.homes,
        live=one.live,
        load=one.load,
        capacity=one.node.capacity,
        headroom=one.headroom,
        busy=one.busy,
        if_it_dies=LossView(
            holds=one.loss.holds,
            gained={found.names[node]: count for node, count in one.loss.gained.items()},
            overloaded={found.names[node]: count for node, count in one.loss.overloaded.items()},
            overworked={found.names[node]: round(share, 2) for node, share in one.loss.overworked.items()},
            homeless=sum(one.loss.homeless.values()),
        ),
        no_failover=no_failover,
    )
