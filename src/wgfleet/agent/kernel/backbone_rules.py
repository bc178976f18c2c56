"""Names of a backbone's devices, and its nftables table: what may come from, and go to, the other nodes.

From other nodes come packets of the config's users to its users, and nothing else: neither to the node itself nor to
any other link. A packet that comes from a node is passed on to another one once at most (its peer has just moved),
which its TTL says: nodes that each believe the other to have a peer do not send it to and fro.

TCP connections of users who were drawn to another node may go on through the NAT that carries them: the new node sends
them there, and what comes back goes to the users over the links.
"""

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass

from wgfleet.agent.kernel import nft_tables
from wgfleet.agent.kernel.commands import KernelError, run
from wgfleet.agent.kernel.links import tunnel_of
from wgfleet.agent.kernel.nftables import BEGINS, CLAMP, IS_KEPT, NO_BEGIN, RESET, chains_of, table_of
from wgfleet.protocol.addresses import LAST_PORT
from wgfleet.protocol.backbone import NEWS_PORT, Backbone
from wgfleet.protocol.ids import InterfaceName

PROTOCOL = 87  # marks our rules and routes, as in `source_routes`
_PASSED_ON = 4  # the TTL of a packet that is passed on: on from there it reaches a peer, and what is just behind it
_ICMP = 1
_FIRST_TABLE = 51_900_000  # + the port: a routing table for each backbone of the machine
_FIRST_KEPT_TABLE, _NUMBER_BITS = 1 << 30, 14  # + the port and a node's number: the way to that node
_LIST = ("nft", "--numeric-protocol", "--terse", "list", "table", "inet")
# The mark of packets that ask the table of routes to users, and of connections whose answers do not.
ASK_TABLE = 0x77680000
# The mark of packets to a user whom this node still has. The node that draws him says so by the TTL of its own packets.
IS_HERE, SAYS_HERE = 0x77690000, 77
# Bytes of a segment that fits the links, so that a connection goes on where it has to go over them later.
_SEGMENTS = {"ipv4": 1344, "ipv6": 1324}
_LINK = re.compile(r"wg[bx]([1-9][0-9]{0,4})")
_TABLE = re.compile(r"wgfleet_wgb([1-9][0-9]{0,4})")
_WORDS = {4: "ip", 6: "ip6"}


@dataclass(frozen=True, slots=True)
class BackboneNames:
    """The devices of a backbone, by the port of its WireGuard: that of the users, of WireGuard, of the routes."""

    of: InterfaceName
    port: int

    @classmethod
    def of_port(cls, port: int) -> "BackboneNames":
        """Return the names where it is not known whose backbone it was."""
        return cls(InterfaceName(""), port)

    @staticmethod
    def port_in(name: str) -> int | None:
        """Return the port in the name of a backbone's device; None if it is the name of something else."""
        found = _LINK.fullmatch(name)
        return int(found[1]) if found else None

    @staticmethod
    def port_of(table: int) -> int | None:
        """Return the port whose routing table this is; None if it is one of something else."""
        port = table - _FIRST_TABLE if table < _FIRST_KEPT_TABLE else table - _FIRST_KEPT_TABLE >> _NUMBER_BITS
        return port if 0 < port <= LAST_PORT else None

    def kept_table(self, number: int) -> int:
        """Return the routing table that leads everywhere through a node."""
        return _FIRST_KEPT_TABLE + (self.port << _NUMBER_BITS) + number

    @property
    def wire(self) -> InterfaceName:
        return InterfaceName(f"wgb{self.port}")

    @property
    def tunnel(self) -> InterfaceName:
        return tunnel_of(self.port)

    @property
    def table(self) -> int:
        return _FIRST_TABLE + self.port

    @property
    def firewall(self) -> str:
        return table_of(self.wire)


