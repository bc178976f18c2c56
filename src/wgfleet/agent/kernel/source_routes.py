"""Routes that make WireGuard's packets to chosen hosts leave from a chosen address, for as long as a takeover runs.

WireGuard takes the source address of its first packet to a peer from the routing table. So each takeover gets a table
of its own, with a route to each host that differs from the kernel's only in its source, and a rule that applies it to
nothing but WireGuard's own port. Rules and tables have reserved numbers, so that a new agent finds what a killed one
left.
"""

import asyncio
import errno
import socket
import struct
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager

import structlog

from wgfleet.agent.kernel import rtnetlink
from wgfleet.agent.kernel.netlink import AsyncIPRoute
from wgfleet.agent.kernel.rtnetlink import Reply, Request, attribute, attributes

FIRST_TABLE, TABLES = 51900, 16  # one for each takeover that runs
PRIORITY = 5190  # of our rules: before the main table (32766)
PROTOCOL = 87  # marks our rules and routes; not assigned (rtnetlink(7), iproute2's rt_protos)
_ROUTE = struct.Struct("8BI")  # family, lengths of destination and source, tos, table, protocol, scope, type, flags
_DST, _SRC, _OIF, _GATEWAY, _PREFSRC, _TABLE, _VIA = 1, 2, 4, 5, 7, 15, 18
_RULE_PRIORITY, _RULE_TABLE, _RULE_PROTOCOL, _RULE_IP_PROTOCOL, _RULE_SOURCE_PORTS = 6, 15, 21, 22, 23
_UNICAST, _TO_TABLE, _ON_LINK = 1, 1, 4
_UNIVERSE, _LINK = 0, 253
_FAMILIES = (socket.AF_INET, socket.AF_INET6)
_log = structlog.get_logger()


class SourceRoutes:
    """One takeover's routing table. `send_from` may be used repeatedly."""

    def __init__(self, table: int) -> None:
        self._table = table
        self._routes: dict[str, bytes] = {}  # host -> what deletes its route

    async def send_from(self, sources: Mapping[str, str]) -> None:
        """Make packets to each host leave from the given address; where that fails, the kernel's default stays."""
        hosts = list(sources)
        found = await rtnetlink.exchange([_lookup(host, sources[host]) for host in hosts])
        wanted, failed = [], {}
        for host, reply in zip(hosts, found, strict=True):
            route = None if reply.error else _copy(host, sources[host], self._table, reply.payload)
            if route is None:
                failed[host] = rtnetlink.reason(reply) if reply.error else "no way out"
                continue
            wanted.append((host, route))
            self._routes[host] = route
        flags = rtnetlink.CREATE | rtnetlink.REPLACE | rtnetlink.ACK
        made = await rtnetlink.exchange([Request(rtnetlink.NEW_ROUTE, flags, route) for _, route in wanted])
        failed |= {host: rtnetlink.reason(reply) for (host, _), reply in zip(wanted, made, strict=True) if reply.error}
        if failed:
            host, why = next(iter(failed.items()))
            _log.warning("takeover.source_route_failed", hosts=len(failed), one=host, reason=why)

    async def clear(self) -> None:
        """Remove all routes."""
        routes, self._routes = list(self._routes.values()), {}
        await rtnetlink.exchange([Request(rtnetlink.DELETE_ROUTE, rtnetlink.ACK, route) for route in routes])


