"""Connections that the kernel's NAT carries (conntrack), read over netlink."""

import socket
import struct
from collections.abc import Callable, Iterator

_NETLINK_NETFILTER = 12  # linux/netlink.h
_HEADER = struct.Struct("=IHHII")  # netlink(7): length, type, flags, sequence, port
_DUMP = 0x301  # NLM_F_REQUEST | NLM_F_DUMP
_ERROR, _DONE = 2, 3  # NLMSG_ERROR, NLMSG_DONE
_GET = 0x101  # NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_GET (linux/netfilter/nfnetlink_conntrack.h)
_FAMILY = struct.Struct("=BBH")  # nfgenmsg; family 0 is all of them
_ATTRIBUTE, _TYPE = struct.Struct("=HH"), 0x3FFF  # without NLA_F_NESTED, NLA_F_NET_BYTEORDER
# CTA_TUPLE_ORIG, CTA_STATUS, CTA_PROTOINFO; in a tuple CTA_TUPLE_IP and CTA_TUPLE_PROTO; CTA_PROTOINFO_TCP_STATE
_ORIGINAL, _STATUS, _PROTOCOL_STATE = 1, 3, 4
_IP, _PORTS = 1, 2
_SOURCES, _DESTINATIONS = (1, 3), (2, 4)  # CTA_IP_V4_SRC, CTA_IP_V6_SRC; CTA_IP_V4_DST, CTA_IP_V6_DST
_TCP = b"\x06"
_ESTABLISHED = b"\x03"  # TCP_CONNTRACK_ESTABLISHED
_SOURCE_NAT = 1 << 4  # IPS_SRC_NAT
_BUFFER, _TIMEOUT_S = 1 << 18, 5.0


def masqueraded(is_users: Callable[[bytes], bool]) -> set[bytes]:
    """Return the established TCP connections whose packed source address `is_users`, and that leave by another one.

    Each is source address and port, destination address and port, in network order. Blocks; OSError where the kernel
    does not say.
    """
    found = set[bytes]()
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_NETFILTER) as asked:
        asked.settimeout(_TIMEOUT_S)
        asked.bind((0, 0))
        body = _FAMILY.pack(0, 0, 0)
        asked.send(_HEADER.pack(_HEADER.size + len(body), _GET, _DUMP, 1, 0) + body)
        while True:
            packet = asked.recv(_BUFFER)
            at = 0
            while at + _HEADER.size <= len(packet):
                length, kind, *_ = _HEADER.unpack_from(packet, at)
                if kind == _DONE:
                    return found
                if kind == _ERROR:
                    (code,) = struct.unpack_from("=i", packet, at + _HEADER.size)
                    raise OSError(-code, "conntrack")
                flow = _flow(packet[at + _HEADER.size + _FAMILY.size : at + length], is_users)
                if flow is not None:
                    found.add(flow)
                at += max(length + 3 & ~3, _HEADER.size)


def _flow(entry: bytes, is_users: Callable[[bytes], bool]) -> bytes | None:
    """Return what is wanted of an entry; None if it is another connection."""
    fields = dict(_attributes(entry))
    original = dict(_attributes(fields.get(_ORIGINAL, b"")))
    addresses, ports = dict(_attributes(original.get(_IP, b""))), dict(_attributes(original.get(_PORTS, b"")))
    if ports.get(1) != _TCP or not int.from_bytes(fields.get(_STATUS, b"")) & _SOURCE_NAT:
        return None
    source, destination = (
        next((addresses[kind] for kind in kinds if kind in addresses), b"") for kinds in (_SOURCES, _DESTINATIONS)
    )
    state = dict(_attributes(dict(_attributes(fields.get(_PROTOCOL_STATE, b""))).get(1, b""))).get(1)
    if state != _ESTABLISHED or not is_users(source):
        return None
    return source + ports[2] + destination + ports[3]


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, at)
        yield kind & _TYPE, data[at + _ATTRIBUTE.size : at + length]
        at += max(length + 3 & ~3, _ATTRIBUTE.size)
