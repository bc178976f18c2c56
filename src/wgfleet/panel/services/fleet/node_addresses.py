"""The addresses of peers of independent configs, each with the node whose slice of the pools it is of."""

import ipaddress
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from wgfleet.panel.domain.placement.place import may_use
from wgfleet.panel.services.configs import INDEPENDENT
from wgfleet.panel.store import Tx
from wgfleet.panel.store import assignments as assignment_rows
from wgfleet.panel.store import configs as config_rows
from wgfleet.panel.store import peer_nodes as peer_node_rows
from wgfleet.panel.store.shown_peers import ShownPeer
from wgfleet.panel.store.tables import Node


class NodeAddresses(NamedTuple):
    """The addresses that a peer has at a node."""

    node_id: str
    node: str
    addresses: list[str]


def of_peers(
    tx: Tx, peers: Sequence[ShownPeer], addresses: Mapping[str, Sequence[str]]
) -> dict[str, list[NodeAddresses]]:
    """Return the addresses of peers by node, by peer id: at those that they may use; peers of clusters are left out.

    `addresses`: all that they have, by peer id.
    """
    found: dict[str, list[NodeAddresses]] = {}
    for config_id in {peer.config_id for peer in peers}:
        config = config_rows.find(tx, config_id)
        if config is None or config.mode != INDEPENDENT:
            continue
        of_config = [peer for peer in peers if peer.config_id == config_id]
        only = peer_node_rows.of_peers(tx, [peer.id for peer in of_config])
        slices = _Slices(tx, config_id)
        for peer in of_config:
            found[peer.id] = slices.by_node(addresses.get(peer.id, ()), only.get(peer.id))
    return found


class _Slices:
    """Tells whose slice of the pools an address is of."""

    def __init__(self, tx: Tx, config_id: str) -> None:
        assigned = assignment_rows.of_config(tx, config_id)
        self._nodes = {assignment.id: node for assignment, node in assigned}
        self._owners = {
            ipaddress.ip_network(pool.network): pool.assignment_id
            for pool in assignment_rows.slices(tx, config_id)
            if pool.assignment_id in self._nodes
        }
        self._lengths = {(each.version, each.prefixlen) for each in self._owners}

    def by_node(self, addresses: Sequence[str], only: Collection[str] | None) -> list[NodeAddresses]:
        """Return addresses by node, in the order in which the config was assigned to them."""
        held: dict[str, list[str]] = {each: [] for each in self._nodes}
        for text in addresses:
            owner = self._owner(text)
            if owner is not None:
                held[owner].append(text)
        return [
            NodeAddresses(node.id, node.name, held[each])
            for each, node in self._nodes.items()
            if held[each] and _usable(node, only)
        ]

    def _owner(self, text: str) -> str | None:
        address = ipaddress.ip_address(text)
        for version, length in self._lengths:
            if version == address.version:
                network = ipaddress.ip_network((text, length), strict=False)
                if network in self._owners:
                    return self._owners[network]
        return None


def _usable(node: Node, only: Collection[str] | None) -> bool:
    return may_use(only, node.id, node.group_id)
