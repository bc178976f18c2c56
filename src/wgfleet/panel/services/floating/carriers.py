"""Carriers of floating addresses: the agents of a config's nodes, or a provider."""

from wgfleet.panel.address_providers import plugins
from wgfleet.panel.errors import PermanentError
from wgfleet.panel.store import Tx
from wgfleet.panel.store import endpoint_groups as endpoint_group_rows
from wgfleet.panel.store import floating as floating_rows
from wgfleet.panel.store import nodes as node_rows
from wgfleet.panel.store.tables import Assignment
from wgfleet.protocol.diff import ROUTING_FIELD
from wgfleet.protocol.features import Feature


def on_agent(tx: Tx, config_id: str) -> bool:
    """Tell whether agents carry the config's floating addresses; else they are a provider's, or there are none."""
    group = endpoint_group_rows.get(tx, config_id)
    try:
        return group is not None and plugins.installed().find(group.address_provider).on_agent
    except PermanentError:
        return False  # plugin not installed; the floating worker reports it


def routed(tx: Tx, config_id: str) -> bool:
    """Tell whether the routing daemons of the nodes announce the config's floating addresses."""
    group = endpoint_group_rows.get(tx, config_id)
    try:
        found = None if group is None else plugins.installed().find(group.address_provider)
    except PermanentError:
        return False
    return found is not None and found.on_agent and bool(getattr(found, "routed", False))


def bound(tx: Tx, config_id: str) -> bool:
    """Tell whether holders have the config's floating addresses on loopback because a cloud leads them there."""
    group = endpoint_group_rows.get(tx, config_id)
    try:
        found = None if group is None else plugins.installed().find(group.address_provider)
    except PermanentError:
        return False
    return found is not None and not found.on_agent and bool(getattr(found, "bound", False))


def knows_loopback(tx: Tx, node_id: str) -> bool:
    """Tell whether a node's agent can have floating addresses there; one that cannot would have them on a link."""
    return Feature.ROUTED_ADDRESSES in node_rows.agent_features(tx, [node_id]).get(node_id, ())


def is_unrouted(assignment: Assignment) -> bool:
    """Tell whether a node said last that routers do not find addresses at it."""
    return any(line.startswith(f"{ROUTING_FIELD}:") for line in assignment.drift)


def unrouted(tx: Tx, config_id: str) -> set[str]:
    """Return the nodes at which routers do not find the config's floating addresses, as their agents say."""
    if not routed(tx, config_id):
        return set()
    return {each.node_id for each, _ in floating_rows.carriers(tx, config_id) if is_unrouted(each)}


def nodes(tx: Tx, config_id: str) -> set[str]:
    """Return the nodes that a config is assigned to."""
    return {assignment.node_id for assignment, _ in floating_rows.carriers(tx, config_id)}