class SourceRouteTables:
    """The routing tables reserved for takeovers, one for each that runs."""

    def __init__(self) -> None:
        self._free: asyncio.Queue[int] = asyncio.Queue()
        for table in range(FIRST_TABLE, FIRST_TABLE + TABLES):
            self._free.put_nowait(table)

    @asynccontextmanager
    async def open(self, port: int) -> AsyncIterator[SourceRoutes]:
        """Open a table for packets from UDP `port`, once one is free; leaving the block removes it and its rule."""
        table = await self._free.get()
        routes = SourceRoutes(table)
        try:
            flags = rtnetlink.CREATE | rtnetlink.EXCLUSIVE | rtnetlink.ACK
            rules = [Request(rtnetlink.NEW_RULE, flags, _rule(family, table, port)) for family in _FAMILIES]
            for reply in await rtnetlink.exchange(rules):
                if reply.error not in {0, errno.EEXIST, errno.EAFNOSUPPORT}:
                    why = rtnetlink.reason(reply)
                    _log.warning("takeover.source_rule_failed", table=table, port=port, reason=why)
            yield routes
        finally:
            # Routes first: a rule that is left over still tells which table to clean up.
            await routes.clear()
            await _delete_rules([(family, table, port) for family in _FAMILIES])
            self._free.put_nowait(table)


async def remove_leftovers() -> None:
    """Remove what a killed agent left."""
    left: list[tuple[int, int]] = []
    async with AsyncIPRoute() as ip:
        async for rule in await ip.rule("dump", family=socket.AF_UNSPEC):
            table = rule.get_attr("FRA_TABLE")
            if rule.get_attr("FRA_PRIORITY") == PRIORITY and table in range(FIRST_TABLE, FIRST_TABLE + TABLES):
                left.append((rule["family"], table))
        for version, table in left:
            await ip.flush_routes(family=version, table=table)
    await _delete_rules([(version, table, None) for version, table in left])


async def _delete_rules(rules: Iterable[tuple[int, int, int | None]]) -> list[Reply]:
    return await rtnetlink.exchange([Request(rtnetlink.DELETE_RULE, rtnetlink.ACK, _rule(*each)) for each in rules])


def _rule(family: int, table: int, port: int | None) -> bytes:
    """Form a rule (linux/fib_rules.h, which has the layout of a route): UDP from `port` (None: any) asks `table`."""
    ports = b"" if port is None else attribute(_RULE_SOURCE_PORTS, struct.pack("HH", port, port))
    return (
        _ROUTE.pack(family, 0, 0, 0, 0, 0, 0, _TO_TABLE, 0)
        + attribute(_RULE_PRIORITY, struct.pack("I", PRIORITY))
        + attribute(_RULE_TABLE, struct.pack("I", table))
        + attribute(_RULE_PROTOCOL, bytes([PROTOCOL]))
        + attribute(_RULE_IP_PROTOCOL, bytes([socket.IPPROTO_UDP]))
        + ports
    )


def _lookup(host: str, source: str) -> Request:
    """Ask how a packet from `source` to `host` would go, so that routes by source, if there are any, are followed."""
    family, raw = _raw(host)
    head = _ROUTE.pack(family, len(raw) * 8, len(raw) * 8, 0, 0, 0, 0, 0, 0)
    return Request(rtnetlink.GET_ROUTE, 0, head + attribute(_DST, raw) + attribute(_SRC, _raw(source)[1]))


def _copy(host: str, source: str, table: int, found: bytes) -> bytes | None:
    """Form the route to `host` as found, but from `source` and in `table`; None if it does not leave the machine."""
    kind, parts = found[7], attributes(found[_ROUTE.size :])
    if kind != _UNICAST or _OIF not in parts:
        return None
    family, raw = _raw(host)
    hop = b"".join(attribute(each, parts[each]) for each in (_GATEWAY, _VIA) if each in parts)
    scope = _LINK if family == socket.AF_INET and not hop else _UNIVERSE
    return (
        _ROUTE.pack(family, len(raw) * 8, 0, 0, 0, PROTOCOL, scope, _UNICAST, _ON_LINK if hop else 0)
        + attribute(_DST, raw)
        + attribute(_TABLE, struct.pack("I", table))
        + attribute(_OIF, parts[_OIF])
        + hop
        + attribute(_PREFSRC, _raw(source)[1])
    )


def _raw(address: str) -> tuple[int, bytes]:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return family, socket.inet_pton(family, address)
