"""IP packets that are sent through a tunnel to see whether they come back, and what is read of the answers. Pure."""

import struct
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

IpAddress = IPv4Address | IPv6Address
TCP, UDP = 6, 17
_ICMP, _ICMPV6 = 1, 58
_EXPIRED = {_ICMP: 11, _ICMPV6: 3}  # types of "time exceeded" (RFC 792, RFC 4443)
_IPV4_HEAD, _IPV6_HEAD = struct.Struct(">BBHHHBBH4s4s"), struct.Struct(">IHBB16s16s")
_PORTS = struct.Struct(">HH")
_SYN, _RST, _ACK = 0x02, 0x04, 0x10
_MAX_HOPS = 64


@dataclass(frozen=True, slots=True)
class Flow:
    """Whose packets these are: from `source` and `source_port` to `target` and `port`, by `protocol`."""

    source: IpAddress
    target: IpAddress
    protocol: int
    source_port: int
    port: int

    @property
    def version(self) -> int:
        """Its IP version."""
        return self.source.version


@dataclass(frozen=True, slots=True)
class FlowReply:
    """An answer to a flow: its payload, that a connection was accepted, or that the packet `expired` at a router.

    Refusals are none: any firewall on the way forges those.
    """

    payload: bytes = b""
    accepted: bool = False
    expired: bool = False


def datagram(flow: Flow, payload: bytes, hops: int = _MAX_HOPS) -> bytes:
    """Form a UDP packet."""
    head = struct.pack(">HHHH", flow.source_port, flow.port, 8 + len(payload), 0)
    return _packet(flow, head + payload, 6, hops)


def syn(flow: Flow, sequence: int) -> bytes:
    """Form the first packet of a TCP connection."""
    head = struct.pack(">HHIIBBHHH", flow.source_port, flow.port, sequence, 0, 5 << 4, _SYN, 64240, 0, 0)
    return _packet(flow, head, 16, _MAX_HOPS)


def reset(flow: Flow, sequence: int) -> bytes:
    """Form the packet that ends a connection of which no more than the first packets were sent."""
    head = struct.pack(">HHIIBBHHH", flow.source_port, flow.port, sequence, 0, 5 << 4, _RST, 0, 0, 0)
    return _packet(flow, head, 16, _MAX_HOPS)


def _packet(flow: Flow, body: bytes, checksum_at: int, hops: int) -> bytes:
    source, target = flow.source.packed, flow.target.packed
    check = checksum(source + target + struct.pack(">II", len(body), flow.protocol) + body) or 0xFFFF
    body = body[:checksum_at] + struct.pack(">H", check) + body[checksum_at + 2 :]
    if flow.version == 6:  # noqa: PLR2004 - IPv6
        return _IPV6_HEAD.pack(6 << 28, len(body), flow.protocol, hops, source, target) + body
    size = _IPV4_HEAD.size + len(body)
    head = _IPV4_HEAD.pack(0x45, 0, size, 0, 0, hops, flow.protocol, 0, source, target)
    return head[:10] + struct.pack(">H", checksum(head)) + head[12:] + body


def checksum(data: bytes) -> int:
    """Return the checksum of RFC 1071."""
    data += bytes(len(data) % 2)
    total: int = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def reply(packet: bytes, flow: Flow) -> FlowReply | None:
    """Return what a packet answers to a flow of ours; None where it answers nothing of it. Padding is skipped."""
    try:
        protocol, source, target, body = _split(packet)
        if target != flow.source:
            return None
        if protocol == flow.protocol and source == flow.target:
            return _direct(body, flow)
        return _told(protocol, body, flow) if protocol in _EXPIRED else None
    except (struct.error, ValueError, IndexError):  # cut short
        return None


def _split(packet: bytes) -> tuple[int, IpAddress, IpAddress, bytes]:
    """Return protocol, source, target and what follows the header; without options of IPv6, which nobody sends us."""
    if packet[0] >> 4 == 6:  # noqa: PLR2004 - IPv6
        _, size, protocol, _, source, target = _IPV6_HEAD.unpack_from(packet)
        return protocol, ip_address(source), ip_address(target), packet[_IPV6_HEAD.size : _IPV6_HEAD.size + size]
    _, _, size, _, _, _, protocol, _, source, target = _IPV4_HEAD.unpack_from(packet)
    return protocol, ip_address(source), ip_address(target), packet[(packet[0] & 0xF) * 4 : size]


def _direct(body: bytes, flow: Flow) -> FlowReply | None:
    if _PORTS.unpack_from(body) != (flow.port, flow.source_port):
        return None
    if flow.protocol == TCP:
        return FlowReply(accepted=True) if body[13] & (_SYN | _ACK | _RST) == _SYN | _ACK else None
    return FlowReply(payload=body[8:])


def _told(protocol: int, body: bytes, flow: Flow) -> FlowReply | None:
    """Return what an ICMP error says of a packet of the flow, whose beginning it carries."""
    if body[0] != _EXPIRED[protocol]:
        return None
    about, source, target, begins = _split(body[8:])
    if (about, source, target) != (flow.protocol, flow.source, flow.target):
        return None
    return FlowReply(expired=True) if _PORTS.unpack_from(begins) == (flow.source_port, flow.port) else None
