"""Changes of the machine that the kernel tells of: its links, addresses, routes, forwarding and firewall.

A source is a socket that becomes readable. Nothing of its content matters but whether there was a change: who is woken
reads afresh.
"""

import errno
import socket
import struct
from collections.abc import Callable

_HEADER = struct.Struct("=IH")  # netlink(7): length and type
_SOL_NETLINK, _ADD_MEMBERSHIP = 270, 1  # netlink(7)

# Groups of rtnetlink events: RTMGRP_LINK, RTMGRP_IPV4_IFADDR, RTMGRP_IPV4_ROUTE, RTMGRP_IPV6_IFADDR, RTMGRP_IPV6_ROUTE
_ROUTE_GROUPS = 0x1 | 0x10 | 0x40 | 0x100 | 0x400
_ADDRESS_GROUPS = 0x10 | 0x100
_NETCONF = (24, 25)  # RTNLGRP_IPV4_NETCONF, RTNLGRP_IPV6_NETCONF: forwarding; too high for the mask of `bind`
# rtnetlink(7): nlmsghdr's length and type, then ifaddrmsg's family, prefix length and flags
_ADDRESS = struct.Struct("=IH10xBBB")
_NEW_ADDRESS, _PERMANENT = 20, 0x80  # RTM_NEWADDR; IFA_F_PERMANENT: for ever

_NETLINK_NETFILTER = 12  # linux/netlink.h
_NFTABLES_GROUP = 1 << 6  # NFNLGRP_NFTABLES is the 7th; linux/netfilter/nfnetlink.h
_NFTABLES = 10  # NFNL_SUBSYS_NFTABLES: the upper byte of the type
# NFT_MSG_DELTABLE, _DELCHAIN, _NEWRULE, _DELRULE (linux/netfilter/nf_tables.h). Elements of sets are left out: leases
# of our own are renewed each second.
_NFTABLES_CHANGES = {2, 5, 6, 8}


class ChangeSource:
    """A non-blocking socket with messages of the kernel, and which of them are changes."""

    def __init__(self, events: socket.socket, is_change: Callable[[bytes], bool]) -> None:
        self.events = events
        self._is_change = is_change

    def drain(self) -> bool:
        """Empty the socket; tell whether there was a change."""
        changed = False
        while True:
            try:
                packet = self.events.recv(1 << 16)
            except BlockingIOError:
                return changed
            except OSError as error:
                if error.errno != errno.ENOBUFS:  # events were lost
                    raise
                changed = True
            else:
                while len(packet) >= _HEADER.size:
                    changed = changed or self._is_change(packet)
                    packet = packet[max(_HEADER.unpack_from(packet)[0] + 3 & ~3, _HEADER.size) :]

    def close(self) -> None:
        """Close the socket."""
        self.events.close()


def open_addresses() -> ChangeSource:
    """Open a source for addresses, those that are there for a time included."""
    return ChangeSource(_rtnetlink(_ADDRESS_GROUPS), lambda _: True)


def open_sources() -> list[ChangeSource]:
    """Open a source for links, addresses, routes and forwarding, and one for nftables where the kernel has it."""
    links = _rtnetlink(_ROUTE_GROUPS)
    for group in _NETCONF:
        links.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, group)
    found = [ChangeSource(links, _changes_links)]
    try:
        firewall = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_NETFILTER)
    except OSError:
        return found
    try:
        firewall.setblocking(False)
        firewall.bind((0, _NFTABLES_GROUP))
    except OSError:  # a container without the right to
        firewall.close()
        return found
    return [*found, ChangeSource(firewall, _changes_firewall)]


def _rtnetlink(groups: int) -> socket.socket:
    events = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
    events.setblocking(False)
    events.bind((0, groups))
    return events


def _changes_links(message: bytes) -> bool:
    """Whether it says more than that a /32 or /128 is on a link for a time, as renewals of floating addresses do."""
    if len(message) < _ADDRESS.size:
        return True
    _, kind, family, length, flags = _ADDRESS.unpack_from(message)
    single = length == (128 if family == socket.AF_INET6 else 32)
    return kind != _NEW_ADDRESS or not single or bool(flags & _PERMANENT)


def _changes_firewall(message: bytes) -> bool:
    _, kind = _HEADER.unpack_from(message)
    return kind >> 8 == _NFTABLES and kind & 0xFF in _NFTABLES_CHANGES
