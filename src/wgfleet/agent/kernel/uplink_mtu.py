"""Size of packets that may leave the machine, and so of those in a tunnel. The kernel is asked; nothing is sent.

The link of the default route counts, and what that route says itself. WireGuard adds its own bytes to each packet, and
one that became too large for the uplink is cut into fragments, or lost where those do not pass.
"""

import contextlib
import fcntl
import socket
import struct
from collections.abc import Iterable
from ipaddress import ip_address

from wgfleet.agent.kernel import rtnetlink
from wgfleet.agent.kernel.commands import KernelError
from wgfleet.agent.kernel.rtnetlink import Request, attribute, attributes
from wgfleet.protocol.desired import LEAST_MTU, MIN_IPV6_MTU, InterfaceSettings

# Somewhere in the internet, to look up: root name servers, which stay where they are.
ELSEWHERE = {4: "198.41.0.4", 6: "2001:503:ba3e::2:30"}
OVERHEAD = {4: 60, 6: 80}  # bytes that WireGuard adds to a packet, with the outer IP header
USUAL_MTU = 1420  # of WireGuard everywhere: what is in files that say nothing
_ROUTE = struct.Struct("8BI")  # as in rtnetlink(7), struct rtmsg
_INTERFACE, _GET_MTU = struct.Struct("16si20x"), 0x8921  # netdevice(7), SIOCGIFMTU
_DST, _OIF, _METRICS, _METRIC_MTU = 1, 4, 8, 2
_KIND, _UNICAST = 7, 1  # where in a route it says that it leads somewhere; IPv6 has one that says "unreachable"


def fitting(settings: InterfaceSettings, carried: int | None) -> int | None:
    """Return the MTU for the link of a tunnel, where the uplink has that of `carried`; None: whatever it has.

    What the config says, or what is usual, unless that does not fit. A config may count on users who come by IPv4.
    """
    if carried is None or (settings.mtu is not None and settings.mtu <= carried - OVERHEAD[4]):
        return settings.mtu
    return within(settings.mtu or USUAL_MTU, carried, settings.addresses)


def within(mtu: int, carried: int, addresses: Iterable[str]) -> int:
    """Return an MTU that is no larger than fits an uplink, and no smaller than a link with these addresses may have."""
    least = MIN_IPV6_MTU if any(":" in each for each in addresses) else LEAST_MTU
    return max(least, min(mtu, carried - OVERHEAD[6]))


async def carried_by_uplink() -> int | None:
    """Return the MTU of the machine's way to the internet, the smaller one of IPv4's and IPv6's; None: there is no way.

    `KernelError` where the kernel cannot be asked.
    """
    found = []
    for version, address in ELSEWHERE.items():
        family, target = (socket.AF_INET if version == 4 else socket.AF_INET6), ip_address(address)  # noqa: PLR2004 - IPv4
        payload = _ROUTE.pack(family, target.max_prefixlen, 0, 0, 0, 0, 0, 0, 0) + attribute(_DST, target.packed)
        try:
            (reply,) = await rtnetlink.exchange([Request(rtnetlink.GET_ROUTE, 0, payload)])
        except OSError as error:
            raise KernelError(f"asking for the way to the internet failed: {error.strerror}") from None
        said = attributes(reply.payload[_ROUTE.size :])
        if reply.error or _OIF not in said or reply.payload[_KIND] != _UNICAST:
            continue
        with contextlib.suppress(OSError):  # gone meanwhile
            found.append(of_link(socket.if_indextoname(struct.unpack("I", said[_OIF])[0])))
        own = attributes(said.get(_METRICS, b"")).get(_METRIC_MTU)
        if own is not None:
            found.append(struct.unpack("I", own)[0])
    return min(found, default=None)


def of_link(link: str) -> int:
    """Return the MTU of a link."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as asked:
        answer: bytes = fcntl.ioctl(asked, _GET_MTU, _INTERFACE.pack(link.encode(), 0))
    mtu: int = _INTERFACE.unpack(answer)[1]
    return mtu
