"""Changes of destination rules, in words: what users who are held to another set reach no more. Pure."""

from bisect import bisect_right
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from wgfleet.panel.domain.destination_rules import WITH_PORTS, port_spans
from wgfleet.panel.domain.spans import IPV4, IPV6, Span, joined, minus, networks_of, of_networks
from wgfleet.protocol.destinations import DestinationPlace, DestinationRule, DestinationTransport, RuleSet
from wgfleet.protocol.reasons import Reason
from wgfleet.protocol.reasons import joined as joined_texts

_PLACES = {
    DestinationPlace.USERS: Reason("other users"),
    DestinationPlace.NODE: Reason("the node itself"),
    DestinationPlace.OUTSIDE: Reason("what is outside"),
}
_TRANSPORTS = (
    DestinationTransport.TCP,
    DestinationTransport.UDP,
    DestinationTransport.ICMP,
    DestinationTransport.ANY,  # another than those
)
_LAST_PORT = 65535
_LAST_ADDRESS = {IPV4: 2**32 - 1, IPV6: 2**128 - 1}
_MOST_COMPARED = 400_000
_NAMED, _SAID = 4, 8
Lost = frozenset[tuple[DestinationPlace, DestinationTransport, Span]]


class _Rule(NamedTuple):
    """A rule as numbers. `addresses`: by IP version where the networks begin and end, in order; None: all."""

    rule: DestinationRule
    addresses: dict[int, list[int]] | None
    ports: list[Span]


class TooMuch(Exception):
    """Two sets are too large to be compared."""


def lost(before: RuleSet | None, after: RuleSet | None) -> list[str]:
    """Say what who was held to one set (None: to none) reaches no more with another; empty: all that it reached."""
    try:
        groups = _groups(before, after)
    except TooMuch:
        return [Reason("more than can be compared")]
    said: list[str] = [
        Reason("{what} to {where}", what=_what(kinds), where=_where(places, spans))
        for gone, spans in groups.items()
        for kinds, places in _by_kinds(gone).items()
    ]
    return said if len(said) <= _SAID else [*said[:_SAID], Reason("{count} more", count=len(said) - _SAID)]


def _by_kinds(gone: Lost) -> dict[frozenset[tuple[DestinationTransport, Span]], list[str]]:
    """Return the places for which the same is lost, in words, by what that is."""
    found: dict[frozenset[tuple[DestinationTransport, Span]], list[str]] = {}
    for place, words in _PLACES.items():
        if kinds := frozenset((transport, span) for each, transport, span in gone if each is place):
            found.setdefault(kinds, []).append(words)
    return found


def _read(rules: RuleSet | None) -> list[_Rule]:
    return [
        _Rule(rule, _bounds(rule.networks) if rule.networks else None, port_spans(rule.ports))
        for rule in (() if rules is None else rules.rules)
    ]


def _bounds(networks: Sequence[str]) -> dict[int, list[int]]:
    """Return where networks begin, and where they have ended, one after the other, by version."""
    return {
        version: [bound for low, high in spans for bound in (low, high + 1)]
        for version, spans in of_networks(networks).items()
    }


def _groups(before: RuleSet | None, after: RuleSet | None) -> dict[Lost, dict[int, list[Span]]]:
    """Return what is lost, each with the addresses for which it is so, by IP version."""
    old, new = _read(before), _read(after)
    ports = _port_pieces([*old, *new])
    known: dict[tuple[tuple[int, ...], tuple[int, ...]], Lost] = {}
    found: dict[Lost, dict[int, list[Span]]] = {}
    work = 0
    for version in (IPV4, IPV6):
        for first, last in _pieces([*old, *new], version):
            about = _about(old, version, first), _about(new, version, first)
            if about not in known:
                work += len(ports) * (len(about[0]) + len(about[1]) + 1)
                if work > _MOST_COMPARED:
                    raise TooMuch
                had = _Decisions([old[i] for i in about[0]], before is None or before.otherwise_allowed)
                has = _Decisions([new[i] for i in about[1]], after is None or after.otherwise_allowed)
                known[about] = frozenset(each for each in _kinds(ports) if had.allow(*each) and not has.allow(*each))
            if known[about]:
                found.setdefault(known[about], {IPV4: [], IPV6: []})[version].append((first, last))
    return found


def _kinds(ports: Sequence[Span]) -> Iterator[tuple[DestinationPlace, DestinationTransport, Span]]:
    for place in _PLACES:
        for transport in _TRANSPORTS:
            for span in ports if transport in WITH_PORTS else [(0, _LAST_PORT)]:
                yield place, transport, span


