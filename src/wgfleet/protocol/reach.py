"""Exceptions from the filter of an interface: what its users reach beyond each other, their networks and the uplink."""

import re

from msgspec import Struct

from wgfleet.protocol.addresses import LAST_PORT, parse_network
from wgfleet.protocol.errors import FieldError
from wgfleet.protocol.ids import InterfaceName, parse_interface_name
from wgfleet.protocol.reasons import Reason

_NODE_PORT = re.compile(r"(?P<protocol>tcp|udp)/(?P<first>[1-9][0-9]{0,4})(?:-(?P<last>[1-9][0-9]{0,4}))?")


class Reach(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Exceptions from the filter of an interface, by which users reach no service of the node and no other config.

    `node_ports` of the node itself are open to users (`udp/53`, `tcp/8000-8100`), but for the agent's own, whatever is
    said here. `interfaces` are other interfaces of the same agent that they reach, and `denied_networks` are reached
    through no other link. Without `client_to_client` users reach neither each other nor the networks behind peers.
    """

    node_ports: tuple[str, ...] = ()
    denied_networks: tuple[str, ...] = ()
    interfaces: tuple[InterfaceName, ...] = ()
    client_to_client: bool = True


def parse_node_port(text: str, field: str) -> str:
    """Parse `PROTOCOL/PORT` or `PROTOCOL/FIRST-LAST` into canonical form; raise `FieldError` naming `field`."""
    found = _NODE_PORT.fullmatch(text)
    first = int(found["first"]) if found else 0
    last = int(found["last"] or first) if found else 0
    if found is None or not first <= last <= LAST_PORT:
        raise FieldError(
            field, Reason("must be a protocol and a port, or a range of ports, such as udp/53 or tcp/8000-8100")
        )
    return f"{found['protocol']}/{first}" if first == last else f"{found['protocol']}/{first}-{last}"


def is_open(node_port: str, protocol: str, port: int) -> bool:
    """Tell whether a port is among those of a parsed `PROTOCOL/PORT` or `PROTOCOL/FIRST-LAST`."""
    of, _, numbers = node_port.partition("/")
    first, _, last = numbers.partition("-")
    return of == protocol and int(first) <= port <= int(last or first)


def check_reach(reach: Reach, where: str = "settings.reach") -> None:
    """Raise `FieldError` unless every value is in canonical form."""
    for i, port in enumerate(reach.node_ports):
        _same(parse_node_port(port, f"{where}.node_ports[{i}]"), port, f"{where}.node_ports[{i}]")
    for i, network in enumerate(reach.denied_networks):
        _same(parse_network(network, f"{where}.denied_networks[{i}]"), network, f"{where}.denied_networks[{i}]")
    for i, name in enumerate(reach.interfaces):
        parse_interface_name(name, f"{where}.interfaces[{i}]")


def _same(canonical: str, text: str, field: str) -> None:
    if canonical != text:
        raise FieldError(
            field, Reason("{text!r} is not in canonical form; write {canonical}", text=text, canonical=canonical)
        )
