"""Carriers of floating addresses: the agents of a config's nodes, or a provider."""

from wgfleet.panel.address_providers import plugins
from wgfleet.panel.errors import PermanentError
from wgfleet.panel.store import Tx
from wgfleet.panel.store import endpoint_groups as endpoint_group_rows
from wgfleet.panel.store import floating as floating_rows


def on_agent(tx: Tx, config_id: str) -> bool:
    """Tell whether agents carry the config's floating addresses; else they are a provider's, or there are none."""
    group = endpoint_group_rows.get(tx, config_id)
    try:
        return group is not None and plugins.installed().find(group.address_provider).on_agent
    except PermanentError:
        return False  # plugin not installed; the floating worker reports it


def nodes(tx: Tx, config_id: str) -> set[str]:
    """Return the nodes that a config is assigned to."""
    return {assignment.node_id for assignment, _ in floating_rows.carriers(tx, config_id)}
