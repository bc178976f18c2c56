"""Masquerading, forwarding and the filter of one interface: its own nftables table, removed with the interface.

The filter says what users reach, see `protocol.reach`. It drops, and never accepts for others: a chain of somebody
else still has its say. Other interfaces of the agent are known by the group of their links, so no table names them.
"""

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass

import structlog

from wgfleet.agent.kernel import forwarding, nft_tables
from wgfleet.agent.kernel.commands import KernelError, run
from wgfleet.agent.kernel.links import GROUP, tunnel_of
from wgfleet.protocol.desired import InterfaceSettings
from wgfleet.protocol.ids import InterfaceName

_WORDS = {4: "ip", 6: "ip6"}
# What answers a machine because of what it is: link-local addresses (RFC 3927, RFC 4291), among them 169.254.169.254,
# where clouds hand out credentials; and where some do so besides: Amazon and Google over IPv6, Azure, Alibaba.
OWN_LINK = (
    *("169.254.0.0/16", "fe80::/10"),
    *("fd00:ec2::254", "fd20:ce::254", "168.63.129.16", "100.100.100.200"),
)
# In numbers: nftables takes names from /etc/protocols, which a machine may not have, and prints what it finds there.
_ICMP, _ICMPV6, _TCP = 1, 58, 6
LIST = ("nft", "--numeric-protocol", "list", "table", "inet")
# Any TCP packet but the first of a connection, in the words of nft 1.0 and of older ones.
NO_BEGIN, _NO_BEGIN_OF_OLDER_NFT = "tcp flags != syn / fin,syn,rst,ack", "tcp flags & (fin | syn | rst | ack) != syn"
# Connections that another node's NAT carries: this, and the number of that node.
KEPT, _KEPT_BITS = 0x77670000, 0xFFFF0000
IS_KEPT = f"mark & {_KEPT_BITS:#x} == {KEPT:#x}"
RESET = "reject with tcp reset"
# The beginning of a connection says no larger segments than fit both of its ways through the machine.
BEGINS = "tcp flags & (syn | rst) == syn"
CLAMP = f"{BEGINS} tcp option maxseg size set rt mtu"
_SAME = {  # what other releases of nft print
    _NO_BEGIN_OF_OLDER_NFT: NO_BEGIN,
    BEGINS: "tcp flags syn / syn,rst",
    IS_KEPT: f"mark {KEPT:#x}/16",
}
_SEGMENTS = "segments"
_OF_MASQUERADE = {"postrouting", "unknown_flows"}
_log = structlog.get_logger()
_CHAIN = re.compile(r"chain (?P<name>\S+) \{(?P<body>.*?)\n\t\}", re.DOTALL)


@dataclass(slots=True)
class Abilities:
    """What the kernel can, as far as it was asked. `rejects`: whether it answers packets that it refuses."""

    rejects: bool | None = None


_kernel = Abilities()


@dataclass(frozen=True, slots=True)
class ObservedRules:
    """Whether the rules of an interface are exactly those wanted: None where they are there, but differ."""

    masquerade: bool | None
    filtered: bool | None


def table_of(name: InterfaceName) -> str:
    """Name the table."""
    return f"wgfleet_{nft_tables.word_of(name)}"


def rules(settings: InterfaceSettings, agent_port: int | None = None) -> str:
    """Render the table: what is wanted of masquerading and filter. Users never reach `agent_port` on the node."""
    chains: dict[str, list[str]] = {}
    if settings.masquerade and settings.enabled:
        chains["postrouting"] = _masquerade(settings)
        if ends_unknown_flows(settings):
            chains["unknown_flows"] = _unknown_flows(settings)
    if settings.reach is not None or chains:
        chains[_SEGMENTS] = _segments(settings)
    if settings.reach is not None:
        chains |= {"forward": _forward(settings), "input": _input(settings, agent_port)}
    texts = [f"\tchain {name} {{\n" + "".join(f"\t\t{line}\n" for line in lines) for name, lines in chains.items()]
    return f"table inet {table_of(settings.name)} {{\n" + "\n".join(f"{text}\t}}\n" for text in texts) + "}\n"


