"""The backbone: what a node gets of the links to the other nodes of a config, and what nodes tell each other over them.

Each node has a number, and so an address of its own on the links; no pool can have one, since they are link-local.
Nodes say which of the config's peers have their session with them (`News`), what they have heard (`Hello`), and which
TCP connections of users go through their NAT (`Flows`).
"""

import ipaddress
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from wgfleet.protocol.addresses import parse_endpoint, parse_port
from wgfleet.protocol.errors import FieldError
from wgfleet.protocol.keys import PrivateKey, PublicKey, parse_private_key, parse_public_key
from wgfleet.protocol.reasons import Reason

_FIRST = int(ipaddress.IPv4Address("169.254.64.0"))  # up to 169.254.127.255: away from 169.254.169.254 and the like
MAX_NUMBER = 2**14 - 1
NEWS_PORT = 51899  # UDP, on the nodes' addresses on the links
MAX_DATAGRAM = 1200  # bytes of entries; with IP, UDP and what else there is around them it fits the link
MAX_COUNT = 2**40
MAX_NETWORKS = 512  # of one peer
MAX_FLOWS = 4000  # of one node
FLOWS_IN_DATAGRAM = MAX_DATAGRAM // 14  # of IPv4; one of IPv6 counts as three
Number = Annotated[int, Meta(ge=1, le=MAX_NUMBER)]
Sequence = Annotated[int, Meta(ge=0, le=2**62)]


class BackboneNode(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Another node of the config. `name` is for people; `endpoint` is where its link listens."""

    number: Number
    name: str
    public_key: PublicKey
    endpoint: str


class Backbone(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The links of a node: its number, key and UDP port, and the other nodes.

    `tunnel_port` is used on the links only: packets of users go from node to node in VXLAN.
    """

    number: Number
    private_key: PrivateKey
    port: int
    tunnel_port: int
    nodes: tuple[BackboneNode, ...] = ()

    def __repr__(self) -> str:
        """Leave out the key."""
        return f"Backbone(number={self.number}, port={self.port}, nodes={self.nodes!r})"


class Here(Struct, frozen=True, array_like=True, gc=False):
    """A peer that has its session with the node that says so, or had it last.

    Of two nodes that claim a peer the one with the higher `count` has it, then the one with the higher number.
    `age` in s: how long ago the handshake was that made it so. `networks`: its allowed IPs.
    """

    key: Annotated[bytes, Meta(min_length=32, max_length=32)]
    count: Annotated[int, Meta(ge=1, le=MAX_COUNT)]
    age: Annotated[float, Meta(ge=0, le=1e9)]
    networks: Annotated[tuple[str, ...], Meta(max_length=MAX_NETWORKS)]


class News(Struct, frozen=True, array_like=True, tag=1):
    """What has changed on a node between `base` and `upto`, since the start `epoch` of its agent.

    `gone`: peers that it claims no more.
    """

    epoch: Sequence
    base: Sequence
    upto: Sequence
    here: tuple[Here, ...] = ()
    gone: tuple[Annotated[bytes, Meta(min_length=32, max_length=32)], ...] = ()


class Hello(Struct, frozen=True, array_like=True, tag=2):
    """Sent all the time: how far the sender's own news go, and how far it has heard those of the receiver.

    `hears`: whether it heard anything of the receiver lately. A link may be broken in one direction only. `keeps`:
    whether connections of users that go on through its NAT may be sent to it.
    """

    epoch: Sequence
    upto: Sequence
    heard_epoch: Sequence
    heard: Sequence
    hears: bool
    keeps: bool = False


class Flows(Struct, frozen=True, array_like=True, tag=3):
    """A part of a list of the TCP connections of users that the sender's NAT carries.

    All parts have the same `listing`; another one replaces that before it. A flow is the user's address and port, then
    the server's, in network order: 12 bytes for IPv4, 36 for IPv6.
    """

    listing: Sequence
    flows: Annotated[tuple[Annotated[bytes, Meta(min_length=12, max_length=36)], ...], Meta(max_length=100)] = ()


Datagram = News | Hello | Flows
_DECODER = msgspec.msgpack.Decoder(Datagram)


def encode(message: Datagram) -> bytes:
    """Return the datagram."""
    return msgspec.msgpack.encode(message)


def decode(data: bytes) -> Datagram | None:
    """Return what a datagram says; None if that is nothing of ours."""
    try:
        found: Datagram = _DECODER.decode(data)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    return found


def address(number: int) -> str:
    """Return the address of a node on the links, by its number."""
    return str(ipaddress.IPv4Address(_FIRST + number))


def number_of(text: str) -> int:
    """Return the number of the node that has an address on the links."""
    return int(ipaddress.IPv4Address(text)) - _FIRST


def check_backbone(backbone: Backbone, where: str = "settings.backbone") -> None:
    """Raise `FieldError` unless every value is in range and in canonical form, and no two nodes are confused."""
    parse_private_key(backbone.private_key, f"{where}.private_key")
    parse_port(backbone.port, f"{where}.port")
    parse_port(backbone.tunnel_port, f"{where}.tunnel_port")
    if backbone.port == backbone.tunnel_port:
        raise FieldError(f"{where}.tunnel_port", Reason("must not be the port of the link itself"))
    numbers, keys = {backbone.number}, set[str]()
    for i, node in enumerate(backbone.nodes):
        field = f"{where}.nodes[{i}]"
        parse_public_key(node.public_key, f"{field}.public_key")
        if parse_endpoint(node.endpoint, f"{field}.endpoint") != node.endpoint:
            raise FieldError(
                f"{field}.endpoint", Reason("{endpoint!r} is not in canonical form", endpoint=node.endpoint)
            )
        if node.number in numbers:
            raise FieldError(f"{field}.number", Reason("{number} is that of another node", number=node.number))
        if node.public_key in keys:
            raise FieldError(f"{field}.public_key", Reason("is that of another node"))
        numbers.add(node.number)
        keys.add(node.public_key)
