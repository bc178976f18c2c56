"""Destination rules: where users may connect to, and by what, as a named set of rules that peers are held to.

The first rule that fits a packet decides; for what fits none, `otherwise_allowed`. They are about connections that
peers begin: answers to those that others begin with them are let through. They only take away: what the filter of an
interface (`protocol.reach`) or another table of the machine forbids stays forbidden.
"""

import re
from enum import StrEnum

from msgspec import Struct

from wgfleet.protocol.addresses import LAST_PORT, parse_network
from wgfleet.protocol.errors import FieldError
from wgfleet.protocol.reasons import Reason

MAX_SETS, MAX_RULES, MAX_NETWORKS, MAX_PORTS = 200, 100, 500, 15
MAX_NAME = 64
_PORT = re.compile(r"(?P<first>[1-9][0-9]{0,4})(?:-(?P<last>[1-9][0-9]{0,4}))?")


class DestinationPlace(StrEnum):
    """Where a packet goes to, beyond its address."""

    ANYWHERE = "anywhere"
    USERS = "users"  # other users of the config, and networks behind them, at whichever node
    NODE = "node"  # an address of the node itself
    OUTSIDE = "outside"  # neither


class DestinationTransport(StrEnum):
    """What a packet is of."""

    ANY = "any"
    TCP = "tcp"
    UDP = "udp"
    ICMP = "icmp"  # of IPv4 and of IPv6


class DestinationRule(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What fits all that is said: one of `networks` (none: any address), one of `ports` (`443`, `8000-8100`)."""

    allow: bool
    networks: tuple[str, ...] = ()
    transport: DestinationTransport = DestinationTransport.ANY
    ports: tuple[str, ...] = ()
    place: DestinationPlace = DestinationPlace.ANYWHERE


class RuleSet(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Rules in their order, and what is done with what fits none."""

    name: str
    rules: tuple[DestinationRule, ...] = ()
    otherwise_allowed: bool = True


def parse_port_range(text: str, field: str) -> str:
    """Parse a port, or a range of ports, into canonical form; raise `FieldError` naming `field`."""
    found = _PORT.fullmatch(text)
    first = int(found["first"]) if found else 0
    last = int(found["last"] or first) if found else 0
    if not 0 < first <= last <= LAST_PORT:
        raise FieldError(
            field, Reason("must be a port or a range of ports, such as 443 or 8000-8100, not {text!r}", text=text)
        )
    return str(first) if first == last else f"{first}-{last}"


def check_rule_sets(sets: tuple[RuleSet, ...], where: str = "settings.rule_sets") -> None:
    """Raise `FieldError` unless every value is in canonical form, and no two sets have one name."""
    _check_count(sets, MAX_SETS, where)
    names: set[str] = set()
    for i, each in enumerate(sets):
        field = f"{where}[{i}]"
        if not each.name or len(each.name) > MAX_NAME:
            raise FieldError(f"{field}.name", Reason("must have 1 to {max_name} characters", max_name=MAX_NAME))
        if each.name in names:
            raise FieldError(f"{field}.name", Reason("{each!r} is the name of two sets", each=each.name))
        names.add(each.name)
        check_rules(each.rules, f"{field}.rules")


def check_rules(rules: tuple[DestinationRule, ...], where: str) -> None:
    """Raise `FieldError` unless every value is in canonical form."""
    _check_count(rules, MAX_RULES, where)
    for i, rule in enumerate(rules):
        field = f"{where}[{i}]"
        _check_count(rule.networks, MAX_NETWORKS, f"{field}.networks")
        _check_count(rule.ports, MAX_PORTS, f"{field}.ports")
        for k, network in enumerate(rule.networks):
            _same(parse_network(network, f"{field}.networks[{k}]"), network, f"{field}.networks[{k}]")
        for k, port in enumerate(rule.ports):
            _same(parse_port_range(port, f"{field}.ports[{k}]"), port, f"{field}.ports[{k}]")
        if rule.ports and rule.transport not in {DestinationTransport.TCP, DestinationTransport.UDP}:
            raise FieldError(f"{field}.transport", Reason("must be tcp or udp where there are ports"))


def _check_count(values: tuple[object, ...], most: int, field: str) -> None:
    if len(values) > most:
        raise FieldError(field, Reason("must be at most {most}, not {count}", most=most, count=len(values)))


def _same(canonical: str, text: str, field: str) -> None:
    if canonical != text:
        raise FieldError(
            field, Reason("{text!r} is not in canonical form; write {canonical}", text=text, canonical=canonical)
        )
