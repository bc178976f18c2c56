"""An nftables table of one interface that refuses connections of its peers by their destination. Decides nothing.

A peer's addresses lead to the chain of its rules by a map, so that a packet meets the rules of its own set alone,
whatever the number of peers and sets. What is refused is answered, so that users' programs do not wait.
"""

import ipaddress
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from wgfleet.agent.kernel import nft_tables, peer_maps
from wgfleet.agent.kernel.commands import KernelError, run
from wgfleet.agent.kernel.nftables import IS_KEPT
from wgfleet.protocol.destinations import DestinationPlace, DestinationRule, DestinationTransport, RuleSet
from wgfleet.protocol.ids import InterfaceName

_PREFIX = "wgfleetrules_"
_REFUSE = "refuse"
_HANDLES = {"handle", "index"}
# In numbers: nftables takes names from /etc/protocols, which a machine may not have.
_NUMBERS = {DestinationTransport.TCP: "6", DestinationTransport.UDP: "17", DestinationTransport.ICMP: "{ 1, 58 }"}
# Also by what it shares with others: broadcasts and the like. Of IPv6, `fib` does not say what is multicast; what is
# for the machine has no link by which it goes on, and so none of a type either (65535: that nothing has).
_OWN = "{ local, broadcast, anycast, multicast }"
_LOCAL, _NOT_LOCAL = f"fib daddr type {_OWN} ", f"oiftype != 65535 fib daddr type != {_OWN} "
_MULTICAST6 = "ip6 daddr ff00::/8 "
_NOT_KEPT = f"meta {IS_KEPT.replace('==', '!=')} "
_WORDS = {4: "ip", 6: "ip6"}


@dataclass(frozen=True, slots=True)
class RuleFrame:
    """All of a table but who is held to what: the links of users, and the sets in the order of their chains.

    `tunnel`: the link to the users of other nodes, and for connections that go on through the NAT of another node, to
    what is outside.
    """

    own: InterfaceName
    sets: tuple[RuleSet, ...] = ()
    tunnel: InterfaceName | None = None


@dataclass(frozen=True, slots=True)
class RuledPeer:
    """A peer's networks, and the chain that its packets go through."""

    networks: tuple[str, ...]
    chain: str


@dataclass(frozen=True, slots=True)
class RuleContents:
    """What is in a table: chains by map and element, and all else, as one text that two same tables have."""

    elements: Mapping[tuple[str, str], str]
    chains: str


def table_of(name: InterfaceName) -> str:
    """Name the table."""
    return f"{_PREFIX}{nft_tables.word_of(name)}"


def chain_of(number: int) -> str:
    """Name the chain of a set by its number; of a negative one, that which refuses everything."""
    return f"set_{number}" if number >= 0 else _REFUSE


def elements(peers: Iterable[RuledPeer]) -> dict[tuple[str, str], str]:
    """Return what the maps are to have."""
    return {place: each.chain for each in peers for place in peer_maps.places(each.networks)}


def rules(name: InterfaceName, frame: RuleFrame, peers: Collection[RuledPeer]) -> str:
    """Render the table."""
    of_map: dict[str, list[str]] = {}
    for (where, element), chain in elements(peers).items():
        of_map.setdefault(where, []).append(f"{element} : goto {chain}")
    chains = {
        _REFUSE: [f"meta l4proto {_NUMBERS[DestinationTransport.TCP]} reject with tcp reset", "reject with icmpx 3"]
    }
    for number, each in enumerate(frame.sets):
        lines = [line for rule in each.rules for line in _lines(rule, frame)]
        chains[chain_of(number)] = [*lines, "accept" if each.otherwise_allowed else f"goto {_REFUSE}"]
    texts = [_chain(chain, lines) for chain, lines in chains.items()]
    texts.append(peer_maps.maps("verdict", of_map))
    texts += [
        _chain(
            hook,
            [
                f"type filter hook {hook} priority filter; policy accept;",
                f'iifname != "{name}" accept',
                "ct direction reply accept",
                *(found.replace(" map ", " vmap ") for found in peer_maps.lookups("saddr")),
            ],
        )
        for hook in ("forward", "input")
    ]
    return f"table inet {table_of(name)} {{\n{''.join(texts)}}}\n"


def _chain(name: str, lines: Iterable[str]) -> str:
    return f"\tchain {name} {{\n" + "".join(f"\t\t{line}\n" for line in lines) + "\t}\n"


