"""Links, their addresses, MTU and routes, through rtnetlink (pyroute2). No WireGuard settings here."""

import errno
import ipaddress
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from wgfleet.agent.kernel.commands import KernelError
from wgfleet.agent.kernel.netlink import AsyncIPRoute, NetlinkError
from wgfleet.protocol.diff import NO_IPV6
from wgfleet.protocol.ids import InterfaceName

_MAIN_TABLE = 254  # rtnetlink(7), RT_TABLE_MAIN
_BY_KERNEL = 2  # RTPROT_KERNEL: connected routes, which come and go with the addresses
_STATIC = 4  # RTPROT_STATIC
_UP = 1  # IFF_UP
_MARK = "wgfleet"
GROUP = 30567  # of all links with users: the filter of each knows the others by it; 0x7767, "wg"


@dataclass(frozen=True, slots=True)
class Link:
    """A link as found; link-local addresses and routes made by the kernel are left out.

    `marked`: it bears the mark of the links that this program makes.
    """

    index: int
    mtu: int
    up: bool
    addresses: frozenset[str]
    routes: frozenset[str]
    marked: bool = True
    group: int = 0


def tunnel_of(port: int) -> InterfaceName:
    """Return the name of the device over which packets go to other nodes, by the port of the backbone."""
    return InterfaceName(f"wgx{port}")


def index_of(name: InterfaceName) -> int | None:
    """Return the index of the link of that name; None when there is none."""
    try:
        return socket.if_nametoindex(name)
    except OSError:
        return None


async def observe(name: InterfaceName) -> Link | None:
    """Read a link; None when there is none."""
    async with AsyncIPRoute() as ip:
        try:
            found = list(await ip.link("get", ifname=name))
        except NetlinkError as error:
            if error.code == errno.ENODEV:
                return None
            raise KernelError(f"reading link {name} failed: {_why(error)}") from None
        link = found[0]
        index = link["index"]
        addresses, routes = set(), set()
        async for message in await ip.addr("dump", index=index):
            text = message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS")
            if not ipaddress.ip_address(text).is_link_local:
                addresses.add(f"{text}/{message['prefixlen']}")
        if link["flags"] & _UP:
            async for message in await ip.route("dump", oif=index, table=_MAIN_TABLE):
                if message["proto"] != _BY_KERNEL:
                    anywhere = "0.0.0.0" if message["family"] == socket.AF_INET else "::"
                    routes.add(f"{message.get_attr('RTA_DST') or anywhere}/{message['dst_len']}")
        return Link(
            index=index,
            mtu=link.get_attr("IFLA_MTU"),
            up=bool(link["flags"] & _UP),
            addresses=frozenset(addresses),
            routes=frozenset(routes),
            marked=link.get_attr("IFLA_IFALIAS") == _MARK,
            group=link.get_attr("IFLA_GROUP") or 0,
        )


async def marked() -> frozenset[str]:
    """Return the names of all links that bear the mark."""
    async with AsyncIPRoute() as ip:
        try:
            return frozenset(
                [
                    link.get_attr("IFLA_IFNAME")
                    async for link in await ip.link("dump")
                    if link.get_attr("IFLA_IFALIAS") == _MARK
                ]
            )
        except NetlinkError as error:
            raise KernelError(f"reading the machine's links failed: {_why(error)}") from None


async def mark(name: InterfaceName) -> None:
    """Mark a link as made by this program, by its alias, which a link that another program makes does not have."""
    async with AsyncIPRoute() as ip:
        try:
            await ip.link("set", index=socket.if_nametoindex(name), ifalias=_MARK)
        except NetlinkError as error:
            raise KernelError(f"marking link {name} failed: {_why(error)}") from None
        except OSError as error:
            raise KernelError(f"marking link {name} failed: {error.strerror}") from None


async def create_wireguard(name: InterfaceName) -> bool:
    """Create a kernel WireGuard link; False when the kernel has no WireGuard."""
    async with AsyncIPRoute() as ip:
        try:
            await ip.link("add", ifname=name, kind="wireguard")
        except NetlinkError as error:
            if error.code == errno.EOPNOTSUPP:
                return False
            raise KernelError(f"creating link {name} failed: {_why(error)}") from None
        return True


