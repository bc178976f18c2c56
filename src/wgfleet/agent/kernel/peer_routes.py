"""Routes to the peers that other nodes have: a table of its own, changed address by address, in batches.

A route costs the kernel some 11 microseconds to change and 100 bytes to keep. It leads through the VXLAN device to the
node's address on the backbone, or says that the peer cannot be reached.
"""

import errno
import ipaddress
import socket
import struct
from collections.abc import Iterable, Mapping

from wgfleet.agent.kernel import links, rtnetlink
from wgfleet.agent.kernel.backbone_rules import PROTOCOL, SAYS_HERE, BackboneNames
from wgfleet.agent.kernel.commands import KernelError
from wgfleet.agent.kernel.rtnetlink import Request, attribute, attributes

UNREACHABLE = ""  # in place of a node's address
_ROUTE = struct.Struct("8BI")  # family, lengths of destination and source, tos, table, protocol, scope, type, flags
_DST, _OIF, _TABLE, _ENCAP_TYPE, _ENCAP = 1, 4, 15, 21, 22
_RULE = struct.Struct("8BI")
_RULE_INTERFACE, _RULE_PRIORITY, _RULE_MARK, _RULE_TABLE, _RULE_PROTOCOL, _TO_TABLE = 3, 6, 10, 15, 21, 1
PRIORITY = 5191  # of our rules: before the main table (32766)
FIRST_PRIORITY, MAIN_TABLE = 5189, 254  # of the rule for packets that ask the main table at once
_ENCAP_IP, _TUNNEL_ID, _TUNNEL_DST, _TUNNEL_TTL = 2, 1, 2, 4  # linux/lwtunnel.h
_VNI, _TTL = 1, 64
NO_IPV6 = {errno.EAFNOSUPPORT, errno.EACCES, errno.ENODEV}  # in the kernel, or by sysctl on the device
_UNICAST, _UNREACHABLE, _UNIVERSE, _LINK, _NOWHERE = 1, 7, 0, 253, 255


async def change(names: BackboneNames, targets: Mapping[str, str | None], *, drawn: bool = False) -> None:
    """Have networks lead to nodes, by their addresses on the backbone; None: no route, so the peer is this node's.

    `drawn`: this node has said that it has the peers, and tells those that have them still by these routes' packets.
    """
    index = links.index_of(names.tunnel)
    if index is None:
        raise KernelError(f"link {names.tunnel} is gone")
    requests = [request(network, target, names.table, index, drawn=drawn) for network, target in targets.items()]
    for (network, target), reply in zip(targets.items(), await rtnetlink.exchange(requests), strict=True):
        missing = target is None and reply.error == errno.ESRCH
        if reply.error and not missing and not (":" in network and reply.error in NO_IPV6):
            raise KernelError(f"route to {network} in table {names.table}: {rtnetlink.reason(reply)}")


async def clear(names: BackboneNames) -> None:
    """Remove all routes; one that goes meanwhile is no error, and the device may be gone."""
    requests = [request(network, None, names.table, 0) for network in await networks(names)]
    for reply in await rtnetlink.exchange(requests):
        if reply.error not in {0, errno.ESRCH}:
            raise KernelError(f"removing the routes of table {names.table} failed: {rtnetlink.reason(reply)}")


async def networks(names: BackboneNames, families: Iterable[int] = (socket.AF_INET, socket.AF_INET6)) -> set[str]:
    """Return the networks that there are routes to; raise OSError where they cannot be read."""
    found = set()
    for family in families:
        asked = _ROUTE.pack(family, 0, 0, 0, 0, 0, 0, 0, 0) + attribute(_TABLE, struct.pack("I", names.table))
        try:
            routes = await rtnetlink.dump(rtnetlink.GET_ROUTE, asked)
        except OSError as error:
            if error.errno in {errno.ENOENT, errno.EAFNOSUPPORT, errno.EOPNOTSUPP}:  # no such table, no IPv6
                continue
            raise
        for route in routes:
            if route[0] != family:  # asked for a family that it does not have, the kernel shows all others
                continue
            to = attributes(route[_ROUTE.size :]).get(_DST)
            if to is not None:
                found.add(f"{socket.inet_ntop(family, to)}/{route[1]}")
    return found


def rule(
    family: int,
    interface: str,
    table: int,
    *,
    to: str | None = None,
    mark: int | None = None,
    priority: int = PRIORITY,
) -> bytes:
    """Form a rule of ours: packets that come by `interface` (any: ""), go to a network, or have a mark ask a table."""
    target = None if to is None else ipaddress.ip_network(to)
    return (
        _RULE.pack(family, 0 if target is None else target.prefixlen, 0, 0, 0, 0, 0, _TO_TABLE, 0)
        + (b"" if target is None else attribute(_DST, target.network_address.packed))
        + (attribute(_RULE_INTERFACE, interface.encode() + b"\0") if interface else b"")
        + (b"" if mark is None else attribute(_RULE_MARK, struct.pack("I", mark)))
        + attribute(_RULE_PRIORITY, struct.pack("I", priority))
        + attribute(_RULE_TABLE, struct.pack("I", table))
        + attribute(_RULE_PROTOCOL, bytes([PROTOCOL]))
    )


def request(network: str, target: str | None, table: int, tunnel: int, *, drawn: bool = False) -> Request:
    """Form the request for one route, as in `change`; `tunnel` is the index of the device."""
    parsed = ipaddress.ip_network(network)
    family = socket.AF_INET if parsed.version == 4 else socket.AF_INET6  # noqa: PLR2004 - IPv4
    to = attribute(_DST, parsed.network_address.packed) + attribute(_TABLE, struct.pack("I", table))

    def head(kind: int, scope: int) -> bytes:
        return _ROUTE.pack(family, parsed.prefixlen, 0, 0, 0, PROTOCOL, scope, kind, 0)

    if target is None:
        any_route = _ROUTE.pack(family, parsed.prefixlen, 0, 0, 0, 0, _NOWHERE, 0, 0)
        return Request(rtnetlink.DELETE_ROUTE, rtnetlink.ACK, any_route + to)
    flags = rtnetlink.CREATE | rtnetlink.REPLACE | rtnetlink.ACK
    if target == UNREACHABLE:
        return Request(rtnetlink.NEW_ROUTE, flags, head(_UNREACHABLE, _UNIVERSE) + to)
    tunnel_to = attribute(_TUNNEL_ID, _VNI.to_bytes(8, "big")) + attribute(_TUNNEL_DST, socket.inet_aton(target))
    tunnel_to += attribute(_TUNNEL_TTL, bytes([SAYS_HERE if drawn else _TTL]))  # not that of the machine's settings
    scope = _LINK if family == socket.AF_INET else _UNIVERSE
    return Request(
        rtnetlink.NEW_ROUTE,
        flags,
        head(_UNICAST, scope)
        + to
        + attribute(_OIF, struct.pack("I", tunnel))
        + attribute(_ENCAP_TYPE, struct.pack("H", _ENCAP_IP))
        + attribute(_ENCAP, tunnel_to),
    )
