"""Names of a backbone's devices, and its nftables table: what may come from, and go to, the other nodes.

From other nodes come packets of the config's users to its users, and nothing else: neither to the node itself nor to
any other link. A packet that comes from a node is passed on to another one once at most (its peer has just moved),
which its TTL says: nodes that each believe the other to have a peer do not send it to and fro.
"""

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass

from wgfleet.agent.kernel import nft_tables
from wgfleet.agent.kernel.commands import KernelError, run
from wgfleet.agent.kernel.links import tunnel_of
from wgfleet.agent.kernel.nftables import LIST, chains_of, table_of
from wgfleet.protocol.backbone import NEWS_PORT, Backbone
from wgfleet.protocol.ids import InterfaceName

PROTOCOL = 87  # marks our rules and routes, as in `source_routes`
_PASSED_ON = 4  # the TTL of a packet that is passed on: on from there it reaches a peer, and what is just behind it
_ICMP = 1
_MAX_PORT = 65535
_FIRST_TABLE = 51_900_000  # + the port: a routing table for each backbone of the machine
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
        port = table - _FIRST_TABLE
        return port if 0 < port <= _MAX_PORT else None

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


def rules(names: BackboneNames, backbone: Backbone, networks: Iterable[str]) -> str:
    """Render the table. `networks`: those that users and what is behind them have."""
    of, wire, tunnel = (f'"{name}"' for name in (names.of, names.wire, names.tunnel))
    users = [f"{_WORDS[ipaddress.ip_network(each).version]} saddr {each} return" for each in networks]
    chains = {
        "input": [
            "type filter hook input priority filter; policy accept;",
            f"iifname {tunnel} drop",
            # Not earlier: what users send through this node, and what comes back to them, may have this port as well.
            f"iifname != {wire} udp dport {backbone.tunnel_port} drop",
            f"iifname != {wire} accept",
            f"udp dport {NEWS_PORT} accept",
            f"udp dport {backbone.tunnel_port} accept",
            f"meta l4proto {_ICMP} accept",
            "drop",
        ],
        "arriving": [
            *(
                f"oifname {tunnel} {what} {change}"
                for change in (f"< {_PASSED_ON} drop", f"set {_PASSED_ON}")
                for what in ("ip ttl", "ip6 hoplimit")
            ),
            f"oifname != {of} oifname != {tunnel} drop",
            *users,
            "drop",
        ],
        "leaving": [
            f"iifname != {of} iifname != {tunnel} drop",
            "tcp flags & (syn | rst) == syn tcp option maxseg size set rt mtu",
        ],
        "forward": [
            "type filter hook forward priority filter; policy accept;",
            f"iifname {wire} drop",
            f"oifname {wire} drop",
            f"iifname {tunnel} jump arriving",
            f"oifname {tunnel} jump leaving",
        ],
    }
    texts = [f"\tchain {name} {{\n" + "".join(f"\t\t{line}\n" for line in lines) for name, lines in chains.items()]
    return f"table inet {names.firewall} {{\n" + "\n".join(f"{text}\t}}\n" for text in texts) + "}\n"


async def apply(names: BackboneNames, backbone: Backbone, networks: Iterable[str]) -> None:
    """Make the table as wanted, in one transaction, where it is not."""
    if not nft_tables.available():
        raise KernelError("the backbone needs nftables, and this machine has no `nft`; install it")
    text = rules(names, backbone, networks)
    if names.firewall in await nft_tables.names():
        found = chains_of((await run(*LIST, names.firewall)).decode())
        if found == chains_of(text):
            return
    await nft_tables.replace(names.firewall, text)


async def ports() -> list[int]:
    """Return the ports of the backbones of which there is a table."""
    if not nft_tables.available():
        return []
    found = map(_TABLE.fullmatch, await nft_tables.names())
    return [int(each[1]) for each in found if each]


async def remove(names: BackboneNames) -> None:
    """Remove the table; its absence is no error."""
    await nft_tables.remove(names.firewall)
