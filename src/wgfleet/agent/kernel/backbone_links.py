"""The links of a backbone: a WireGuard interface to the other nodes, and a VXLAN device with the routes to their peers.

WireGuard gives a network to one peer only, also for what it accepts from it, so it cannot carry addresses that move.
VXLAN does, with a route for each address; WireGuard only carries what nodes send each other. The rules here say which
packets ask the table of those routes. Makes and removes these devices, and decides nothing else.
"""

import errno
import socket
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from wgfleet.agent.kernel import backbone_rules, links, peer_routes, rtnetlink, wg
from wgfleet.agent.kernel.backbone_rules import ASK_TABLE, IS_HERE, BackboneNames
from wgfleet.agent.kernel.commands import KernelError
from wgfleet.agent.kernel.machine import Machine
from wgfleet.agent.kernel.netlink import AsyncIPRoute, NetlinkError
from wgfleet.agent.kernel.rtnetlink import Request
from wgfleet.agent.kernel.uplink_mtu import USUAL_MTU, carried_by_uplink, within
from wgfleet.protocol.backbone import Backbone, address
from wgfleet.protocol.ids import InterfaceName
from wgfleet.protocol.keys import PublicKey

_OVERHEAD = 36  # bytes that VXLAN-GPE adds without an Ethernet header: IPv4, UDP, VXLAN
_FAMILIES = (socket.AF_INET, socket.AF_INET6)
_LOOSE = "2"  # rp_filter: from any link on which there is a way back (RFC 3704)


@dataclass(frozen=True, slots=True)
class MadeLinks:
    """What was found or made: whether firewall and device of the routes are new ones, and bytes received by node."""

    new_rules: bool
    new_tunnel: bool
    received: dict[PublicKey, int]


async def converge(
    machine: Machine,
    names: BackboneNames,
    backbone: Backbone,
    networks: Collection[str],
    called: dict[PublicKey, str],
    *,
    keeps: bool,
) -> MadeLinks:
    """Make links, rules and firewall as wanted.

    `called`: the endpoints that were set, by peer; they change by themselves where a node is behind NAT. `keeps`: as in
    `backbone_rules`.
    """
    # First: the device's port is open to everybody.
    new_rules = await backbone_rules.apply(names, backbone, networks, keeps=keeps)
    received = await _converge_wire(machine, names.wire, backbone, called)
    new_tunnel = await _converge_tunnel(names, backbone)
    await _ask_table(names, networks if keeps else ())
    return MadeLinks(new_rules, new_tunnel, received)


async def remove(machine: Machine, names: BackboneNames, interfaces: Collection[InterfaceName] = ()) -> None:
    """Remove everything but these interfaces; what is not there is no error."""
    for name in [each for each in (names.tunnel, names.wire) if each not in interfaces]:
        link = await links.observe(name)
        if link is not None and link.marked:
            await (machine.delete(name) if name == names.wire else links.delete(name))
    rules = [rule.request() for rule in await _rules() if rule.port == names.port]
    await peer_routes.clear(names)
    await rtnetlink.exchange([Request(rtnetlink.DELETE_RULE, rtnetlink.ACK, rule) for rule in rules])
    if names.wire not in interfaces:
        await backbone_rules.remove(names)


async def remove_others(machine: Machine, ports: Iterable[int], interfaces: Collection[InterfaceName]) -> None:
    """Remove what an agent has left that was killed, links, rules or firewall, but for backbones with these ports.

    `interfaces` are those of users: one of them may be called as if it were of a backbone.
    """
    found = {BackboneNames.port_in(name) for name in await links.marked() - set(interfaces)}
    found |= set(await backbone_rules.ports()) - {BackboneNames.port_in(name) for name in interfaces}
    found |= {rule.port for rule in await _rules()}
    for port in found - {None, *ports}:
        if port is not None:
            await remove(machine, BackboneNames.of_port(port), interfaces)


@dataclass(frozen=True, slots=True)
class _FoundRule:
    """A rule of ours, as found; `port`: of its backbone."""

    family: int
    interface: str
    table: int
    priority: int

    @property
    def port(self) -> int | None:
        if self.priority == peer_routes.FIRST_PRIORITY:
            return BackboneNames.port_in(self.interface)
        return BackboneNames.port_of(self.table)

    def request(self) -> bytes:
        return peer_routes.rule(self.family, self.interface, self.table, priority=self.priority)


async def _rules() -> list[_FoundRule]:
    """Return our rules."""
    async with AsyncIPRoute() as ip:
        try:
            return [
                _FoundRule(
                    rule["family"],
                    rule.get_attr("FRA_IIFNAME") or "",
                    rule.get_attr("FRA_TABLE") or 0,
                    rule.get_attr("FRA_PRIORITY"),
                )
                async for rule in await ip.rule("dump", family=socket.AF_UNSPEC)
                if rule.get_attr("FRA_PRIORITY") in {peer_routes.PRIORITY, peer_routes.FIRST_PRIORITY}
            ]
        except NetlinkError as error:
            raise KernelError(f"reading the machine's rules failed: {errno.errorcode.get(error.code)}") from None


