"""The names that endpoint groups publish: one of a cluster, for all its nodes; of an independent config one a node.

A node has its name from when it serves until it has left: it is where the files lead that are for this node alone.
"""

from collections.abc import Collection

from wgfleet.panel.domain.dns.listing import DesiredAddresses
from wgfleet.panel.domain.dns.node_names import node_names
from wgfleet.panel.domain.phases import Phase
from wgfleet.panel.services.configs import INDEPENDENT
from wgfleet.panel.store import Tx
from wgfleet.panel.store import assignments as assignment_rows
from wgfleet.panel.store import configs as config_rows
from wgfleet.panel.store import endpoint_groups as endpoint_group_rows
from wgfleet.panel.store.tables import DnsSync, EndpointGroup, Node
from wgfleet.protocol.reasons import Reason


def name_of(group: EndpointGroup) -> str:
    """Return the name that a cluster's endpoint group publishes, or below which nodes have theirs."""
    return group.dns_record_name or group.domain


def is_of_nodes(tx: Tx, config_id: str) -> bool:
    """Tell whether each node of a config has a name of its own."""
    config = config_rows.find(tx, config_id)
    return config is not None and config.mode == INDEPENDENT


def of_group(tx: Tx, group: EndpointGroup) -> list[str]:
    """Return the names that a group publishes."""
    return list(_nodes(tx, group)) if is_of_nodes(tx, group.config_id) else [name_of(group)]


def of_files(tx: Tx, group: EndpointGroup) -> dict[str, str]:
    """Return the names of the nodes of an independent config, by their ids: those that files say."""
    assigned = assignment_rows.of_config(tx, group.config_id)
    return node_names([(node.id, node.name) for _, node in assigned], group.domain)


def _nodes(tx: Tx, group: EndpointGroup) -> dict[str, tuple[Node, Collection[str]]]:
    """Return the nodes that have a name, with the addresses where clients get no answer, by their names."""
    names = of_files(tx, group)
    return {
        names[node.id]: (node, assignment.silent_addresses)
        for assignment, node in assignment_rows.of_config(tx, group.config_id)
        if assignment.phase in {Phase.SERVING, Phase.DRAINING} and node.id in names
    }


def is_of(tx: Tx, sync: DnsSync, group: EndpointGroup | None) -> bool:
    """Tell whether a sync is for a name that a group publishes."""
    if group is None or (sync.provider, sync.zone) != (group.dns_provider, group.dns_zone or ""):
        return False
    return sync.name in of_group(tx, group)


def at_node(tx: Tx, group: EndpointGroup, name: str) -> DesiredAddresses:
    """Return what the name of a node lists: its addresses where clients get an answer, or all where they get none.

    Also those of one that is down or cordoned: its files lead to no other, and a name without addresses helps nobody.
    """
    found = _nodes(tx, group).get(name)
    if found is None:
        return DesiredAddresses(())
    node, silent = found
    answering = [address for address in node.endpoint_addresses if address not in silent]
    note = None if answering else Reason("no address of node {node} answers; all are listed", node=node.name)
    return DesiredAddresses(tuple(sorted(answering or node.endpoint_addresses)), note)


def of_renamed(tx: Tx, node: Node, before: str) -> list[str]:
    """Say what it means for users that a node is called otherwise than `before`."""
    said: list[str] = []
    for _, config in assignment_rows.of_node(tx, node.id) if node.name != before else ():
        group = endpoint_group_rows.get(tx, config.id) if config.mode == INDEPENDENT else None
        names = {} if group is None else node_names([("before", before), ("now", node.name)], group.domain)
        if "before" in names and "now" in names:
            said.append(
                Reason(
                    "files of config {config!r} for the node say {name}, and no longer lead to it; give users new ones",
                    config=config.name,
                    name=names["before"],
                )
            )
    return said
