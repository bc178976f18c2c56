"""The files that a user downloads: one stock file for a cluster, one a node for an independent config."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from wgfleet.panel import clock
from wgfleet.panel.domain import file_names, public_ports, rendering
from wgfleet.panel.domain.client_settings import InEffect, of_versions, without
from wgfleet.panel.domain.phases import Phase
from wgfleet.panel.domain.placement.place import may_use
from wgfleet.panel.errors import Conflict, NotFound
from wgfleet.panel.hints import Hint, HintCode
from wgfleet.panel.services import audit, configs
from wgfleet.panel.services.dns import published_names
from wgfleet.panel.services.fleet import client_settings, common_peers, desired, peer_nodes
from wgfleet.panel.store import Tx, new_files, sealed
from wgfleet.panel.store import addresses as address_rows
from wgfleet.panel.store import assignments as assignment_rows
from wgfleet.panel.store import endpoint_groups as endpoint_group_rows
from wgfleet.panel.store import peer_nodes as peer_node_rows
from wgfleet.panel.store import tags as tag_rows
from wgfleet.panel.store.tables import Assignment, Config, Node, Peer
from wgfleet.panel.vault import Vault
from wgfleet.protocol.reasons import Reason

Place = tuple[Assignment, Node]


@dataclass(frozen=True, slots=True)
class ClientFile:
    """A file for a user. `node_id` and `node_name` are None where it serves every node of a cluster."""

    node_id: str | None
    node_name: str | None
    file_name: str
    text: str = field(repr=False)
    values: rendering.ClientValues | None = field(default=None, repr=False)
    """What it is made of, for forms other than the stock one."""


def files(tx: Tx, vault: Vault, actor: str, peer: Peer) -> list[ClientFile]:
    """Render the files of a peer: one for a cluster, else one for each serving node that it may use."""
    new_files.taken(tx, [peer.id], clock.now())
    tx.refresh(peer)  # what was changed until it was locked is in the file, as its mark has gone
    config = configs.get(tx, peer.config_id)
    places = _usable(tx, config, peer, _serving(tx, config))
    audit.record(tx, actor, "read_config", "peer", peer.id, name=peer.name)
    if config.mode == configs.INDEPENDENT:
        home_first = sorted(places, key=lambda place: place[1].id != peer.home_node_id)
        return [_of_node(tx, vault, config, [peer], place)[peer.id] for place in home_first]
    return [_of_cluster(tx, vault, config, [peer], places)[peer.id]]


def one_each(tx: Tx, vault: Vault, config: Config, peers: Sequence[Peer], node: str | None) -> dict[str, ClientFile]:
    """Render one file for each of some peers of a config, by their ids, with a few queries for all of them.

    It is the first of those of each peer, or that for a node; those that may use none of the nodes are left out. That
    they are read is for the caller to have audited.
    """
    places = _serving(tx, config)
    if config.mode == configs.CLUSTER:
        if node is not None:
            raise NotFound(Reason("there is one file for all nodes, so leave `node` out"), field="node")
        return _of_cluster(tx, vault, config, peers, places)
    if (refused := _refusal(tx, config, places)) is not None:
        raise refused
    if node is not None:
        places = [place for place in places if node in {place[1].id, place[1].name}]
    if not places:
        names = ", ".join(sorted(each.name for _, each in _serving(tx, config)))
        raise NotFound(
            Reason("there are no files for node {node!r}; there are files for {names}", node=node, names=names),
            field="node",
        )
    by_node = {place[1].id: place for place in places}
    only = peer_node_rows.of_peers(tx, [peer.id for peer in peers])
    homed: dict[str, list[Peer]] = {}
    for peer in peers:
        able = [each.id for _, each in places if may_use(only.get(peer.id), each.id, each.group_id)]
        if able:
            homed.setdefault(peer.home_node_id if peer.home_node_id in able else able[0], []).append(peer)
    found: dict[str, ClientFile] = {}
    for node_id, of_node in homed.items():
        found |= _of_node(tx, vault, config, of_node, by_node[node_id])
    return found


def _usable(tx: Tx, config: Config, peer: Peer, places: Sequence[Place]) -> list[Place]:
    """Return the places that a peer may use; refuse where it may use none of those that there are."""
    only = peer_node_rows.of_peers(tx, [peer.id]).get(peer.id) if config.mode == configs.INDEPENDENT else None
    found = [place for place in places if may_use(only, place[1].id, place[1].group_id)]
    if places and not found:
        raise Conflict(
            Reason(
                "peer {peer!r} may use {nodes} only, and none of these serves config {config!r}",
                peer=peer.name,
                nodes=", ".join(peer_nodes.names(tx, only or ())) or Reason("nodes that are gone"),
                config=config.name,
            ),
            Hint(HintCode.ASSIGN_NODE, config=config.name),
        )
    return found


def refusal(tx: Tx, config: Config) -> Conflict | None:
    """Return why there are no files of a config: it has nothing that they could lead to. None: there are."""
    return _refusal(tx, config, _serving(tx, config))


def _refusal(tx: Tx, config: Config, places: Sequence[Place]) -> Conflict | None:
    if places:
        return None
    if config.mode == configs.INDEPENDENT:
        return Conflict(
            Reason("config {config!r} has no serving node, so there is no file", config=config.name),
            Hint(HintCode.ASSIGN_NODE, config=config.name),
        )
    if endpoint_group_rows.get(tx, config.id) is not None:
        return None
    return Conflict(
        Reason(
            "config {config!r} has neither a domain nor a serving node, so a file would have no endpoint",
            config=config.name,
        ),
        Hint(HintCode.ASSIGN_NODE, config=config.name),
        Hint(HintCode.MAKE_ENDPOINT_GROUP, config=config.name),
    )


def note_set_out(tx: Tx, peer_ids: Sequence[str], sending: str) -> None:
    """Note that the files of many peers, which `one_each` makes after this, are on their way."""
    new_files.set_out(tx, peer_ids, sending)


def note_arrived(tx: Tx, peer_ids: Sequence[str], sending: str) -> None:
    """Note that they were sent, all of the sending to its end: so they are taken."""
    new_files.arrived(tx, peer_ids, sending, clock.now())


def note_reading(tx: Tx, actor: str, config: Config, peers: int, **which: Any) -> None:
    """Have it in the audit log that somebody read the files of many peers. `which`: what they were filtered by."""
    audit.record(tx, actor, "read_configs", "config", config.id, name=config.name, peers=peers, **which)


def _serving(tx: Tx, config: Config) -> list[Place]:
    """Return the nodes that files may lead to: those that stay, where there are any."""
    serving = [
        (a, node) for a, node in assignment_rows.of_config(tx, config.id) if a.phase in {Phase.SERVING, Phase.DRAINING}
    ]
    return [(a, node) for a, node in serving if a.phase == Phase.SERVING] or serving


def settings(tx: Tx, peer: Peer, at: Assignment | None = None) -> dict[str, InEffect]:
    """Return the settings of a peer's file, and what set each. `at`: the node that the file leads to, if to one."""
    config = configs.get(tx, peer.config_id)
    return client_settings.in_effect(config, peer, tag_rows.of_peer(tx, peer.id), _port(tx, config, at))


