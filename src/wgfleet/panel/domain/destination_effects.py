"""Effects of destination rules on users, as sentences: who reaches what no more, and what goes by accident. Pure."""

import ipaddress
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from wgfleet.panel.domain.destination_changes import lost
from wgfleet.panel.domain.destination_rules import UserConnection, allows, port_spans
from wgfleet.protocol.destinations import DestinationPlace, DestinationTransport, RuleSet
from wgfleet.protocol.reasons import Reason, joined, template

_DNS_PORT = 53


@dataclass(frozen=True, slots=True)
class OwnThings:
    """Addresses and ports of the VPN itself that users of a config are to reach, as far as its settings say.

    `name_servers`: those in the files of all, each with where it is; `of_sets`: those in the files of who has a set.
    """

    gateways: tuple[str, ...] = ()
    node_ports: tuple[str, ...] = ()
    name_servers: Mapping[str, DestinationPlace] = field(default_factory=dict)
    of_sets: Mapping[str, Mapping[str, DestinationPlace]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RulesOfConfig:
    """Who of a config is held to which set, at one time. `of_some`: by peer; `of_others`: all the rest, `peers` in all.

    A set by its id, "": none. `sets`: what they say. `too_old`: the nodes that hold nobody to rules.
    """

    name: str
    peers: int
    of_others: str
    of_some: Mapping[str, str]
    sets: Mapping[str, RuleSet]
    own: OwnThings
    too_old: tuple[str, ...] = ()

    def of(self, peer_id: str) -> str:
        """Return the set that a peer is held to."""
        return self.of_some.get(peer_id, self.of_others)

    def counted(self) -> Counter[str]:
        """Return how many are held to each set."""
        found = Counter(self.of_some.values())
        found[self.of_others] += self.peers - len(self.of_some)
        return found


def of_change(before: Iterable[RulesOfConfig], after: Iterable[RulesOfConfig]) -> list[str]:
    """Say what is different for users. `before` and `after`: of the same configs, in the same order."""
    said: list[str] = []
    for old, new in zip(before, after, strict=True):
        changed: Counter[tuple[str, str]] = Counter()
        special = {*old.of_some, *new.of_some}
        for peer_id in special:
            changed[old.of(peer_id), new.of(peer_id)] += 1
        changed[old.of_others, new.of_others] += max(old.peers, new.peers) - len(special)
        for (was, now), number in sorted(changed.items()):
            if number:
                said += _of_peers(old, new, was, now, number)
        begin = sum(number for (was, now), number in changed.items() if now and not was)
        if begin and new.too_old:
            text = template("node {names} has too old an agent, and holds nobody to rules: upgrade it")
            if len(new.too_old) > 1:
                text = template("nodes {names} have too old an agent, and hold nobody to rules: upgrade it")
            said.append(Reason(text, names=", ".join(new.too_old)))
    return said


def _of_peers(old: RulesOfConfig, new: RulesOfConfig, was: str, now: str, number: int) -> list[str]:
    """Say what is different for some peers of a config, who were held to one set and are to another."""
    before, after = old.sets.get(was), new.sets.get(now)
    one = number == 1
    whom = Reason("1 peer of {config!r}", config=new.name)
    if not one:
        whom = Reason("{number} peers of {config!r}", number=number, config=new.name)
    said: list[str] = []
    if not _say_the_same(before, after):
        if gone := lost(before, after):
            text = template("{whom} no longer reaches: {gone}; that ends open connections too")
            many = template("{whom} no longer reach: {gone}; that ends open connections too")
            said.append(Reason(text if one else many, whom=whom, gone=joined(gone, " | ")))
        if more := lost(after, before):
            text = template("{whom} reaches from now on, as far as the config lets them: {more}")
            many = template("{whom} reach from now on, as far as the config lets them: {more}")
            said.append(Reason(text if one else many, whom=whom, more=joined(more, " | ")))
    had = denied(old.own, before)
    return [
        *said,
        *(Reason("{whom}: {what}", whom=whom, what=each) for each in denied(new.own, after) if each not in had),
    ]


def _say_the_same(one: RuleSet | None, other: RuleSet | None) -> bool:
    if one is None or other is None:
        return one is other
    return (one.rules, one.otherwise_allowed) == (other.rules, other.otherwise_allowed)


def denied(own: OwnThings, rules: RuleSet | None) -> list[str]:
    """Say which of the VPN's own things a set denies to those who are held to it."""
    if rules is None:
        return []
    said: list[str] = []
    for address, place in {**own.name_servers, **own.of_sets.get(rules.name, {})}.items():
        if not _allowed(rules, address, place, DestinationTransport.UDP, _DNS_PORT):
            said.append(
                Reason(
                    "no name is resolved by {address}, the name server in their files: allow udp/53 and tcp/53 to it",
                    address=address,
                )
            )
        elif not _allowed(rules, address, place, DestinationTransport.TCP, _DNS_PORT):
            said.append(
                Reason(
                    "long answers of {address}, the name server in their files, are lost: allow tcp/53 to it",
                    address=address,
                )
            )
    node = DestinationPlace.NODE
    if silent := [each for each in own.gateways if not _allowed(rules, each, node, DestinationTransport.ICMP, 0)]:
        said.append(
            Reason(
                "pings of {addresses}, by which one sees that the tunnel works, get no answer: allow icmp",
                addresses=" and ".join(silent),
            )
        )
    if closed := [text for text in own.node_ports if not any(_opens(rules, each, text) for each in own.gateways)]:
        said.append(
            Reason(
                "{ports} of the node, which the config opens (node_ports), stays closed to them",
                ports=", ".join(closed),
            )
        )
    return said


def _opens(rules: RuleSet, address: str, node_port: str) -> bool:
    transport, _, ports = node_port.partition("/")
    by, (span,) = DestinationTransport(transport), port_spans([ports])
    return all(_allowed(rules, address, DestinationPlace.NODE, by, port) for port in set(span))


def _allowed(rules: RuleSet, address: str, place: DestinationPlace, transport: DestinationTransport, port: int) -> bool:
    return allows(rules, UserConnection(ipaddress.ip_address(address), transport, port, place))
