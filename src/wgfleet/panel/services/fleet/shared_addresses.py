"""Addresses that two nodes have in common: what cannot work is refused, and the rest is said in words.

A config has one port on all its nodes, so two of them behind one address would be one to clients, unless a router
there has another public port for each. Nodes that have no config in common can share an address, behind NAT. The panel
finds an agent by host and port, so no two agents have the same.
"""

import ipaddress
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from wgfleet.panel.domain import public_ports
from wgfleet.panel.domain.fields import is_address
from wgfleet.panel.errors import Conflict
from wgfleet.panel.hints import Hint, HintCode
from wgfleet.panel.services.fleet import backbone
from wgfleet.panel.store import Tx
from wgfleet.panel.store import assignments as assignment_rows
from wgfleet.panel.store import configs as config_rows
from wgfleet.panel.store import endpoint_groups as endpoint_group_rows
from wgfleet.panel.store import host_names as host_name_rows
from wgfleet.panel.store import nodes as node_rows
from wgfleet.panel.store.nodes import AnyNode, NodePlace
from wgfleet.panel.store.tables import Config, Node
from wgfleet.protocol.reasons import Reason

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
CONCERNED = frozenset({"endpoint_addresses", "agent_host", "agent_port"})


@dataclass(frozen=True, slots=True)
class Place:
    """Where a node is, or shall be. `node_id` None: it is not made yet; `known`: the addresses that it has already."""

    node_id: str | None
    endpoint_addresses: Sequence[str]
    agent_host: str
    agent_port: int
    known: Collection[str] = ()

    @classmethod
    def of(cls, values: Mapping[str, Any], node: Node | None = None) -> Self:
        """Return the place of a node with new values, as columns; None: of one that is made with those."""
        if node is None:
            return cls(None, values["endpoint_addresses"], values["agent_host"], values["agent_port"])
        return cls(
            node.id,
            values.get("endpoint_addresses", node.endpoint_addresses),
            values.get("agent_host", node.agent_host),
            values.get("agent_port", node.agent_port),
            node.endpoint_addresses,
        )

    def hosts(self, names: Mapping[str, Collection[str]]) -> set[str]:
        """Return where its agent can be; `names`: the addresses of names. On loopback, it is that of this machine."""
        found = {self.agent_host, *names.get(self.agent_host, ())}
        if is_address(self.agent_host) and ipaddress.ip_address(self.agent_host).is_loopback:
            found |= set(self.endpoint_addresses)
        return found


def beside_panel(node: Node) -> bool:
    """Tell whether a node runs on the panel's machine: as its own, or with an agent that is called at `LOOPBACK`.

    Simulated fleets have the other addresses of 127.0.0.0/8, each for a machine of its own.
    """
    return node.is_panel_node or node.agent_host in LOOPBACK


def check(tx: Tx, place: Place, *, named: Collection[str]) -> None:
    """Refuse a place for a node that another one has. `named`: the fields by which it was chosen, or one for all."""
    config_rows.serialize_creation(tx)  # another node may be put there at the same time
    others = [node for node in node_rows.everything(tx) if node.id != place.node_id]
    _check_agent(tx, place, others, named)
    shared = _configs_by_node(tx, place.node_id)
    for i, address in enumerate(place.endpoint_addresses):
        for other in others:
            if other.id in shared and address in other.endpoint_addresses and address not in place.known:
                raise Conflict(
                    Reason(
                        "{address} is an address of node {other!r}, and both have config {config!r}, "
                        "which has one port on all its nodes: clients would reach only one of them; give one of them a "
                        "public port of its own there, if a router has one for it",
                        address=address,
                        other=other.name,
                        config=shared[other.id],
                    ),
                    field=f"endpoint_addresses[{i}]",
                )


def _check_agent(tx: Tx, place: Place, others: Collection[Node], named: Collection[str]) -> None:
    places = {node.name: Place.of({}, node) for node in others if node.agent_port == place.agent_port}
    hosts = {each.agent_host for each in (place, *places.values()) if not is_address(each.agent_host)}
    names = {name: row.addresses for name, row in host_name_rows.by_names(tx, hosts).items()}
    for name, other in places.items():
        if common := place.hosts(names) & other.hosts(names):
            host = min(common)
            raise Conflict(
                Reason(
                    "the agent of node {name!r} is at {host}, port {port}. If this is that machine, join it "
                    "as that node; if both are behind one address, their agents need ports of their own",
                    name=name,
                    host=host,
                    port=place.agent_port,
                ),
                Hint(HintCode.MAKE_JOIN_TOKEN, node=name),
                field=_field(place, host, named),
            )


def _field(place: Place, host: str, named: Collection[str]) -> str:
    """Name the field that put an agent where another one is."""
    if "endpoint_addresses" in named and "agent_host" not in named and host in place.endpoint_addresses:
        return f"endpoint_addresses[{list(place.endpoint_addresses).index(host)}]"
    return next(field for field in ("agent_host", "agent_port", "port", "endpoint_addresses") if field in named)


