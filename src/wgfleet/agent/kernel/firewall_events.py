"""Events of nftables: somebody removed tables, chains or rules, as `nft flush ruleset` does."""

import errno
import socket
import struct

_NETLINK_NETFILTER = 12  # linux/netlink.h
_GROUP = 1 << 6  # NFNLGRP_NFTABLES is the 7th; linux/netfilter/nfnetlink.h
_HEADER = struct.Struct("=IH")  # netlink(7): length and type
_NFTABLES = 10  # NFNL_SUBSYS_NFTABLES: the upper byte of the type
# NFT_MSG_DELTABLE, _DELCHAIN, _NEWRULE, _DELRULE (linux/netfilter/nf_tables.h). Elements of sets are left out: leases
# of our own are renewed each second.
_CHANGES = {2, 5, 6, 8}


def open_events() -> socket.socket | None:
    """Open a non-blocking socket that becomes readable when nftables changes; None where the kernel has no nftables."""
    try:
        events = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_NETFILTER)
    except OSError:
        return None
    try:
        events.setblocking(False)
        events.bind((0, _GROUP))
    except OSError:  # a container without the right to
        events.close()
        return None
    return events


def drain(events: socket.socket) -> bool:
    """Empty the socket; tell whether a table, a chain or a rule changed. Who is woken reads afresh."""
    changed = False
    while True:
        try:
            changed |= _is_change(events.recv(1 << 16))
        except BlockingIOError:
            return changed
        except OSError as error:
            if error.errno != errno.ENOBUFS:  # events were lost
                raise
            changed = True


def _is_change(packet: bytes) -> bool:
    """Whether a message in the packet is of a change."""
    while len(packet) >= _HEADER.size:
        size, kind = _HEADER.unpack_from(packet)
        if kind >> 8 == _NFTABLES and kind & 0xFF in _CHANGES:
            return True
        packet = packet[max(size + 3 & ~3, _HEADER.size) :]
    return False
