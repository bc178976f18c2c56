"""Carriers of floating addresses: the agents of a config's nodes, or a provider."""

from dataclasses import dataclass

from wgfleet.panel.address_providers import plugins
from wgfleet.panel.domain import forwarding
from wgfleet.panel.errors import PermanentError
from wgfleet.panel.store import Tx
from wgfleet.panel.store import endpoint_groups as endpoint_group_rows
from wgfleet.panel.store import floating as floating_rows
from wgfleet.panel.store import nodes as node_rows
from wgfleet.panel.store.tables import Assignment
from wgfleet.protocol.diff import ROUTING_FIELD
from wgfleet.protocol.features import Feature


@dataclass(frozen=True, slots=True)
class Carriage:
    """How a config's floating addresses are carried, as its provider says; without one nothing is so.

    `on_agent`: agents carry them; else they are the provider's. `routed`: the routing daemons of the nodes announce
    them. `bound`: holders have them on loopback because a cloud leads them there.
    """

    on_agent: bool = False
    routed: bool = False
    bound: bool = False


def of_config(tx: Tx, config_id: str) -> Carriage:
    """Return how the floating addresses of a config are carried."""
    group = endpoint_group_rows.get(tx, config_id)
    if group is None:
        return Carriage()
    try:
        provider = plugins.installed().find(group.address_provider)
    except PermanentError:
        return Carriage()  # plugin not installed; the floating worker reports it
    return Carriage(
        provider.on_agent,
        routed=provider.on_agent and bool(getattr(provider, "routed", False)),
        bound=not provider.on_agent and bool(getattr(provider, "bound", False)),
    )


def knows_loopback(tx: Tx, node_id: str) -> bool:
    """Tell whether a node's agent can have floating addresses there; one that cannot would have them on a link."""
    return Feature.ROUTED_ADDRESSES in node_rows.agent_features(tx, [node_id]).get(node_id, ())


def is_unrouted(assignment: Assignment) -> bool:
    """Tell whether a node said last that routers do not find addresses at it."""
    return any(line.startswith(f"{ROUTING_FIELD}:") for line in assignment.drift)


def unrouted(tx: Tx, config_id: str) -> set[str]:
    """Return the nodes at which routers do not find the config's floating addresses, as their agents say."""
    if not of_config(tx, config_id).routed:
        return set()
    return {each.node_id for each, _ in floating_rows.carriers(tx, config_id) if is_unrouted(each)}


def not_forwarding(tx: Tx, config_id: str) -> set[str]:
    """Return the nodes that are proven not to let users' packets through, where another one is not."""
    found = {each.node_id: forwarding.fails(each.forwarding) for each, _ in floating_rows.carriers(tx, config_id)}
    return {node_id for node_id, failing in found.items() if failing} if not all(found.values()) else set()


def nodes(tx: Tx, config_id: str) -> set[str]:
    """Return the nodes that a config is assigned to."""
    return {assignment.node_id for assignment, _ in floating_rows.carriers(tx, config_id)}
