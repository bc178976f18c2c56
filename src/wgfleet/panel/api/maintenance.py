"""Maintenance: cordon, uncordon and drain of nodes and node groups, rebalance of configs."""

from typing import Annotated

from fastapi import Query, Response, status

from wgfleet.panel.api.auth import Writer
from wgfleet.panel.api.models import Page, Reference
from wgfleet.panel.api.nodes import NodeView
from wgfleet.panel.api.nodes import views as node_views
from wgfleet.panel.api.operations import OperationView, lead_to
from wgfleet.panel.api.operations import view as operation_view
from wgfleet.panel.api.operations import views as operation_views
from wgfleet.panel.api.panel import ThePanel
from wgfleet.panel.api.removals import MAX_WINDOW_S, RelayFor
from wgfleet.panel.api.subject_router import subject_router
from wgfleet.panel.services import configs
from wgfleet.panel.services.fleet import cordons, node_groups, nodes
from wgfleet.panel.services.moves import drain, group_drain, rebalance

router = subject_router("maintenance")

Force = Annotated[bool, Query(description="Drain even if fewer than `min_nodes` or too little capacity would be left.")]
Window = Annotated[
    float | None,
    Query(
        ge=0,
        le=MAX_WINDOW_S,
        description="Seconds to wait for sessions that could not be moved; default: TTL + drain.grace_s.",
    ),
]


@router.post("/api/nodes/{node}/cordon", summary="Cordon a node")
def cordon_node(panel: ThePanel, caller: Writer, node: Reference) -> NodeView:
    """Exclude it from new placements; the peers that it has stay."""
    with panel.store.write() as tx:
        row = nodes.get(tx, node)
        cordons.cordon(tx, caller.actor, row)
        return node_views(tx, [row])[0]


@router.post("/api/nodes/{node}/uncordon", summary="Uncordon a node")
def uncordon_node(panel: ThePanel, caller: Writer, node: Reference) -> NodeView:
    """Allow new placements, and stop unfinished drains. Moved peers return only with a rebalance."""
    with panel.store.write() as tx:
        row = nodes.get(tx, node)
        cordons.uncordon(tx, caller.actor, row)
        return node_views(tx, [row])[0]


@router.post("/api/nodes/{node}/drain", status_code=status.HTTP_202_ACCEPTED, summary="Drain a node")
def drain_node(
    panel: ThePanel,
    caller: Writer,
    node: Reference,
    *,
    force: Force = False,
    drain_window_s: Window = None,
    relay_s: RelayFor = 0.0,
) -> Page[OperationView]:
    """Cordon it and move its peers and their live sessions to other nodes: one operation for each config.

    The node stays assigned; uncordon it when the maintenance is over.
    """
    with panel.store.write() as tx:
        started = drain.start(
            tx,
            caller.actor,
            nodes.get(tx, node),
            grace_s=panel.settings.drain.grace_s,
            force=force,
            drain_window_s=drain_window_s,
            relay_s=relay_s,
        )
        return Page(items=operation_views(tx, started))


@router.post(
    "/api/node-groups/{group}/drain",
    status_code=status.HTTP_202_ACCEPTED,
    summary="Drain a node group",
)
def drain_node_group(
    panel: ThePanel,
    caller: Writer,
    group: Reference,
    response: Response,
    *,
    force: Force = False,
    drain_window_s: Window = None,
    relay_s: RelayFor = 0.0,
) -> OperationView:
    """Cordon all its nodes, then drain them one by one. Uncordon the group to stop, and after the maintenance."""
    with panel.store.write() as tx:
        started = group_drain.start(
            tx,
            caller.actor,
            node_groups.get(tx, group),
            grace_s=panel.settings.drain.grace_s,
            force=force,
            drain_window_s=drain_window_s,
            relay_s=relay_s,
        )
        shown = operation_view(tx, started)
    lead_to(response, panel, shown)
    return shown


@router.post("/api/node-groups/{group}/uncordon", summary="Uncordon a node group")
def uncordon_node_group(panel: ThePanel, caller: Writer, group: Reference) -> Page[NodeView]:
    """Its nodes can get peers again, and unfinished drains stop. Moved peers return only with a rebalance."""
    with panel.store.write() as tx:
        freed = group_drain.uncordon(tx, caller.actor, node_groups.get(tx, group))
        return Page(items=node_views(tx, freed))


@router.post("/api/configs/{config}/rebalance", status_code=status.HTTP_202_ACCEPTED, summary="Rebalance a config")
def rebalance_config(panel: ThePanel, caller: Writer, config: Reference, response: Response) -> OperationView:
    """Move as few peers and live sessions as it takes for each node to have its share by weight."""
    with panel.store.write() as tx:
        grace_s = panel.settings.drain.grace_s
        shown = operation_view(tx, rebalance.start(tx, caller.actor, configs.get(tx, config), grace_s=grace_s))
    lead_to(response, panel, shown)
    return shown