async def delete(name: InterfaceName) -> None:
    """Delete a link; its absence is no error."""
    async with AsyncIPRoute() as ip:
        try:
            await ip.link("del", ifname=name)
        except NetlinkError as error:
            if error.code != errno.ENODEV:
                raise KernelError(f"deleting link {name} failed: {_why(error)}") from None


async def set_group(name: InterfaceName) -> None:
    """Put a link into the group of those with users."""
    async with AsyncIPRoute() as ip:
        try:
            await ip.link("set", index=socket.if_nametoindex(name), group=GROUP)
        except (NetlinkError, OSError) as error:
            why = _why(error) if isinstance(error, NetlinkError) else error.strerror
            raise KernelError(f"link {name}, group {GROUP}: {why}") from None


async def change(
    name: InterfaceName,
    *,
    mtu: int | None = None,
    up: bool | None = None,
    remove_addresses: Iterable[str] = (),
    add_addresses: Iterable[str] = (),
    remove_routes: Iterable[str] = (),
    add_routes: Iterable[str] = (),
) -> dict[str, str]:
    """Make the changes in the order of the parameters; what is already as wanted is no error.

    Return the addresses and routes that the kernel did not take, as `addresses.TEXT` and `routes.TEXT`, with the
    reason: one that cannot be had (such as IPv6 where it is disabled) does not cost the others.
    """
    doing = "looking it up"
    refused: dict[str, str | None] = {}
    async with AsyncIPRoute() as ip:
        try:
            index = socket.if_nametoindex(name)
            if mtu is not None:
                doing = f"mtu {mtu}"
                await ip.link("set", index=index, mtu=mtu)
            for address in remove_addresses:
                doing = f"removing address {address}"
                await _unless(errno.EADDRNOTAVAIL, ip.addr("del", index=index, **_address(address)))
            for address in add_addresses:
                request = ip.addr("add", index=index, **_address(address))
                refused[f"addresses.{address}"] = await _refusal(name, address, request)
            if up is not None:
                doing = "up" if up else "down"
                await ip.link("set", index=index, state=doing)
            for route in remove_routes:
                doing = f"removing route {route}"
                await _unless(errno.ESRCH, ip.route("del", dst=route, oif=index, table=_MAIN_TABLE))
            for route in add_routes:
                request = ip.route("add", dst=route, oif=index, proto=_STATIC, table=_MAIN_TABLE)
                refused[f"routes.{route}"] = await _refusal(name, route, request)
        except NetlinkError as error:
            raise KernelError(f"link {name}, {doing}: {_why(error)}") from None
        except OSError as error:
            raise KernelError(f"link {name}, {doing}: {error.strerror}") from None
    return {field: why for field, why in refused.items() if why is not None}


async def _refusal(name: InterfaceName, item: str, request: object) -> str | None:
    """Add an address or a route; return why it could not be added."""
    try:
        await _unless(errno.EEXIST, request)
    except NetlinkError as error:
        if error.code == errno.ENODEV and index_of(name) is None:
            raise
        return NO_IPV6 if ":" in item and not has_ipv6(name) else _why(error)
    return None


def has_ipv6(name: InterfaceName) -> bool:
    """Whether a link may have IPv6 addresses: the kernel has IPv6, and nobody disabled it there."""
    try:
        return Path(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6").read_text(encoding="ascii").strip() == "0"
    except OSError:
        return False


def _address(text: str) -> dict[str, object]:
    address, _, length = text.partition("/")
    return {"address": address, "prefixlen": int(length)}


async def _unless(code: int, request: object) -> None:
    try:
        await request  # type: ignore[misc]  # pyroute2 has no types
    except NetlinkError as error:
        if error.code != code:
            raise


def _why(error: NetlinkError) -> str:
    return f"{errno.errorcode.get(error.code, error.code)} {error.args[1] if len(error.args) > 1 else ''}".strip()