def check_assignment(tx: Tx, config: Config, node: Node, field: str, public_port: int | None = None) -> None:
    """Refuse a config on a node where clients would reach another assignment at the same address and port."""
    config_rows.serialize_creation(tx)
    wanted = _ports(tx, config, public_port)
    for other in node_rows.everything(tx):
        common = sorted({*node.endpoint_addresses} & {*other.endpoint_addresses})
        for assignment, has in assignment_rows.of_node(tx, other.id) if common else ():
            if (other.id, has.id) == (node.id, config.id) or (has.id != config.id and public_port is None):
                continue  # what other configs have at this address matters where a port is chosen
            # Where a port is chosen, those that are for the other nodes count too.
            of_nodes = set() if public_port is None else backbone.ports_outside(has, assignment.public_backbone_port)
            taken = sorted(wanted & {*_ports(tx, has, assignment.public_port), *of_nodes})
            if not taken:
                continue
            if has.id != config.id or taken[0] in of_nodes:
                whose = Reason("the backbone of ") if taken[0] in of_nodes else ""
                raise Conflict(
                    Reason(
                        "port {taken} of {common} leads to {whose}config {has!r} on node {other!r}; "
                        "choose another public port",
                        taken=taken[0],
                        common=common[0],
                        whose=whose,
                        has=has.name,
                        other=other.name,
                    ),
                    field=field,
                )
            raise Conflict(
                Reason(
                    "node {node!r} and node {other!r}, which has config {config!r}, are both at "
                    "{common}, and the config has one port on all its nodes: clients would reach only one of them; "
                    "give one of the nodes an address of its own, or a public port, if a router has one for it",
                    node=node.name,
                    other=other.name,
                    config=config.name,
                    common=common[0],
                ),
                field=field,
            )


def check_backbone_port(tx: Tx, config: Config, node: Node, public_port: int | None, port: int | None) -> None:
    """Refuse a port for a node's end of the backbone that leads elsewhere. `public_port`: that for its clients."""
    if port is None:
        return
    config_rows.serialize_creation(tx)
    if port in _ports(tx, config, public_port):
        detail = Reason(
            "port {port} leads to config {config!r} itself; choose another one for its backbone",
            port=port,
            config=config.name,
        )
        raise Conflict(detail, field="public_backbone_port")
    for other in node_rows.everything(tx):
        common = sorted({*node.endpoint_addresses} & {*other.endpoint_addresses})
        for assignment, has in assignment_rows.of_node(tx, other.id) if common else ():
            if (other.id, has.id) == (node.id, config.id):
                continue
            users = _ports(tx, has, assignment.public_port)
            if port in users | backbone.ports_outside(has, assignment.public_backbone_port):
                whose = "" if port in users else Reason("the backbone of ")
                raise Conflict(
                    Reason(
                        "port {port} of {common} leads to {whose}config {has!r} on node {other!r}; choose another one",
                        port=port,
                        common=common[0],
                        whose=whose,
                        has=has.name,
                        other=other.name,
                    ),
                    field="public_backbone_port",
                )


def _ports(tx: Tx, config: Config, own: int | None) -> frozenset[int]:
    """Return the ports at which a node may be reached for a config; `own`: its public port, if it has one."""
    return public_ports.all_of(config.listen_port, _files_port(tx, config), own)


def _files_port(tx: Tx, config: Config) -> int:
    group = endpoint_group_rows.get(tx, config.id)
    return config.listen_port if group is None else group.port


def warnings(tx: Tx, found: Collection[AnyNode]) -> dict[str, str]:
    """Say of nodes, by id, that another one has an address of theirs, and what that means."""
    at: dict[str, list[NodePlace]] = {}
    wanted = {address for node in found for address in node.endpoint_addresses}
    for place in node_rows.places(tx) if wanted else ():
        for address in wanted.intersection(place.endpoint_addresses):
            at.setdefault(address, []).append(place)
    said: dict[str, str] = {}
    for node in found:
        for address in node.endpoint_addresses:
            others = [other for other in at.get(address, ()) if other.id != node.id]
            if others:
                said[node.id] = _words(tx, node, address, others[0])
                break
    return said


def _words(tx: Tx, node: AnyNode, address: str, other: NodePlace) -> str:
    config = _configs_by_node(tx, node.id).get(other.id)
    if config is None:
        return Reason(
            "{address} is an address of node {node!r} too: no config can be on both at one port",
            address=address,
            node=other.name,
        )
    return Reason(
        "{address} is an address of node {node!r} too, and both have config {config!r}: clients reach only one of them "
        "there; take it off one of them",
        address=address,
        node=other.name,
        config=config,
    )


def _configs_by_node(tx: Tx, node_id: str | None) -> dict[str, str]:
    """Return the other nodes that have a config in common with a node at the same port, with the name of one."""
    found: dict[str, str] = {}
    for assignment, config in assignment_rows.of_node(tx, node_id) if node_id is not None else ():
        files_port = _files_port(tx, config)
        own = public_ports.all_of(config.listen_port, files_port, assignment.public_port)
        for others, other in assignment_rows.of_config(tx, config.id):
            if own & public_ports.all_of(config.listen_port, files_port, others.public_port):
                found.setdefault(other.id, config.name)
    return found