class _Decisions(NamedTuple):
    """The rules that are about some addresses, and what is done with what fits none."""

    rules: Sequence[_Rule]
    default: bool

    def allow(self, place: DestinationPlace, transport: DestinationTransport, span: Span) -> bool:
        for rule, _, ports in self.rules:
            if (
                rule.place in {DestinationPlace.ANYWHERE, place}
                and rule.transport in {DestinationTransport.ANY, transport}
                and (not ports or any(low <= span[0] <= high for low, high in ports))
            ):
                return rule.allow
        return self.default


def _about(rules: Sequence[_Rule], version: int, address: int) -> tuple[int, ...]:
    """Return which rules are about an address."""
    return tuple(
        i
        for i, each in enumerate(rules)
        if each.addresses is None or bisect_right(each.addresses[version], address) % 2 == 1
    )


def _pieces(rules: Iterable[_Rule], version: int) -> list[Span]:
    """Return all addresses in pieces, of each of which all rules say the same."""
    cuts = {cut for each in rules if each.addresses is not None for cut in each.addresses[version]}
    last = _LAST_ADDRESS[version]
    starts = sorted({0, *(cut for cut in cuts if cut <= last)})
    return [(low, high - 1) for low, high in pairwise([*starts, last + 1])]


def _port_pieces(rules: Iterable[_Rule]) -> list[Span]:
    starts = {0} | {cut for each in rules for low, high in each.ports for cut in (low, high + 1) if cut <= _LAST_PORT}
    return [(low, high - 1) for low, high in pairwise([*sorted(starts), _LAST_PORT + 1])]


def _what(kinds: Collection[tuple[DestinationTransport, Span]]) -> str:
    """Say by which transports and ports."""
    of = {transport: joined(span for by, span in kinds if by is transport) for transport in _TRANSPORTS}
    if all(spans == [(0, _LAST_PORT)] for spans in of.values()):
        return Reason("everything")
    said: list[str] = []
    for transport, spans in of.items():
        name = Reason("other protocols") if transport is DestinationTransport.ANY else transport.value
        if spans == [(0, _LAST_PORT)]:
            said.append(name)
        elif spans and spans[0][0] == 0 and spans[-1][1] == _LAST_PORT:
            left = ", ".join(_port(a[1] + 1, b[0] - 1) for a, b in pairwise(spans))
            said.append(Reason("{what} but for {left}", what=name, left=left))
        elif spans:
            said.append(", ".join(f"{name}/{_port(*span)}" for span in spans))
    return joined_texts(said)


def _port(first: int, last: int) -> str:
    return str(first) if first == last else f"{first}-{last}"


def _where(places: Sequence[str], spans: dict[int, list[Span]]) -> str:
    """Say to which places and addresses."""
    lost_of = {version: joined(each) for version, each in spans.items()}
    among = "" if len(places) == len(_PLACES) else _and(places)
    if all(lost_of[version] == [(0, last)] for version, last in _LAST_ADDRESS.items()):
        return among or Reason("anywhere")
    networks: list[str] = []
    for version, name in ((IPV4, "IPv4"), (IPV6, "IPv6")):
        if lost_of[version] == [(0, _LAST_ADDRESS[version])]:
            networks.append(Reason("all {family} addresses", family=name))
            continue
        if left := _left_out(lost_of[version], version):
            networks.append(Reason("all {family} addresses but {left}", family=name, left=_named(left, version)))
        elif lost_of[version]:
            networks.append(_named(lost_of[version], version))
    said = joined_texts(networks, ", ")
    return Reason("{networks} ({places})", networks=said, places=among) if among else said


def _and(texts: Sequence[str]) -> str:
    """Return two texts, or one, as one."""
    return Reason("{one} and {other}", one=texts[0], other=texts[1]) if len(texts) > 1 else texts[0]


def _left_out(spans: Sequence[Span], version: int) -> list[Span]:
    """Return what is not in spans, where these are more than they leave out; else nothing."""
    last = _LAST_ADDRESS[version]
    return minus([(0, last)], spans) if sum(high - low + 1 for low, high in spans) * 2 > last else []


def _named(spans: Sequence[Span], version: int) -> str:
    networks = networks_of(spans, version)
    said = ", ".join(networks[:_NAMED])
    if len(networks) <= _NAMED:
        return said
    return Reason("{networks} and {count} more networks", networks=said, count=len(networks) - _NAMED)
