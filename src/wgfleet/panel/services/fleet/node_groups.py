"""Nodes that belong together, for placement: a peer's own group first, then nodes by ascending priority."""

from collections.abc import Sequence
from typing import Any, TypedDict

from wgfleet.panel import clock
from wgfleet.panel.domain.fields import check_range, parse_name
from wgfleet.panel.domain.limits import Limit
from wgfleet.panel.domain.placement.place import DEFAULT_PRIORITY
from wgfleet.panel.errors import Conflict, Invalid, NotFound
from wgfleet.panel.hints import Hint, HintCode
from wgfleet.panel.services import audit
from wgfleet.panel.store import Tx
from wgfleet.panel.store import node_groups as node_group_rows
from wgfleet.panel.store import peer_nodes as peer_node_rows
from wgfleet.panel.store.tables import Node, NodeGroup
from wgfleet.protocol.reasons import Reason

MAX_PRIORITY = 1_000_000
MAX_REGION = 63


class NodeGroupChanges(TypedDict, total=False):
    """What may change in a group; what is left out stays."""

    name: str
    region: str
    priority: int
    site: str


def create(
    tx: Tx, actor: str, name: str, *, region: str = "", priority: int = DEFAULT_PRIORITY, site: str = ""
) -> NodeGroup:
    """Make a group. A lower `priority` is filled first; what has the same `site` fails together."""
    _check(NodeGroupChanges(name=name, region=region, priority=priority, site=site))
    _check_name_is_free(tx, name)
    group = NodeGroup(id=clock.new_id(), name=name, region=region, priority=priority, site=site)
    node_group_rows.add(tx, group)
    audit.record(tx, actor, "created", "node_group", group.id, name=name, region=region, priority=priority, site=site)
    return group


def get(tx: Tx, reference: str) -> NodeGroup:
    """Return a group by id or name."""
    group = node_group_rows.find(tx, reference)
    if group is None:
        raise NotFound(
            Reason("there is no node group {reference!r}", reference=reference), Hint(HintCode.LIST_NODE_GROUPS)
        )
    return group


def named(tx: Tx, reference: str, field: str) -> NodeGroup:
    """Return the group that a field of a body names."""
    group = node_group_rows.find(tx, reference)
    if group is None:
        raise Invalid(
            Reason("there is no node group {reference!r}", reference=reference),
            Hint(HintCode.LIST_NODE_GROUPS),
            field=field,
        )
    return group


def name_of(tx: Tx, group_id: str | None) -> str | None:
    """Return the name of the group that a node or a peer has; None: it has none."""
    return None if group_id is None else get(tx, group_id).name


def page(tx: Tx, after: str | None = None, limit: int = 100, within: Limit | None = None) -> Sequence[NodeGroup]:
    """Return groups in the order of creation, starting after the id `after`."""
    return node_group_rows.page(tx, after, limit, within)


def members(tx: Tx, group_id: str) -> Sequence[Node]:
    """Return the nodes of a group in the order they were made."""
    return node_group_rows.nodes(tx, group_id)


def node_names(tx: Tx, group_id: str) -> Sequence[str]:
    """Return the names of a group's nodes."""
    return node_group_rows.node_names(tx, group_id)


def has_peers(tx: Tx, group_id: str) -> bool:
    """Say whether a peer prefers a group."""
    return node_group_rows.has_peers(tx, group_id)


def update(tx: Tx, actor: str, group: NodeGroup, changes: NodeGroupChanges) -> NodeGroup:
    """Change a group. Homes stay where they are until something moves them."""
    _check(changes)
    changed: dict[str, Any] = {name: value for name, value in changes.items() if getattr(group, name) != value}
    if not changed:
        return group
    if "name" in changed:
        _check_name_is_free(tx, changed["name"])
    for name, value in changed.items():
        setattr(group, name, value)
    audit.record(tx, actor, "updated", "node_group", group.id, **changed)
    return group


def delete(tx: Tx, actor: str, group: NodeGroup) -> None:
    """Delete a group that no node and no peer is in."""
    nodes = node_group_rows.node_names(tx, group.id)
    if nodes:
        raise Conflict(
            Reason(
                "node group {group!r} still has nodes {nodes}; remove them from it first",
                group=group.name,
                nodes=", ".join(nodes),
            )
        )
    if node_group_rows.has_peers(tx, group.id):
        raise Conflict(
            Reason("node group {group!r} is still preferred by peers; change their group first", group=group.name)
        )
    if peer_node_rows.any_names(tx, group.id):
        raise Conflict(Reason("peers may use node group {group!r} only; change their nodes first", group=group.name))
    node_group_rows.delete(tx, group)
    audit.record(tx, actor, "deleted", "node_group", group.id, name=group.name)


def _check(changes: NodeGroupChanges) -> None:
    if "name" in changes:
        parse_name(changes["name"])
    if changes.get("region"):
        parse_name(changes["region"], "region")
    if changes.get("site"):
        parse_name(changes["site"], "site")
    if "priority" in changes:
        check_range(changes["priority"], 0, MAX_PRIORITY, "priority")


def _check_name_is_free(tx: Tx, name: str) -> None:
    if node_group_rows.find(tx, name) is not None:
        raise Conflict(
            Reason("a node group named {name!r} already exists; choose another name", name=name), field="name"
        )
