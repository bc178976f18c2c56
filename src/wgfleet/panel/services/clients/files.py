"""The files that a user downloads: one stock file for a cluster, one a node for an independent config."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from wgfleet.panel.domain import public_ports, rendering
from wgfleet.panel.domain.client_settings import InEffect, of_versions, without
from wgfleet.panel.domain.file_names import is_device
from wgfleet.panel.domain.phases import Phase
from wgfleet.panel.errors import Conflict
from wgfleet.panel.hints import Hint, HintCode
from wgfleet.panel.services import audit, configs
from wgfleet.panel.services.fleet import client_settings, common_peers, desired
from wgfleet.panel.store import Tx, sealed
from wgfleet.panel.store import addresses as address_rows
from wgfleet.panel.store import assignments as assignment_rows
from wgfleet.panel.store import endpoint_groups as endpoint_group_rows
from wgfleet.panel.store.tables import Assignment, Config, Node, Peer
from wgfleet.panel.vault import Vault

MAX_STEM = 15  # wg-quick names the interface after the file, and IFNAMSIZ leaves 15 characters


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
    """Render the files of a peer: one for a cluster, one for each serving node of an independent config."""
    config = configs.get(tx, peer.config_id)
    serving = [
        (a, node) for a, node in assignment_rows.of_config(tx, config.id) if a.phase in {Phase.SERVING, Phase.DRAINING}
    ]
    steady = [(a, node) for a, node in serving if a.phase == Phase.SERVING] or serving
    audit.record(tx, actor, "read_config", "peer", peer.id, name=peer.name)
    if config.mode == configs.INDEPENDENT:
        home_first = sorted(steady, key=lambda pair: pair[1].id != peer.home_node_id)
        return [_of_node(tx, vault, config, peer, assignment, node) for assignment, node in home_first]
    return [_of_cluster(tx, vault, config, peer, steady)]


def settings(tx: Tx, peer: Peer, at: Assignment | None = None) -> dict[str, InEffect]:
    """Return the settings of a peer's file, and what set each. `at`: the node that the file leads to, if to one."""
    config = configs.get(tx, peer.config_id)
    return client_settings.in_effect(tx, config, peer, _port(tx, config, at))


def _port(tx: Tx, config: Config, at: Assignment | None) -> int:
    """Return the port that files say where nothing else is set."""
    group = endpoint_group_rows.get(tx, config.id) if config.mode == configs.CLUSTER else None
    port = config.listen_port if group is None else group.port
    return port if at is None else public_ports.of_clients(port, at.public_port)


def _of_cluster(tx: Tx, vault: Vault, config: Config, peer: Peer, nodes: list[tuple[Assignment, Node]]) -> ClientFile:
    group = endpoint_group_rows.get(tx, config.id)
    if group is not None:
        said = client_settings.values(settings(tx, peer))
        endpoint = rendering.endpoint(group.domain, said["endpoint_port"])
    elif nodes:
        at, home = next((pair for pair in nodes if pair[1].id == peer.home_node_id), nodes[0])
        said = client_settings.values(settings(tx, peer, at))
        endpoint = rendering.endpoint(_host(home), said["endpoint_port"])
    else:
        raise Conflict(
            f"config {config.name!r} has neither a domain nor a serving node, so a file would have no endpoint",
            Hint(HintCode.ASSIGN_NODE, config=config.name),
            Hint(HintCode.SET_ENDPOINT_GROUP, config=config.name),
        )
    addresses = address_rows.of_peers(tx, [peer.id], config.id).get(peer.id, [])
    pools = [pool.network for pool in assignment_rows.pools(tx, config.id)]
    values = _values(vault, config, peer, addresses, config.public_key or "", endpoint, pools, said)
    return ClientFile(None, None, f"{_stem(config.name)}.conf", rendering.client_file(values), values)


def _host(node: Node) -> str:
    """Return where a file of one node leads: its name, if its addresses change."""
    return node.endpoint_name or node.endpoint_addresses[0]


def _stem(name: str) -> str:
    """Return a file's name for a config, which must not be one of Windows' devices."""
    return f"wg-{name}"[:MAX_STEM] if is_device(name) else name


def _of_node(tx: Tx, vault: Vault, config: Config, peer: Peer, assignment: Assignment, node: Node) -> ClientFile:
    pools = desired.served_pools(tx, config, assignment)
    addresses = address_rows.of_peers_in_pools(tx, [pool.id for pool in pools], [peer.id]).get(peer.id, [])
    said = client_settings.values(settings(tx, peer, assignment))
    endpoint = rendering.endpoint(_host(node), said["endpoint_port"])
    networks = [pool.network for pool in pools]
    values = _values(vault, config, peer, addresses, assignment.public_key or "", endpoint, networks, said)
    stem = _stem(f"{config.name}-{node.name}")
    stem = "".join(c if c.isascii() and (c.isalnum() or c in "_=+.-") else "-" for c in stem)
    if len(stem) > MAX_STEM:
        # Two names that begin alike must not give one file, where the second replaces the first.
        digest = hashlib.sha256(f"{config.name}-{node.name}".encode()).hexdigest()
        stem = f"{stem[: MAX_STEM - 5]}-{digest[:4]}"
    return ClientFile(node.id, node.name, f"{stem}.conf", rendering.client_file(values), values)


def _values(
    vault: Vault,
    config: Config,
    peer: Peer,
    addresses: list[str],
    public_key: str,
    endpoint: str,
    pools: list[str],
    said: Mapping[str, Any],
) -> rendering.ClientValues:
    excluded = said["excluded_networks"]
    # A file without any address would be of no use: the only version that there is stays.
    if usable := of_versions(addresses, excluded):
        addresses, pools = usable, of_versions(pools, excluded)
    private_key = None
    if peer.private_key_sealed is not None:
        private_key = sealed.unseal(vault, Peer.private_key_sealed, peer)
    return rendering.ClientValues(
        title=f"{peer.name} on {config.name}",
        private_key=private_key,
        addresses=tuple(addresses),
        dns=tuple(of_versions(said["dns"], excluded if usable else ())),
        mtu=said["mtu"],
        server_public_key=public_key,
        preshared_key=common_peers.preshared_key(vault, peer),
        allowed_ips=rendering.allowed_in_file(
            without(said["client_allowed_ips"], excluded, pools), peer.networks, pools
        ),
        endpoint=endpoint,
        keepalive=said["keepalive"],
    )
