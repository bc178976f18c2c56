"""`/api/node-groups`: nodes that belong together."""

from typing import cast

from fastapi import status
from pydantic import Field

from wgfleet.panel.api.auth import Reader, Writer
from wgfleet.panel.api.models import UNCHANGED, After, Body, Limit, Page, PatchBody, Reference, View, page
from wgfleet.panel.api.panel import ThePanel
from wgfleet.panel.api.subject_router import subject_router
from wgfleet.panel.domain.fields import MAX_NAME
from wgfleet.panel.domain.placement.place import DEFAULT_PRIORITY
from wgfleet.panel.services.fleet import node_groups
from wgfleet.panel.services.fleet.node_groups import MAX_PRIORITY, MAX_REGION, NodeGroupChanges
from wgfleet.panel.store.tables import NodeGroup

router = subject_router("node groups")
_SITE = (
    "The site whose failure takes all its nodes at once, such as a data center; groups may share one. What only one "
    "site sees takes no node out of use. Empty: each node stands alone."
)


class NewNodeGroup(Body):
    """The node group to create."""

    name: str = Field(max_length=MAX_NAME, examples=["europe"])
    region: str = Field(
        default="", max_length=MAX_REGION, description="Where it is; for display only.", examples=["eu-west"]
    )
    priority: int = Field(
        default=DEFAULT_PRIORITY,
        ge=0,
        le=MAX_PRIORITY,
        description="Lower is filled first; nodes without a group count as the default.",
    )
    site: str = Field(default="", max_length=MAX_REGION, description=_SITE, examples=["fra1"])


class ChangedNodeGroup(PatchBody):
    """The fields to change; a field that is left out keeps its value."""

    name: str = Field(default=UNCHANGED, max_length=MAX_NAME)
    region: str = Field(default=UNCHANGED, max_length=MAX_REGION)
    priority: int = Field(default=UNCHANGED, ge=0, le=MAX_PRIORITY)
    site: str = Field(default=UNCHANGED, max_length=MAX_REGION, description=_SITE)


class NodeGroupView(View):
    """A node group."""

    id: str
    name: str
    region: str
    priority: int
    site: str


def _view(row: NodeGroup) -> NodeGroupView:
    return NodeGroupView.model_validate(row, from_attributes=True)


@router.get("/api/node-groups", summary="List node groups")
def list_node_groups(panel: ThePanel, caller: Reader, after: After = None, limit: Limit = 100) -> Page[NodeGroupView]:
    with panel.store.read() as tx:
        return page(
            node_groups.page(tx, after, limit + 1, caller.limit), limit, lambda rows: [_view(row) for row in rows]
        )


@router.post("/api/node-groups", status_code=status.HTTP_201_CREATED, summary="Create a node group")
def create_node_group(panel: ThePanel, caller: Writer, body: NewNodeGroup) -> NodeGroupView:
    """Nodes can then join it, and peers can prefer it."""
    with panel.store.write() as tx:
        return _view(node_groups.create(tx, caller.actor, **body.model_dump()))


@router.get("/api/node-groups/{group}", summary="Show a node group")
def show_node_group(panel: ThePanel, _caller: Reader, group: Reference) -> NodeGroupView:
    with panel.store.read() as tx:
        return _view(node_groups.get(tx, group))


@router.patch("/api/node-groups/{group}", summary="Change a node group")
def update_node_group(panel: ThePanel, caller: Writer, group: Reference, body: ChangedNodeGroup) -> NodeGroupView:
    """Apply the change to peers placed from now on; existing homes do not move."""
    with panel.store.write() as tx:
        changes = cast("NodeGroupChanges", body.given())
        return _view(node_groups.update(tx, caller.actor, node_groups.get(tx, group), changes))


@router.delete("/api/node-groups/{group}", status_code=status.HTTP_204_NO_CONTENT, summary="Delete a node group")
def delete_node_group(panel: ThePanel, caller: Writer, group: Reference) -> None:
    """Refused (409) while a node or a peer is in it."""
    with panel.store.write() as tx:
        node_groups.delete(tx, caller.actor, node_groups.get(tx, group))