async def _converge_wire(
    machine: Machine, name: InterfaceName, backbone: Backbone, called: dict[PublicKey, str]
) -> dict[PublicKey, int]:
    link = await links.observe(name)
    if link is None:
        await machine.create(name)
        called.clear()
    elif not link.marked and not await machine.claim(name, backbone.private_key, fresh=True):
        raise _foreign(name)
    wanted = {node.public_key: (f"{address(node.number)}/32", node.endpoint) for node in backbone.nodes}
    found: dict[PublicKey, frozenset[str]] = {}
    received: dict[PublicKey, int] = {}
    async with machine.reading(name) as reading:
        device = reading.device
        async for blocks in reading.blocks:
            for block in blocks:
                seen = reading.form.peer(block)
                found[seen.key] = seen.observed.allowed_ips
                received[seen.key] = seen.stats.rx if seen.stats is not None else 0
    if gone := found.keys() - wanted.keys():
        await wg.remove_peers(name, gone)
        for key in gone:
            called.pop(key, None)
    own = (backbone.private_key, backbone.port)
    wrong = {
        key: each
        for key, each in wanted.items()
        if found.get(key) != frozenset({each[0]}) or called.get(key) != each[1]
    }
    if wrong or (device.private_key, device.listen_port) != own:
        await wg.configure_links(name, own, wrong)
        called.update({key: endpoint for key, (_, endpoint) in wrong.items()})
    routes = {network for network, _ in wanted.values()}
    have = frozenset() if link is None else link.routes
    carried = await carried_by_uplink()
    mtu = within(USUAL_MTU, carried, ()) if carried is not None else None
    refused = await links.change(
        name,
        mtu=mtu if link is None or link.mtu != mtu else None,
        up=True,
        add_addresses=[f"{address(backbone.number)}/32"],
        remove_routes=have - routes,
        add_routes=routes - have,
    )
    if refused:
        field, why = next(iter(refused.items()))
        raise KernelError(f"link {name}, {field}: {why}")
    return received


async def _converge_tunnel(names: BackboneNames, backbone: Backbone) -> bool:
    name, port = names.tunnel, backbone.tunnel_port
    link, over = await links.observe(name), await links.observe(names.wire)
    if link is not None and not link.marked:
        if link.group != links.GROUP:
            raise _foreign(name)
        await links.mark(name)  # an agent was killed just before it did
    mtu = (over.mtu if over is not None else USUAL_MTU) - _OVERHEAD
    if link is None:
        async with AsyncIPRoute() as ip:
            try:
                await ip.link(
                    "add", ifname=name, kind="vxlan", vxlan_collect_metadata=1, vxlan_gpe=True, vxlan_port=port,
                    vxlan_learning=0, group=links.GROUP,
                )  # fmt: skip
            except NetlinkError as error:
                why = "the kernel has no VXLAN" if error.code == errno.EOPNOTSUPP else errno.errorcode.get(error.code)
                raise KernelError(f"creating link {name} (UDP port {port}) failed: {why}") from None
        await links.mark(name)
    if link is None or not link.up or link.mtu != mtu:
        # A packet of a user comes from a node, and the way back to him may lead over his own interface meanwhile.
        _loosen(name)
        await links.change(name, mtu=mtu, up=True)
    # Without any, the kernel takes nothing from such a user, whatever the filter says.
    await links.change(name, add_addresses=[f"{address(backbone.number)}/32"])
    return link is None or not link.up  # the kernel drops the routes of a link that goes down


def _loosen(name: InterfaceName) -> None:
    """Have the reverse path filter look where a packet with that mark would go; answers from the internet have one."""
    for setting, value in (("rp_filter", _LOOSE), ("src_valid_mark", "1")):
        try:
            Path(f"/proc/sys/net/ipv4/conf/{name}/{setting}").write_text(f"{value}\n", encoding="ascii")
        except OSError as error:
            raise KernelError(f"link {name}, {setting}: {error.strerror}") from None


def _foreign(name: InterfaceName) -> KernelError:
    return KernelError(f"there is a link {name} that wgfleet did not make; remove it, or set another backbone_port")


async def _ask_table(names: BackboneNames, networks: Collection[str]) -> None:
    """Have packets that come from users, and from other nodes, ask the table first.

    `networks`: those of users, where answers to them from elsewhere do, too.
    """
    flags = rtnetlink.CREATE | rtnetlink.EXCLUSIVE | rtnetlink.ACK
    wanted = [
        peer_routes.rule(
            *(family, names.tunnel, peer_routes.MAIN_TABLE), mark=IS_HERE, priority=peer_routes.FIRST_PRIORITY
        )
        for family in _FAMILIES
    ]
    wanted += [peer_routes.rule(family, name, names.table) for family in _FAMILIES for name in (names.of, names.tunnel)]
    for each in networks:  # what the node itself sends, such as the end of a connection
        family = socket.AF_INET6 if ":" in each else socket.AF_INET
        wanted.append(peer_routes.rule(family, "lo", names.table, to=each))
    if networks:
        wanted += [peer_routes.rule(family, "", names.table, mark=ASK_TABLE) for family in _FAMILIES]
    requests = [Request(rtnetlink.NEW_RULE, flags, rule) for rule in wanted]
    for reply in await rtnetlink.exchange(requests):
        if reply.error not in {0, errno.EEXIST, errno.EAFNOSUPPORT}:
            raise KernelError(f"rules for {names.of}, table {names.table}: {rtnetlink.reason(reply)}")