def _port(tx: Tx, config: Config, at: Assignment | None) -> int:
    """Return the port that files say where nothing else is set."""
    group = endpoint_group_rows.get(tx, config.id) if config.mode == configs.CLUSTER else None
    port = config.listen_port if group is None else group.port
    return port if at is None else public_ports.of_clients(port, at.public_port)


def _of_cluster(
    tx: Tx, vault: Vault, config: Config, peers: Sequence[Peer], nodes: Sequence[Place]
) -> dict[str, ClientFile]:
    if (refused := _refusal(tx, config, nodes)) is not None:
        raise refused
    group = endpoint_group_rows.get(tx, config.id)
    ends = {
        node.id: (public_ports.of_clients(config.listen_port, at.public_port), _host(node))
        for at, node in (nodes if group is None else ())
    }
    end = next(iter(ends.values())) if group is None else (group.port, group.domain)
    ids = [peer.id for peer in peers]
    tags, addresses = tag_rows.of_peers(tx, ids), address_rows.of_peers(tx, ids, config.id)
    maker = _Maker(vault, config, [pool.network for pool in assignment_rows.pools(tx, config.id)])
    homes = {node.id: node.name for _, node in nodes}
    found: dict[str, ClientFile] = {}
    for peer in peers:
        port, host = ends.get(peer.home_node_id or "", end)
        home = homes.get(peer.home_node_id or "", "")
        said = client_settings.values(client_settings.in_effect(config, peer, tags.get(peer.id, ()), port))
        values = maker.values(peer, addresses.get(peer.id, []), config.public_key or "", host, said)
        found[peer.id] = ClientFile(None, None, _file_name(config, peer, home), rendering.client_file(values), values)
    return found


