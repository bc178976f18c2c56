"""Way of a user's packet through the machine: the kernel's own answer, and the rules of nftables. Changes nothing.

No packet is sent: the kernel is asked for the route of one that came in from the tunnel, as `ip route get DST from SRC
iif IF` does, with the checks that it makes then (forwarding, reverse path, policy routes).
"""

import errno
import socket
import struct
from dataclasses import dataclass
from ipaddress import ip_address, ip_interface
from typing import Any

import msgspec

from wgfleet.agent.kernel import nft_tables, rtnetlink, uplink_mtu
from wgfleet.agent.kernel.commands import run
from wgfleet.agent.kernel.links import index_of
from wgfleet.agent.kernel.rtnetlink import Request, attribute, attributes
from wgfleet.agent.kernel.uplink_mtu import ELSEWHERE
from wgfleet.protocol.ids import InterfaceName

_ROUTE = struct.Struct("8BI")  # as in rtnetlink(7), struct rtmsg
_DST, _SRC, _IIF, _OIF, _MARK = 1, 2, 3, 4, 16
_MARK_OF_RULE = 10  # FRA_FWMARK


@dataclass(frozen=True, slots=True)
class WayThrough:
    """The link by which a user's packet would leave and its MTU, or the errno that the kernel answers with."""

    link: str | None
    mtu: int = 0
    error: int = 0

    @property
    def is_nowhere(self) -> bool:
        """Whether there is no route to the internet at all."""
        return self.link is None and self.error == errno.ENETUNREACH


async def way_of(name: InterfaceName, address: str) -> WayThrough | None:
    """Look up where packets of users in the network of `address` leave.

    None where there is nobody to ask about, or where that depends on marks that a firewall may give them.
    """
    own = ip_interface(address)
    index = index_of(name)
    network = own.network
    if index is None or network.num_addresses <= 2:  # noqa: PLR2004 - a network of the node alone
        return None
    user = network[-2] if network[-2] != own.ip else network[1]
    family = socket.AF_INET if own.version == 4 else socket.AF_INET6  # noqa: PLR2004 - IPv4
    bits = network.max_prefixlen
    payload = _ROUTE.pack(family, bits, bits, 0, 0, 0, 0, 0, 0)
    payload += attribute(_DST, ip_address(ELSEWHERE[own.version]).packed) + attribute(_SRC, user.packed)
    payload += attribute(_IIF, struct.pack("I", index))
    marks = [b"", *(attribute(_MARK, mark) for mark in await _marks(family))]
    replies = await rtnetlink.exchange([Request(rtnetlink.GET_ROUTE, 0, payload + mark) for mark in marks])
    ways = {(reply.error, attributes(reply.payload[_ROUTE.size :]).get(_OIF)) for reply in replies}
    if len(ways) > 1:
        return None
    ((error, out),) = ways
    if error:
        return WayThrough(None, error=error)
    if out is None:
        return WayThrough(None, error=errno.ENETUNREACH)
    try:
        link = socket.if_indextoname(struct.unpack("I", out)[0])
        return WayThrough(link, uplink_mtu.of_link(link))
    except OSError:  # gone meanwhile
        return None


async def _marks(family: int) -> set[bytes]:
    """Return the marks by which rules of the machine route."""
    found = await rtnetlink.dump(rtnetlink.GET_RULE, _ROUTE.pack(family, *[0] * 8))
    return {mark for each in found if (mark := attributes(each[_ROUTE.size :]).get(_MARK_OF_RULE)) is not None}


async def rules() -> tuple[dict[str, Any], str]:
    """List the machine's rules as JSON, and as text with handles; without the elements of sets.

    The text is empty where nothing of iptables is in the JSON. `KernelError` where nftables cannot.
    """
    if not nft_tables.available():
        return {}, ""
    said = await run("nft", "-j", "-t", "list", "ruleset")
    try:
        listed: dict[str, Any] = msgspec.json.decode(said)
    except msgspec.DecodeError:  # a build without JSON
        return {}, ""
    return listed, (await run("nft", "-a", "-t", "list", "ruleset")).decode() if b'"xt":' in said else ""
