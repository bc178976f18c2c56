"""The machine's own way out: its routes that lead over no WireGuard interface of ours. Reads, and changes nothing."""

import errno
import ipaddress
import socket
from dataclasses import dataclass

from wgfleet.agent.kernel import links
from wgfleet.agent.kernel.commands import KernelError
from wgfleet.agent.kernel.netlink import AsyncIPRoute, NetlinkError
from wgfleet.protocol.ids import InterfaceName

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_MAIN_TABLE = 254  # rtnetlink(7), RT_TABLE_MAIN


@dataclass(frozen=True, slots=True)
class Uplinks:
    """Routes of the main table, and the gateways of the default routes among them."""

    routes: tuple[Network, ...]
    gateways: frozenset[str]

    def way_to(self, address: str) -> int:
        """Return the prefix length of the route that leads to an address now; -1 where there is none."""
        parsed = ipaddress.ip_address(address)
        fitting = (each.prefixlen for each in self.routes if each.version == parsed.version and parsed in each)
        return max(fitting, default=-1)


async def read() -> Uplinks:
    """Read them."""
    ours = {index for name in await links.marked() if (index := links.index_of(InterfaceName(name))) is not None}
    routes, gateways = [], set()
    async with AsyncIPRoute() as ip:
        try:
            for family in (socket.AF_INET, socket.AF_INET6):
                async for message in await ip.route("dump", family=family, table=_MAIN_TABLE):
                    if message.get_attr("RTA_OIF") in ours:
                        continue
                    anywhere = "0.0.0.0" if family == socket.AF_INET else "::"
                    target = f"{message.get_attr('RTA_DST') or anywhere}/{message['dst_len']}"
                    routes.append(ipaddress.ip_network(target, strict=False))
                    gateway = message.get_attr("RTA_GATEWAY")
                    if gateway and not message["dst_len"]:
                        gateways.add(gateway)
        except NetlinkError as error:
            raise KernelError(f"reading the machine's routes failed: {errno.errorcode.get(error.code)}") from None
    return Uplinks(tuple(routes), frozenset(gateways))