def rules(names: BackboneNames, backbone: Backbone, networks: Iterable[str], *, keeps: bool = False) -> str:
    """Render the table. `networks`: those that users and what is behind them have.

    `keeps`: connections of users that one node's NAT carries may go on through another one, and through this one.
    """
    of, wire, tunnel = (f'"{name}"' for name in (names.of, names.wire, names.tunnel))
    inside = [(_WORDS[ipaddress.ip_network(each).version], each) for each in networks]
    through = [
        f"oifname {of} return",
        f"oifname {tunnel} return",
        "ct state established ct direction original ct status snat return",
        f"{NO_BEGIN} {RESET}",
    ]
    answers = (
        f"iifname != {of} iifname != {tunnel} ct state established,related ct direction reply ct status snat return"
    )
    chains = {
        "input": [
            "type filter hook input priority filter; policy accept;",
            f"iifname {tunnel} drop",
            # Not earlier: what users send through this node, and what comes back to them, may have this port as well.
            f"iifname != {wire} udp dport {backbone.tunnel_port} drop",
            f"iifname != {wire} accept",
            f"udp dport {NEWS_PORT} accept",
            f"udp dport {backbone.tunnel_port} ip ttl {SAYS_HERE} meta mark set {IS_HERE:#010x} accept",
            f"udp dport {backbone.tunnel_port} accept",
            f"meta l4proto {_ICMP} accept",
            "drop",
        ],
        "users": [*(f"{ip} saddr {each} return" for ip, each in inside), "drop"],
        "arriving": [
            *(
                f"oifname {tunnel} {what} {change}"
                for change in (f"< {_PASSED_ON} drop", f"set {_PASSED_ON}")
                for what in ("ip ttl", "ip6 hoplimit")
            ),
            *([f"oifname {of} meta {IS_KEPT} return"] if keeps else []),
            *([] if keeps else [f"oifname != {of} oifname != {tunnel} drop"]),
            "jump users",
            *([*through, "drop"] if keeps else []),
        ],
        "leaving": [
            *([answers] if keeps else []),
            f"iifname != {of} iifname != {tunnel} drop",
            CLAMP,
        ],
        "forward": [
            "type filter hook forward priority filter; policy accept;",
            f"iifname {wire} drop",
            f"oifname {wire} drop",
            *(
                f"iifname {of} meta nfproto {ip} {BEGINS} tcp option maxseg size set {size}"
                for ip, size in (_SEGMENTS.items() if keeps else ())
            ),
            f"iifname {tunnel} jump arriving",
            f"oifname {tunnel} jump leaving",
        ],
    }
    if keeps:
        chains["over_the_links"] = [
            f"meta mark set {ASK_TABLE:#010x}",
            f"ct mark {ASK_TABLE:#010x} ct mark set 0x00000000",
        ]
        chains["kept"] = _kept(of, tunnel, inside)
    maps = "".join(f"\tmap {map_of(ip)} {{\n\t\ttype {kind} : mark\n\t}}\n\n" for ip, kind in _MAPS.items())
    texts = [f"\tchain {name} {{\n" + "".join(f"\t\t{line}\n" for line in lines) for name, lines in chains.items()]
    body = "\n".join(f"{text}\t}}\n" for text in texts)
    return f"table inet {names.firewall} {{\n{maps if keeps else ''}{body}}}\n"


_MAPS = {"ip": "ipv4_addr", "ip6": "ipv6_addr"}


def map_of(ip: str) -> str:
    """Name the map of users, in the words of nft for an IP version, to the nodes whose NAT carries what is theirs."""
    return f"before_{ip}"


def _kept(of: str, tunnel: str, inside: Iterable[tuple[str, str]]) -> list[str]:
    """Mark packets: those of connections that users had before they were drawn here, and answers to users elsewhere.

    The former are known by the middle of a connection, whichever end sends first; where conntrack does not pick it up
    there (`nf_conntrack_tcp_loose` 0) by each packet. The latter are answers to what this node masquerades, unless it
    began while the user sent here though he is believed elsewhere: he has come back, and that is about to be noticed.
    """
    picked = {"new": "ct mark", "invalid": "meta mark"}
    elsewhere = f"iifname != {of} iifname != {tunnel}"
    nets = tuple(inside)
    return [
        "type filter hook prerouting priority mangle; policy accept;",
        *(
            f"{elsewhere} ct direction reply ct status snat ct original {ip} saddr {each} ct mark != {ASK_TABLE:#010x} "
            f"meta mark set {ASK_TABLE:#010x}"
            for ip, each in nets
        ),
        f"{elsewhere} accept",
        f"meta mark {IS_HERE:#010x} accept",
        *(f"iifname {of} {ip} daddr {each} accept" for ip, each in nets),
        *(f"iifname {tunnel} {ip} saddr {each} goto over_the_links" for ip, each in nets),
        f"iifname {of} ct state new fib saddr oifname {tunnel} ct mark set {ASK_TABLE:#010x}",
        *(
            f"iifname {link} ct state {state} {NO_BEGIN} {mark} set {ip} {end} map @{map_of(ip)}"
            for state, mark in picked.items()
            for link, end in ((of, "saddr"), (tunnel, "daddr"))
            for ip in _MAPS
        ),
        f"ct {IS_KEPT} meta mark set ct mark",
    ]


async def apply(names: BackboneNames, backbone: Backbone, networks: Iterable[str], *, keeps: bool) -> bool:
    """Make the table as wanted, in one transaction, where it is not; return whether that was so. Its maps are empty."""
    if not nft_tables.available():
        raise KernelError("the backbone needs nftables, and this machine has no `nft`; install it")
    text = rules(names, backbone, networks, keeps=keeps)
    if names.firewall in await nft_tables.names():
        found = chains_of((await run(*_LIST, names.firewall)).decode())
        if found == chains_of(text):
            return False
    await nft_tables.replace(names.firewall, text)
    return True


async def ports() -> list[int]:
    """Return the ports of the backbones of which there is a table."""
    if not nft_tables.available():
        return []
    found = map(_TABLE.fullmatch, await nft_tables.names())
    return [int(each[1]) for each in found if each]


async def remove(names: BackboneNames) -> None:
    """Remove the table; its absence is no error."""
    await nft_tables.remove(names.firewall)
