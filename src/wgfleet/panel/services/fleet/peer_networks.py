"""Networks behind peers: each belongs to one peer, and to no pool, or WireGuard would take it from the other."""

import ipaddress
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Network, IPv6Network
from itertools import chain
from typing import NamedTuple

from wgfleet.panel.domain.taken_networks import TakenNetworks
from wgfleet.panel.domain.tunnel_networks import NeededAddresses
from wgfleet.panel.errors import Conflict, Exhausted, Invalid
from wgfleet.panel.services import configs, tunnel_networks
from wgfleet.panel.store import Tx
from wgfleet.panel.store import assignments as assignment_rows
from wgfleet.panel.store import configs as config_rows
from wgfleet.panel.store import peers as peer_rows
from wgfleet.panel.store.tables import Config, Node, Peer
from wgfleet.protocol.addresses import parse_network
from wgfleet.protocol.errors import FieldError
from wgfleet.protocol.reasons import Reason

MAX_NETWORKS = 20_000
"""In a config, its pools among them: each is a route on every node, and is read whenever one is added."""
_SAME = Reason("another network of the same request")
AnyNetwork = IPv4Network | IPv6Network


class _InTheWay(NamedTuple):
    """What networks of peers are checked against."""

    outside: NeededAddresses
    taken: TakenNetworks
    elsewhere: TakenNetworks


class ChangedNetworks:
    """Networks of peers of one config that are changed in one transaction: what there are is read once.

    `panel_hosts` are the panel's own, each with what it is.
    """

    def __init__(self, panel_hosts: Mapping[str, str] = tunnel_networks.NOTHING) -> None:
        self._panel_hosts = panel_hosts
        self._found: _InTheWay | None = None

    def check(self, tx: Tx, config: Config, peer: Peer, wanted: Sequence[str], field: str) -> None:
        """Raise unless a peer may have these networks instead of its own; the transaction is then to be given up."""
        if wanted and self._found is None:
            self._found = _in_the_way(tx, config, self._panel_hosts)
        if self._found is not None:
            for own in peer.networks:
                self._found.taken.release(ipaddress.ip_network(own), _owner(peer.name))
            for network in _taken(self._found, wanted, field):
                self._found.taken.release(network, _SAME)
                self._found.taken.take(network, _owner(peer.name))


def check(
    tx: Tx,
    config: Config,
    wanted: Sequence[tuple[Sequence[str], str]],
    *,
    panel_hosts: Mapping[str, str] = tunnel_networks.NOTHING,
    pools: Sequence[str] | None = None,
) -> None:
    """Raise unless each (networks, field) of a new peer may be had.

    `panel_hosts` as in `ChangedNetworks`. `pools`: the networks of a config that is not there yet.
    """
    if not any(networks for networks, _ in wanted):
        return
    found = _in_the_way(tx, config, panel_hosts, pools)
    for networks, field in wanted:
        _taken(found, networks, field)


def had(
    tx: Tx,
    config: Config,
    wanted: Sequence[tuple[str, Sequence[str]]],
    *,
    panel_hosts: Mapping[str, str] = tunnel_networks.NOTHING,
    pools: Sequence[str] | None = None,
) -> list[dict[str, str | None]]:
    """Say of the networks of new peers, each given with its name, who or what is in the way of it; None: nothing.

    A text that is no network is left for `check` to refuse.
    The order decides who has what several ask for. `panel_hosts` and `pools` as in `check`.
    """
    if not any(networks for _, networks in wanted):
        return [{} for _ in wanted]
    found = _in_the_way(tx, config, panel_hosts, pools)
    return [{network: _refusal(found, name, network) for network in networks} for name, networks in wanted]


def _refusal(found: _InTheWay, name: str, text: str) -> str | None:
    try:
        (network,) = _taken(found, [text], "networks")
    except (Conflict, Invalid) as error:
        return error.said or error.detail
    except FieldError:
        return None
    found.taken.release(network, _SAME)
    found.taken.take(network, _owner(name))
    return None


def _in_the_way(
    tx: Tx, config: Config, panel_hosts: Mapping[str, str], pools: Sequence[str] | None = None
) -> _InTheWay:
    own = configs.networks(tx, [config.id])[config.id] if pools is None else pools
    behind = ((network, _owner(owner)) for network, owner in peer_rows.networks_by_peer(tx, config.id))
    taken = TakenNetworks(chain(((network, Reason("a pool of the config")) for network in own), behind))
    return _InTheWay(tunnel_networks.needed(tx, panel_hosts), taken, _elsewhere(tx, config))


def _elsewhere(tx: Tx, config: Config) -> TakenNetworks:
    """Return what other configs have: a node has one route for a network, and theirs would get its packets.

    Pools of all, and networks behind peers of those that a node of this one serves too.
    """
    pools = [
        (network, Reason("a pool of config {config!r}", config=name))
        for network, name in config_rows.all_pools(tx)
        if name != config.name
    ]
    behind = [
        (network, Reason("the networks of peer {name!r} of config {config!r}", name=owner, config=other.name))
        for other in beside(tx, config)
        for network, owner in peer_rows.networks_by_peer(tx, other.id)
    ]
    return TakenNetworks(pools + behind)


def beside(tx: Tx, config: Config) -> list[Config]:
    """Return the other configs that nodes of this one serve."""
    found = {
        other.id: other
        for _, node in assignment_rows.of_config(tx, config.id)
        for _, other in assignment_rows.of_node(tx, node.id)
        if other.id != config.id
    }
    return [found[each] for each in sorted(found)]


def check_beside(tx: Tx, config: Config, node: Node) -> None:
    """Refuse a node that serves a config with a network behind a peer which a peer of this one has, too."""
    own = TakenNetworks(peer_rows.networks_by_peer(tx, config.id))
    if not len(own):
        return
    for _, other in assignment_rows.of_node(tx, node.id):
        for network, owner in peer_rows.networks_by_peer(tx, other.id) if other.id != config.id else ():
            taken = own.overlapping(ipaddress.ip_network(network))
            if taken is not None:
                raise Conflict(
                    Reason(
                        "node {node!r} serves config {other!r}, whose peer {owner!r} has {network} behind it; here "
                        "peer {peer!r} has {taken}, and a node has one route for both: choose another node",
                        node=node.name,
                        other=other.name,
                        owner=owner,
                        network=network,
                        peer=taken.owner,
                        taken=taken.network,
                    )
                )


def _owner(name: str) -> str:
    return Reason("the networks of peer {name!r}", name=name)


def _taken(found: _InTheWay, networks: Sequence[str], field: str) -> list[AnyNetwork]:
    """Take networks that nothing is in the way of; return them."""
    given = []
    for i, text in enumerate(networks):
        at = f"{field}[{i}]"
        network = ipaddress.ip_network(parse_network(text, at))
        if network.prefixlen == 0:
            raise Invalid(Reason("a peer cannot have a default route as its network; list its own networks"), field=at)
        tunnel_networks.check(network, at, found.outside)
        other = found.elsewhere.overlapping(network) or found.taken.take(network, _SAME)
        if other is not None:
            raise Conflict(
                Reason("{network} overlaps {other}, {owner}", network=network, other=other.network, owner=other.owner),
                field=at,
            )
        if len(found.taken) > MAX_NETWORKS:
            raise Exhausted(
                Reason(
                    "a config can have {max_networks} networks behind its peers, each a route on every node; "
                    "combine neighboring networks, or use another config",
                    max_networks=MAX_NETWORKS,
                ),
                field=at,
            )
        given.append(network)
    return given