def _lines(rule: DestinationRule, frame: RuleFrame) -> list[str]:
    """Render a rule: a line for each family that it has networks of, and each way to where it is about."""
    verdict = "accept" if rule.allow else f"goto {_REFUSE}"
    links = _ways(rule.place, frame)
    what = "" if rule.transport is DestinationTransport.ANY else f"meta l4proto {_NUMBERS[rule.transport]} "
    if rule.ports:
        what += f"th dport {{ {', '.join(rule.ports)} }} "
    ways = [(link, network) for link in links for network in _to(rule.networks)]
    if rule.place is DestinationPlace.NODE:
        ways += [(_MULTICAST6, network) for network in _to(rule.networks) if not network.startswith("ip ")]
    return [f"{link}{network}{what}{verdict}" for link, network in ways]


def _ways(place: DestinationPlace, frame: RuleFrame) -> list[str]:
    """Return the words for where packets go to."""
    to_own, to_others = f'oifname "{frame.own}" ', f'oifname "{frame.tunnel}" '
    if place is DestinationPlace.ANYWHERE:
        return [""]
    if place is DestinationPlace.NODE:
        return [_LOCAL]
    if place is DestinationPlace.USERS:
        return [to_own] if frame.tunnel is None else [to_own, f"{to_others}{_NOT_KEPT}"]
    outside = f'oifname != "{frame.own}" {_NOT_LOCAL}'
    if frame.tunnel is None:
        return [outside]
    return [f'oifname != "{frame.tunnel}" {outside}', f"{to_others}meta {IS_KEPT} "]


def _to(networks: Sequence[str]) -> list[str]:
    """Return the words for destinations, by family; nftables takes no networks that lie in each other."""
    if not networks:
        return [""]
    parsed = [ipaddress.ip_network(each) for each in networks]
    v4 = ipaddress.collapse_addresses(each for each in parsed if isinstance(each, ipaddress.IPv4Network))
    v6 = ipaddress.collapse_addresses(each for each in parsed if isinstance(each, ipaddress.IPv6Network))
    by_family = {4: ", ".join(map(str, v4)), 6: ", ".join(map(str, v6))}
    return [f"{_WORDS[version]} daddr {{ {text} }} " for version, text in by_family.items() if text]


async def replace(name: InterfaceName, frame: RuleFrame, peers: Collection[RuledPeer]) -> None:
    """Put a table in the place of the one that is there, in one transaction."""
    await nft_tables.replace(table_of(name), rules(name, frame, peers))


async def remove(name: InterfaceName) -> None:
    """Remove the table; its absence is no error."""
    await nft_tables.remove(table_of(name))


async def is_there(name: InterfaceName) -> bool:
    """Whether there is a table, of whatever is in it."""
    return table_of(name) in await nft_tables.names()


async def change(name: InterfaceName, removed: Iterable[RuledPeer], added: Iterable[RuledPeer]) -> None:
    """Have peers be held to other sets, in one transaction: nobody is without rules in between."""
    table = f"inet {table_of(name)}"
    lines = [f"delete element {table} {where} {{ {element} }}" for where, element in elements(removed)]
    lines += [
        f"add element {table} {where} {{ {element} : goto {chain} }}"
        for (where, element), chain in elements(added).items()
    ]
    if lines:
        await run("nft", "-f", "-", stdin="\n".join((*lines, "")).encode())


async def observe(name: InterfaceName) -> RuleContents | None:
    """Read the table; None: there is none."""
    try:
        text = await run("nft", "--json", "--numeric-protocol", "list", "table", "inet", table_of(name))
    except KernelError:
        if await is_there(name):
            raise
        return None
    found: dict[tuple[str, str], str] = {}
    others = []
    for each in msgspec.json.decode(text)["nftables"]:
        if "map" in each:
            where = each["map"]["name"]
            found |= {
                (where, peer_maps.element(element)): verdict["goto"]["target"]
                for element, verdict in each["map"].get("elem", ())
            }
        else:
            others.append({kind: _without_handles(value) for kind, value in each.items()})
    return RuleContents(found, msgspec.json.encode(others).decode())


def _without_handles(value: dict[str, Any]) -> dict[str, Any]:
    return {key: each for key, each in value.items() if key not in _HANDLES}
