"""Files that say something of a node, and are out of date when that is another: marked, so that they are found."""

from collections.abc import Collection

from wgfleet.panel.domain.dns.node_names import node_names
from wgfleet.panel.services import configs
from wgfleet.panel.store import Tx, new_files
from wgfleet.panel.store import assignments as assignment_rows
from wgfleet.panel.store import endpoint_groups as endpoint_group_rows
from wgfleet.panel.store.tables import Config, Node, Operation

_ADDRESSES = frozenset({"endpoint_addresses", "endpoint_name"})


def node_changed(tx: Tx, node: Node, changed: Collection[str], former_name: str) -> None:
    """Mark those that lead to a node by an address or a name that is another now."""
    addressed = not _ADDRESSES.isdisjoint(changed)
    for config in sorted((each for _, each in assignment_rows.of_node(tx, node.id)), key=lambda each: each.id):
        if config.mode == configs.INDEPENDENT:
            _names_changed(tx, config, node, former_name, addressed=addressed)
        elif addressed and endpoint_group_rows.get(tx, config.id) is None:
            new_files.of_home(tx, config.id, node.id)


def _names_changed(tx: Tx, config: Config, node: Node, former_name: str, *, addressed: bool) -> None:
    """Mark those of an independent config: where a node has a name below its domain, they say that."""
    group = endpoint_group_rows.get(tx, config.id)
    assigned = [each for _, each in assignment_rows.of_config(tx, config.id)]
    before: dict[str, str] = {}
    after: dict[str, str] = {}
    if group is not None:
        former = [(each.id, former_name if each.id == node.id else each.name) for each in assigned]
        before = node_names(former, group.domain)
        after = node_names([(each.id, each.name) for each in assigned], group.domain)
    for each in assigned:
        by_address = addressed and each.id == node.id and each.id not in after
        if by_address or before.get(each.id) != after.get(each.id):
            new_files.of_users(tx, config.id, each)


def port_changed(tx: Tx, config: Config, node: Node) -> None:
    """Mark those that lead to a node by its public port; those with a port of their own say that."""
    if config.mode == configs.INDEPENDENT:
        new_files.of_users(tx, config.id, node, {"endpoint_port"})
    elif endpoint_group_rows.get(tx, config.id) is None:
        new_files.of_home(tx, config.id, node.id, {"endpoint_port"})


def node_left(tx: Tx, config: Config, node: Node, operation: Operation) -> None:
    """Mark those of an independent config that have a file for a node; of a cluster those that led to it by address."""
    if config.mode == configs.INDEPENDENT:
        new_files.of_users(tx, config.id, node)
    elif endpoint_group_rows.get(tx, config.id) is None:
        new_files.of_moves(tx, operation.id, node.id)
