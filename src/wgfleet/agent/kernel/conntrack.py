"""Connections that the kernel knows (conntrack), over netlink: those that its NAT carries, and UDP flows to forget."""

import errno
import socket
import struct
from collections.abc import Callable, Collection, Iterator, Mapping

_NETLINK_NETFILTER = 12  # linux/netlink.h
_HEADER = struct.Struct("=IHHII")  # netlink(7): length, type, flags, sequence, port
_DUMP, _ASK = 0x301, 0x5  # NLM_F_REQUEST | NLM_F_DUMP; NLM_F_REQUEST | NLM_F_ACK
_ERROR, _DONE = 2, 3  # NLMSG_ERROR, NLMSG_DONE
# NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_GET, and IPCTNL_MSG_CT_DELETE (linux/netfilter/nfnetlink_conntrack.h)
_GET, _DELETE = 0x101, 0x102
_FAMILY = struct.Struct("=BBH")  # nfgenmsg; family 0 is all of them
_ATTRIBUTE, _TYPE, _NESTED = struct.Struct("=HH"), 0x3FFF, 0x8000  # NLA_TYPE_MASK, NLA_F_NESTED
# CTA_TUPLE_ORIG, CTA_TUPLE_REPLY, CTA_STATUS, CTA_PROTOINFO, CTA_ID, CTA_ZONE
_ORIGINAL, _REPLY, _STATUS, _PROTOCOL_STATE, _ID, _ZONE = 1, 2, 3, 4, 12, 18
_IP, _PORTS = 1, 2  # in a tuple CTA_TUPLE_IP and CTA_TUPLE_PROTO
_SOURCES, _DESTINATIONS = (1, 3), (2, 4)  # CTA_IP_V4_SRC, CTA_IP_V6_SRC; CTA_IP_V4_DST, CTA_IP_V6_DST
_TCP, _UDP = b"\x06", b"\x11"
_ESTABLISHED = b"\x03"  # TCP_CONNTRACK_ESTABLISHED
_SOURCE_NAT, _DESTINATION_NAT = 1 << 4, 1 << 5  # IPS_SRC_NAT, IPS_DST_NAT
_BUFFER, _TIMEOUT_S = 1 << 18, 5.0


def masqueraded(is_users: Callable[[bytes], bool]) -> set[bytes]:
    """Return the established TCP connections whose packed source address `is_users`, and that leave by another one.

    Each is source address and port, destination address and port, in network order. Blocks; OSError where the kernel
    does not say.
    """
    found = set[bytes]()
    with _asking() as asked:
        for _, entry in _entries(asked):
            flow = _flow(entry, is_users)
            if flow is not None:
                found.add(flow)
    return found


def forget_arrivals(port: int, local: Collection[bytes], heirs: Mapping[int, tuple[bytes, int]]) -> int:
    """Forget the UDP flows that came to a port of this machine, but for those that go where they are to go now.

    A flow that is known is never looked at by rules of NAT again, for as long as it has packets. `local`: the machine's
    packed addresses; `heirs`: for each length of address where its flows go, and to which port; where there is none,
    they stay here. Return how many were forgotten. Blocks; OSError where the kernel does not say, or refuses.
    """
    with _asking() as asked:
        found = [entry for entry in _entries(asked) if _is_astray(entry[1], port, local, heirs)]
        for family, entry in found:
            fields = _known(entry)
            which = b"".join(_packed(kind, fields[kind]) for kind in (_ORIGINAL, _ID, _ZONE) if kind in fields)
            body = _FAMILY.pack(family, 0, 0) + which
            asked.send(_HEADER.pack(_HEADER.size + len(body), _DELETE, _ASK, 1, 0) + body)
            (code,) = struct.unpack_from("=i", asked.recv(_BUFFER), _HEADER.size)
            if code not in {0, -errno.ENOENT}:
                raise OSError(-code, "conntrack")
    return len(found)


def _is_astray(entry: bytes, port: int, local: Collection[bytes], heirs: Mapping[int, tuple[bytes, int]]) -> bool:
    fields = _known(entry)
    to, protocol, to_port = _end(fields.get(_ORIGINAL, b""), _DESTINATIONS, 3)
    if (protocol, to_port) != (_UDP, port) or to not in local:
        return False
    heir = heirs.get(len(to))
    if heir is None:
        return bool(int.from_bytes(fields.get(_STATUS, b"")) & _DESTINATION_NAT)
    server, _, server_port = _end(fields.get(_REPLY, b""), _SOURCES, 2)
    return (server, server_port) != heir


def _end(tuple_: bytes, kinds: Collection[int], port_kind: int) -> tuple[bytes, bytes, int]:
    """Return one end of a flow: address, protocol and port."""
    parts = _known(tuple_)
    addresses, ports = _known(parts.get(_IP, b"")), _known(parts.get(_PORTS, b""))
    address = next((addresses[kind] for kind in kinds if kind in addresses), b"")
    return address, ports.get(1, b""), int.from_bytes(ports.get(port_kind, b""))


def _asking() -> socket.socket:
    asked = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_NETFILTER)
    asked.settimeout(_TIMEOUT_S)
    asked.bind((0, 0))
    return asked


def _entries(asked: socket.socket) -> Iterator[tuple[int, bytes]]:
    """Read all entries: the address family of each, and its attributes."""
    body = _FAMILY.pack(0, 0, 0)
    asked.send(_HEADER.pack(_HEADER.size + len(body), _GET, _DUMP, 1, 0) + body)
    while True:
        packet = asked.recv(_BUFFER)
        at = 0
        while at + _HEADER.size <= len(packet):
            length, kind, *_ = _HEADER.unpack_from(packet, at)
            if kind == _DONE:
                return
            if kind == _ERROR:
                (code,) = struct.unpack_from("=i", packet, at + _HEADER.size)
                raise OSError(-code, "conntrack")
            yield packet[at + _HEADER.size], packet[at + _HEADER.size + _FAMILY.size : at + length]
            at += max(length + 3 & ~3, _HEADER.size)


def _flow(entry: bytes, is_users: Callable[[bytes], bool]) -> bytes | None:
    """Return what is wanted of an entry; None if it is another connection."""
    fields = _known(entry)
    original = _known(fields.get(_ORIGINAL, b""))
    addresses, ports = _known(original.get(_IP, b"")), _known(original.get(_PORTS, b""))
    if ports.get(1) != _TCP or not int.from_bytes(fields.get(_STATUS, b"")) & _SOURCE_NAT:
        return None
    source, destination = (
        next((addresses[kind] for kind in kinds if kind in addresses), b"") for kinds in (_SOURCES, _DESTINATIONS)
    )
    state = _known(_known(fields.get(_PROTOCOL_STATE, b"")).get(1, b"")).get(1)
    if state != _ESTABLISHED or not is_users(source):
        return None
    return source + ports[2] + destination + ports[3]


def _packed(kind: int, value: bytes) -> bytes:
    nested = _NESTED if kind == _ORIGINAL else 0
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), kind | nested) + value + bytes(-len(value) % 4)


def _known(data: bytes) -> dict[int, bytes]:
    return dict(_attributes(data))


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, at)
        yield kind & _TYPE, data[at + _ATTRIBUTE.size : at + length]
        at += max(length + 3 & ~3, _ATTRIBUTE.size)
