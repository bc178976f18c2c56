"""Single addresses (/32, /128) on the machine's own links, for ever or for a time, through rtnetlink. Decides nothing.

The time is the kernel's: it takes an address off that nobody has renewed, a second late at most, whatever became of the
process that added it.
"""

import errno
import math
import socket
import time
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from wgfleet.agent.kernel.commands import KernelError
from wgfleet.agent.kernel.netlink import AsyncIPRoute, NetlinkError

_UNICAST = 1  # RTN_UNICAST
_NO_DAD = 0x02  # IFA_F_NODAD: it must be usable at once; its former holder may still answer
_NO_ROUTE = 0x200  # IFA_F_NOPREFIXROUTE: a route to this address alone is of no use, and renewals would rewrite it
_FOR_EVER = 0xFFFFFFFF  # INFINITY_LIFE_TIME, linux/if_addr.h


@dataclass(frozen=True, slots=True)
class Location:
    """Where an address is on this machine: on which link, whether alone (/32 or /128), for how many s (None: ever)."""

    link: str
    alone: bool
    valid_s: float | None = None


async def locate(addresses: Collection[str]) -> dict[str, list[Location]]:
    """Find those of `addresses` that the machine has; each may be on several links."""
    found: dict[str, list[Location]] = {}
    for text, message in await _dump():
        if text in addresses:
            alone = message["prefixlen"] == prefix_length(text)
            found.setdefault(text, []).append(Location(_name(message["index"]), alone, _valid_s(message)))
    return found


async def of_machine() -> set[str]:
    """Return all addresses that the machine has, on whichever link."""
    async with AsyncIPRoute() as ip:
        try:
            found = [message async for message in await ip.addr("dump")]
        except NetlinkError as error:
            raise KernelError(f"reading the machine's addresses failed: {errno.errorcode.get(error.code)}") from None
    return {text for each in found if (text := each.get_attr("IFA_LOCAL") or each.get_attr("IFA_ADDRESS"))}


async def alone_on(link: str) -> set[str]:
    """Return the single addresses (/32, /128) that are on a link."""
    try:
        index = socket.if_nametoindex(link)
    except OSError:
        return set()
    found = await _dump(index=index)
    return {text for text, each in found if each["index"] == index and each["prefixlen"] == prefix_length(text)}


async def link_towards(address: str) -> str:
    """Return the link that an address belongs on: the one whose network contains it, or else the default route's.

    This is where the kernel would send a packet for it, so it must not be on the machine yet.
    """
    async with AsyncIPRoute() as ip:
        try:
            (route,) = list(await ip.route("get", dst=address))
        except NetlinkError as error:
            reason = errno.errorcode.get(error.code, error.code)
            raise KernelError(f"no link for address {address}: there is no route to it ({reason})") from None
    index = route.get_attr("RTA_OIF")
    if route["type"] != _UNICAST or index is None:
        raise KernelError(f"no link for address {address}: packets to it do not leave this machine")
    return _name(index)


async def put(address: str, link: str, valid_s: int | None, not_after: float = math.inf) -> bool:
    """Add an address to a link for `valid_s` (None: for ever), or set the time that it has left.

    False, and nothing done, if the kernel would be asked `not_after` (s of the monotonic clock) or later: it adds an
    address again whose time is over, and knows no request that only changes one that is there.

    The machine never uses it as the source of its own packets: for IPv4 the link's first address is preferred, and for
    IPv6 it is deprecated (RFC 6724, section 5, rule 3).
    """
    left = _FOR_EVER if valid_s is None else valid_s
    more = {"flags": _NO_DAD | _NO_ROUTE, "preferred_lft": 0} if ":" in address else {"preferred_lft": left}
    return await _change("replace", address, link, set(), {"valid_lft": left, **more}, not_after)


async def remove(address: str, link: str) -> None:
    """Remove an address from a link; if either is gone, that is no error."""
    await _change("del", address, link, {errno.EADDRNOTAVAIL, errno.ENODEV}, {})


def prefix_length(address: str) -> int:
    """Return the length of the prefix that is this address alone."""
    return 128 if ":" in address else 32


async def _dump(**of: int) -> list[tuple[str, Any]]:
    """Return the machine's addresses, with the kernel's message about each."""
    async with AsyncIPRoute() as ip:
        try:
            found = [message async for message in await ip.addr("dump", **of)]
        except NetlinkError as error:
            raise KernelError(f"reading the machine's addresses failed: {errno.errorcode.get(error.code)}") from None
    texts = ((each.get_attr("IFA_LOCAL") or each.get_attr("IFA_ADDRESS"), each) for each in found)
    return [(text, each) for text, each in texts if text]


async def _change(
    command: str, address: str, link: str, fine: set[int], more: dict[str, int], not_after: float = math.inf
) -> bool:
    """Return whether the kernel was asked: not if it is `not_after`, or later, once the socket is open."""
    try:
        index = socket.if_nametoindex(link)
    except OSError:
        if command == "del":
            return True
        raise KernelError(f"link {link}, address {address}: it is gone") from None
    async with AsyncIPRoute() as ip:
        if time.monotonic() >= not_after:  # looked at last: opening the socket takes far longer than asking
            return False
        try:
            await ip.addr(command, index=index, address=address, prefixlen=prefix_length(address), **more)
        except NetlinkError as error:
            if error.code not in fine:
                reason = errno.errorcode.get(error.code, error.code)
                raise KernelError(f"link {link}, {command} address {address}: {reason}") from None
    return True


def _valid_s(message: dict[str, object]) -> float | None:
    cached = message.get_attr("IFA_CACHEINFO")  # type: ignore[attr-defined]  # pyroute2 has no types
    left = _FOR_EVER if cached is None else cached["ifa_valid"]
    return None if left == _FOR_EVER else float(left)


def _name(index: int) -> str:
    try:
        return socket.if_indextoname(index)
    except OSError:  # it went away just now
        return f"link {index}"