def ends_unknown_flows(settings: InterfaceSettings) -> bool:
    """Whether TCP connections of users that this machine's NAT does not know are ended."""
    masquerades = settings.masquerade and settings.enabled
    return masquerades and settings.mute is not None and _kernel.rejects is not False


def _masquerade(settings: InterfaceSettings) -> list[str]:
    """Packets from the addresses' networks, and those behind peers, that leave by another link get its address."""
    elsewhere = " ".join(f'oifname != "{name}"' for name in _to_users(settings))
    return [
        "type nat hook postrouting priority srcnat; policy accept;",
        *(f"{_WORDS[net.version]} saddr {net} {elsewhere} masquerade" for net in _masqueraded(settings)),
    ]


def _masqueraded(settings: InterfaceSettings) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    own = {str(ipaddress.ip_interface(address).network) for address in settings.addresses}
    return [ipaddress.ip_network(each) for each in sorted(_possible({*own, *settings.routes}))]


def _unknown_flows(settings: InterfaceSettings) -> list[str]:
    """TCP connections of users that this machine's NAT has not seen begin are ended: they began at another node.

    Their other end knows them by that node's address. What it gets from here belongs to nothing that it knows, and
    where a firewall drops that, the user's program would wait for a quarter of an hour. Where nobody else can have had
    the user (no `mute`), and where nothing is masqueraded, such a connection goes on, and must not be ended.
    """
    states = "new" if forwarding.picks_flows_up() else "invalid,new"
    return [
        "type filter hook forward priority filter; policy accept;",
        f'iifname != "{settings.name}" accept',
        *(f'oifname "{name}" accept' for name in _to_users(settings)),
        f"oifgroup {GROUP} accept",
        # The node whose NAT carried it is gone.
        *([f"meta l4proto {_TCP} ct {IS_KEPT} {RESET}"] if settings.backbone is not None else []),
        *(f"{_WORDS[net.version]} saddr {net} ct state {states} {NO_BEGIN} {RESET}" for net in _masqueraded(settings)),
    ]


def _segments(settings: InterfaceSettings) -> list[str]:
    """TCP of users fits the tunnel and the uplink, also where nobody hears of a router that a packet is too large."""
    own = f'"{settings.name}"'
    return [
        "type filter hook forward priority mangle; policy accept;",
        *(f"{direction} {own} {CLAMP}" for direction in ("iifname", "oifname")),
    ]


def _to_users(settings: InterfaceSettings) -> list[InterfaceName]:
    """Return the links over which users of the config are reached: its own, and that to the other nodes."""
    return [settings.name, *([] if settings.backbone is None else [tunnel_of(settings.backbone.port)])]


def _forward(settings: InterfaceSettings) -> list[str]:
    """Users' packets on their way through the node: not to what is its own, not to interfaces of other configs."""
    if settings.reach is None:
        return []
    own = f'"{settings.name}"'
    verdict = "accept" if settings.reach.client_to_client else "drop"
    return [
        "type filter hook forward priority filter; policy accept;",
        f"iifname != {own} accept",
        *(f'oifname "{name}" {verdict}' for name in _to_users(settings)),
        *(f"{_to(network)} drop" for network in (*OWN_LINK, *settings.reach.denied_networks)),
        "ct state established,related accept",
        *(f'oifname "{name}" accept' for name in settings.reach.interfaces),
        f"oifgroup {GROUP} drop",
    ]


def _input(settings: InterfaceSettings, agent_port: int | None) -> list[str]:
    """Users' packets to the node itself: it answers pings, and has the services that the config opens."""
    if settings.reach is None:
        return []
    ports = (port.split("/") for port in settings.reach.node_ports)
    return [
        "type filter hook input priority filter; policy accept;",
        f'iifname != "{settings.name}" accept',
        *([f"tcp dport {agent_port} drop"] if agent_port is not None else []),
        "ct state established,related accept",
        f"meta l4proto {_ICMP} accept",
        f"meta l4proto {_ICMPV6} accept",
        *(f"{protocol} dport {port} accept" for protocol, port in ports),
        "drop",
    ]


