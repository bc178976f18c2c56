"""`/api/configs/{config}/capacity`: how much room its nodes have, and what if one dies."""

from fastapi import APIRouter
from pydantic import Field

from wgfleet.panel.api.auth import Reader
from wgfleet.panel.api.models import Reference, View
from wgfleet.panel.api.panel import ThePanel
from wgfleet.panel.services import configs
from wgfleet.panel.services.fleet import capacity

router = APIRouter(tags=["configs"])


class LossView(View):
    """What the death of the node would do, all of its configs counted. Nodes go by name."""

    holds: bool = Field(description="Whether the others have room for all its peers.")
    gained: dict[str, int] = Field(description="How many peers each other node would get.")
    overloaded: dict[str, int] = Field(description="By how many peers a node would be above its capacity.")
    overworked: dict[str, float] = Field(
        description="Which share of its machine a node would need, where that is more than 1."
    )
    homeless: int = Field(description="How many peers no node could have.")


class NodeCapacityView(View):
    """A node that serves the config."""

    node_id: str
    node_name: str
    cordoned: bool
    homes: int = Field(description="Peers of this config that have their home there.")
    live: int = Field(description="Peers of this config that have a live session there.")
    load: int = Field(description="Peers of all configs that have their home there.")
    capacity: int | None = Field(description="At most so many peers; null: no limit.")
    headroom: int | None = Field(description="Room for so many more; null: no limit.")
    busy: float | None = Field(
        description="Share of its processors, memory or uplink in use, whichever is more; null: not known."
    )
    if_it_dies: LossView


class CapacityView(View):
    """The room that a config has."""

    nodes: list[NodeCapacityView]
    warnings: list[str] = Field(description="Which deaths the other nodes would not hold; empty: none.")


@router.get("/api/configs/{config}/capacity", summary="Show the room of a config's nodes, and what if one dies")
def show_capacity(panel: ThePanel, _caller: Reader, config: Reference) -> CapacityView:
    """Tell for each serving node what it has, and who would get its peers if it died now."""
    with panel.store.read() as tx:
        found = capacity.of_config(tx, configs.get(tx, config), live_within_s=panel.settings.drain.live_s)
        return CapacityView(nodes=[_view(one, found) for one in found.nodes], warnings=found.warnings)


def _view(one: capacity.NodeCapacity, found: capacity.ConfigCapacity) -> NodeCapacityView:
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
    )
