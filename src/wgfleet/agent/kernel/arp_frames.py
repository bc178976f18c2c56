"""Ethernet frames that say and ask who has an address: ARP (RFC 826, RFC 5227), neighbor discovery (RFC 4861). Pure.

Addresses are in their text form, `mac` is the 6 bytes of a link's own address.
"""

import socket
import struct

ETH_ARP = 0x0806
ETH_IPV6 = 0x86DD
_BROADCAST = b"\xff" * 6
_NOBODY = bytes(6)
_ARP_HEAD = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1)  # Ethernet, IPv4, their sizes, and a request
_ARP = slice(14, 42)
_ICMPV6 = 58
NEIGHBOR_SOLICITATION, NEIGHBOR_ADVERTISEMENT = 135, 136
_OVERRIDE = 0x20000000
_TARGET_LINK_ADDRESS = struct.pack("!BB", 2, 1)  # option 2, in units of 8 bytes
_ALL_NODES = socket.inet_pton(socket.AF_INET6, "ff02::1")
_UNSPECIFIED = bytes(16)


def announcement(address: str, mac: bytes) -> bytes:
    """Form a frame that says `address` is here: an ARP announcement (RFC 5227, section 3), or an advertisement.

    Neighbors replace another entry for the address. The advertisement (RFC 4861, section 7.2.6) has the override
    flag and goes to all nodes.
    """
    if ":" not in address:
        raw = socket.inet_pton(socket.AF_INET, address)
        return _arp(mac, sender=raw, target=raw)
    raw = socket.inet_pton(socket.AF_INET6, address)
    body = struct.pack("!I", _OVERRIDE) + raw + _TARGET_LINK_ADDRESS + mac
    return _icmpv6(mac, raw, _ALL_NODES, NEIGHBOR_ADVERTISEMENT, body)


def question(address: str, mac: bytes) -> bytes:
    """Form a frame that asks who has `address`, without claiming it.

    An ARP probe (RFC 5227, section 2.1.1), or a solicitation as of duplicate address detection (RFC 4862, section
    5.4.2).
    """
    if ":" not in address:
        return _arp(mac, sender=bytes(4), target=socket.inet_pton(socket.AF_INET, address))
    raw = socket.inet_pton(socket.AF_INET6, address)
    group = socket.inet_pton(socket.AF_INET6, "ff02::1:ff00:0")[:13] + raw[13:]  # RFC 4291, section 2.7.1
    return _icmpv6(mac, _UNSPECIFIED, group, NEIGHBOR_SOLICITATION, bytes(4) + raw)


def claimant(frame: bytes, address: str, mac: bytes) -> str | None:
    """Return the link address of who, in an ARP frame, has the IPv4 `address` or is about to take it; None: nobody.

    A probe for it at the same time counts (RFC 5227, section 2.1.1). What has our own `mac` does not.
    """
    arp = frame[_ARP]
    if len(arp) < _ARP.stop - _ARP.start or arp[:6] != _ARP_HEAD[:6]:
        return None
    raw = socket.inet_pton(socket.AF_INET, address)
    sender_mac, sender, target = arp[8:14], arp[14:18], arp[24:28]
    if sender_mac == mac:
        return None
    probes = sender == bytes(4) and target == raw
    return sender_mac.hex(":") if sender == raw or probes else None


def rival(frame: bytes, address: str, mac: bytes) -> str | None:
    """Return the link address of who, in an ARP frame, says that it has the IPv4 `address`, as we do (`mac`); or None.

    RFC 5227, section 2.4. A probe is no conflict: it asks, and says nothing.
    """
    arp = frame[_ARP]
    if len(arp) < _ARP.stop - _ARP.start or arp[:6] != _ARP_HEAD[:6]:
        return None
    sender_mac, sender = arp[8:14], arp[14:18]
    return sender_mac.hex(":") if sender_mac != mac and sender == socket.inet_pton(socket.AF_INET, address) else None


def advertiser(packet: bytes, mac: bytes) -> str | None:
    """Return whose link address a neighbor advertisement (ICMPv6, no IP header) has; None: ours, `mac`, or none."""
    option = packet[24:32]
    if len(option) < 8 or option[:2] != _TARGET_LINK_ADDRESS or option[2:] == mac:  # noqa: PLR2004 - units of 8 bytes
        return None
    return option[2:].hex(":")


def advertised(packet: bytes) -> str | None:
    """Return the address that a neighbor advertisement (ICMPv6, without IP header) is about; None if it is none."""
    if len(packet) < 24 or packet[0] != NEIGHBOR_ADVERTISEMENT:  # noqa: PLR2004 - header and target
        return None
    return socket.inet_ntop(socket.AF_INET6, packet[8:24])


def _arp(mac: bytes, *, sender: bytes, target: bytes) -> bytes:
    return _BROADCAST + mac + struct.pack("!H", ETH_ARP) + _ARP_HEAD + mac + sender + _NOBODY + target


def _icmpv6(mac: bytes, source: bytes, group: bytes, kind: int, body: bytes) -> bytes:
    """Form a frame to a multicast group (RFC 2464, section 7), with hop limit 255 as neighbor discovery demands."""
    message = struct.pack("!BBH", kind, 0, 0) + body
    checksum = _checksum(source + group + struct.pack("!II", len(message), _ICMPV6) + message)
    message = struct.pack("!BBH", kind, 0, checksum) + body
    header = struct.pack("!IHBB", 6 << 28, len(message), _ICMPV6, 255) + source + group
    return b"\x33\x33" + group[12:] + mac + struct.pack("!H", ETH_IPV6) + header + message


def _checksum(data: bytes) -> int:
    """Compute the internet checksum (RFC 1071) of an even number of bytes."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
