"""Challenges to users' TCP connections: packets as of the server, to which the user's machine says where it stands.

A SYN-ACK within a connection is answered with an ACK, whatever its sequence number (RFC 5961, section 4; RFC 9293,
3.10.7.4), and harms no connection that lives. A firewall of Linux on the user's machine lets it through, which it does
not an ACK with a wrong number. The answer is the user's own packet: what becomes of it is for the node's rules.
"""

import secrets
import socket
import struct
from types import TracebackType
from typing import Self

from wgfleet.protocol.ids import InterfaceName

_ETH = {4: 0x0800, 16: 0x86DD}  # by the size of addresses
_TCP, _TTL = 6, 64
_SYN_ACK = 0x12
_IPV4, _IPV6 = struct.Struct("!BBHHHBBH4s4s"), struct.Struct("!IHBB16s16s")
_SEGMENT = struct.Struct("!HHIIBBHHH")


class Challenges:
    """An open socket that puts packets into a tunnel, past the node's own conntrack, which must not learn of them."""

    def __init__(self, interface: InterfaceName) -> None:
        self._interface = interface
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC, 0)  # receives nothing
        self._socket.setblocking(False)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Close it."""
        self._socket.close()

    def send(self, flow: bytes, size: int) -> None:
        """Challenge the user of a flow, whose addresses have `size` bytes: address and port of user, then of server."""
        user, user_port = flow[:size], int.from_bytes(flow[size : size + 2])
        server, server_port = flow[size + 2 : 2 * size + 2], int.from_bytes(flow[2 * size + 2 :])
        packet = syn_ack(server, server_port, user, user_port, secrets.randbits(32), secrets.randbits(32))
        self._socket.sendto(packet, (self._interface, _ETH[size]))


def syn_ack(
    source: bytes, source_port: int, destination: bytes, destination_port: int, sequence: int, acknowledged: int
) -> bytes:
    """Return an IP packet; addresses are packed."""
    length = _SEGMENT.size
    pseudo = source + destination + struct.pack("!II", _TCP, length)
    fields = (source_port, destination_port, sequence, acknowledged, length // 4 << 4, _SYN_ACK, 0)
    checked = checksum(pseudo + _SEGMENT.pack(*fields, 0, 0))
    segment = _SEGMENT.pack(*fields, checked, 0)
    if len(source) == len(b"IPv4"):
        words = (0x45, 0, _IPV4.size + length, 0, 0x4000, _TTL, _TCP)
        return _IPV4.pack(*words, checksum(_IPV4.pack(*words, 0, source, destination)), source, destination) + segment
    return _IPV6.pack(6 << 28, length, _TCP, _TTL, source, destination) + segment


def checksum(data: bytes) -> int:
    """Return the Internet checksum (RFC 1071) of an even number of bytes."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