def _to(network: str) -> str:
    return f"{_WORDS[ipaddress.ip_network(network).version]} daddr {network}"


def _possible(addresses: Iterable[str]) -> tuple[str, ...]:
    """Leave out IPv6 where the kernel has none."""
    return tuple(each for each in addresses if ":" not in each or forwarding.is_possible(6))


def _families(addresses: Iterable[str]) -> set[int]:
    return {ipaddress.ip_interface(address).version for address in _possible(addresses)}


async def observe(settings: InterfaceSettings, agent_port: int | None = None) -> ObservedRules:
    """Read the rules back."""
    table = table_of(settings.name)
    if not nft_tables.available():
        return ObservedRules(masquerade=False, filtered=False)
    await _find_out_whether_it_rejects(settings)
    if table not in await nft_tables.names():
        return ObservedRules(masquerade=False, filtered=False)
    have = chains_of((await run(*LIST, table)).decode())
    want = chains_of(rules(settings, agent_port))
    of_masquerade = _OF_MASQUERADE if settings.reach is not None else {*_OF_MASQUERADE, _SEGMENTS}
    masquerade, others = _same(have, want, of_masquerade), (have.keys() | want.keys()) - of_masquerade
    if masquerade and not forwarding.is_on(_families(settings.addresses)):
        masquerade = None
    return ObservedRules(masquerade=masquerade, filtered=_same(have, want, others))


def _same(have: dict[str, list[str]], want: dict[str, list[str]], names: Iterable[str]) -> bool | None:
    """Compare some chains: True if they are those wanted, False if there are none, None otherwise."""
    chosen = set(names)
    found = {name: words for name, words in have.items() if name in chosen}
    if not found:
        return False
    return True if found == {name: words for name, words in want.items() if name in chosen} else None


def chains_of(text: str) -> dict[str, list[str]]:
    """Return the words of each chain of a table."""
    for printed, same in _SAME.items():
        text = text.replace(printed, same)
    # A host network is printed without its prefix length.
    return {
        chain["name"]: [word.removesuffix("/32").removesuffix("/128") for word in chain["body"].split()]
        for chain in _CHAIN.finditer(text)
    }


async def apply(settings: InterfaceSettings, agent_port: int | None = None) -> None:
    """Replace the table in one transaction, or remove it where nothing is wanted of it."""
    masquerades = settings.masquerade and settings.enabled
    if not (nft_tables.available() or masquerades):
        return  # a filter that is missing shows as drift, and the interface works without it
    await _find_out_whether_it_rejects(settings)
    wanted = masquerades or settings.reach is not None
    await nft_tables.replace(table_of(settings.name), rules(settings, agent_port) if wanted else "")


async def _find_out_whether_it_rejects(settings: InterfaceSettings) -> None:
    """Ask the kernel once, changing nothing: one without nft_reject would refuse masquerading together with it."""
    if settings.masquerade and settings.enabled and settings.mute is not None and _kernel.rejects is None:
        chain = f"\tchain try {{\n\t\ttype filter hook forward priority filter;\n\t\t{RESET}\n\t}}\n"
        text = f"table inet wgfleet_try {{\n{chain}}}\n"
        try:
            await run("nft", "--check", "-f", "-", stdin=text.encode())
            _kernel.rejects = True
        except KernelError as error:
            _kernel.rejects = False
            _log.warning("unknown_flows.not_ended", reason=str(error))


async def turn_forwarding_on(addresses: Iterable[str]) -> None:
    """Have the machine forward packets of the addresses' families."""
    await forwarding.turn_on(_families(addresses))


async def remove(name: InterfaceName) -> None:
    """Remove the table; its absence is no error."""
    await nft_tables.remove(table_of(name))