def _host(node: Node) -> str:
    """Return where a file of one node leads: its name, if its addresses change."""
    return node.endpoint_name or node.endpoint_addresses[0]


def _file_name(config: Config, peer: Peer, node: str) -> str:
    """Return what a file is called: by the config's template, or after the config, and the node where it is of one."""
    template = config.file_names or ("{config}" if config.mode == configs.CLUSTER else "{config}-{node}")
    return f"{file_names.filled_in(template, config=config.name, peer=peer.name, node=node)}.conf"


def _of_node(tx: Tx, vault: Vault, config: Config, peers: Sequence[Peer], place: Place) -> dict[str, ClientFile]:
    assignment, node = place
    pools = desired.served_pools(tx, config, assignment)
    ids = [peer.id for peer in peers]
    addresses = address_rows.of_peers_in_pools(tx, [pool.id for pool in pools], ids)
    tags, port = tag_rows.of_peers(tx, ids), _port(tx, config, assignment)
    maker = _Maker(vault, config, [pool.network for pool in pools])
    group = endpoint_group_rows.get(tx, config.id)
    host = (published_names.of_files(tx, group).get(node.id) if group is not None else None) or _host(node)
    found: dict[str, ClientFile] = {}
    for peer in peers:
        said = client_settings.values(client_settings.in_effect(config, peer, tags.get(peer.id, ()), port))
        own = addresses.get(peer.id, [])
        values = maker.values(peer, own, assignment.public_key or "", host, said)
        found[peer.id] = ClientFile(
            node.id, node.name, _file_name(config, peer, node.name), rendering.client_file(values), values
        )
    return found


class _Maker:
    """Puts together what files are made of. What many peers have in common is worked out once."""

    def __init__(self, vault: Vault, config: Config, pools: Sequence[str]) -> None:
        self._vault, self._config, self._pools = vault, config, list(pools)
        self._allowed: dict[tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]], tuple[str, ...]] = {}

    def values(
        self, peer: Peer, addresses: list[str], public_key: str, host: str, said: Mapping[str, Any]
    ) -> rendering.ClientValues:
        """Return what the file of a peer is made of, whose settings are `said`."""
        excluded, pools = said["excluded_networks"], self._pools
        # A file without any address would be of no use: the only version that there is stays.
        if usable := of_versions(addresses, excluded):
            addresses, pools = usable, of_versions(pools, excluded)
        private_key = None
        if peer.private_key_sealed is not None:
            private_key = sealed.unseal(self._vault, Peer.private_key_sealed, peer)
        return rendering.ClientValues(
            title=f"{peer.name} on {self._config.name}",
            private_key=private_key,
            addresses=tuple(addresses),
            dns=tuple(of_versions(said["dns"], excluded if usable else ())),
            mtu=said["mtu"],
            server_public_key=public_key,
            preshared_key=common_peers.preshared_key(self._vault, peer),
            allowed_ips=rendering.allowed_in_file(
                self._routed(said["client_allowed_ips"], excluded, pools), peer.networks, pools
            ),
            endpoint=rendering.endpoint(host, said["endpoint_port"]),
            keepalive=said["keepalive"],
        )

    def _routed(self, allowed: Sequence[str], excluded: Sequence[str], pools: Sequence[str]) -> tuple[str, ...]:
        """Return what is allowed without what is excluded: up to 512 networks, the same for nearly all peers."""
        key = tuple(allowed), tuple(excluded), tuple(pools)
        if key not in self._allowed:
            self._allowed[key] = without(allowed, excluded, pools)
        return self._allowed[key]
