"""Destination rules as administrators give them: checked, in the form that nodes take; and what a set lets through.

Pure.
"""

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec

from wgfleet.protocol.addresses import host_network, parse_network
from wgfleet.protocol.destinations import (
    MAX_NETWORKS,
    MAX_PORTS,
    MAX_RULES,
    DestinationPlace,
    DestinationRule,
    DestinationTransport,
    RuleSet,
    parse_port_range,
)
from wgfleet.protocol.errors import FieldError
from wgfleet.protocol.reasons import Reason

MAX_NETWORKS_OF_SET = 2000
IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network
_MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")
WITH_PORTS = {DestinationTransport.TCP, DestinationTransport.UDP}


class UserConnection(NamedTuple):
    """What a user begins. `transport` ANY: neither TCP nor UDP nor ICMP; without ports, `port` says nothing."""

    address: IPAddress
    transport: DestinationTransport
    port: int
    place: DestinationPlace


def parse(values: Sequence[Mapping[str, Any]], field: str = "rules") -> tuple[DestinationRule, ...]:
    """Return rules in canonical form, or name the field that is wrong."""
    if len(values) > MAX_RULES:
        raise FieldError(
            field,
            Reason(
                "a set has at most {max_rules} rules, not {count}; join some that say the same",
                max_rules=MAX_RULES,
                count=len(values),
            ),
        )
    found: list[DestinationRule] = []
    at: dict[DestinationRule, int] = {}
    for i, value in enumerate(values):
        rule = _parsed(value, f"{field}[{i}]")
        same = msgspec.structs.replace(rule, allow=True)
        if same in at:
            raise FieldError(
                f"{field}[{i}]",
                Reason("never counts, as rule {rule} fits the same; leave one of them out", rule=at[same] + 1),
            )
        at[same] = i
        found.append(rule)
    if (count := sum(len(rule.networks) for rule in found)) > MAX_NETWORKS_OF_SET:
        raise FieldError(
            field,
            Reason(
                "a set has at most {max_networks_of_set} networks in all, not {count}; join neighboring ones",
                max_networks_of_set=MAX_NETWORKS_OF_SET,
                count=count,
            ),
        )
    return tuple(found)


def _parsed(value: Mapping[str, Any], at: str) -> DestinationRule:
    for name, most in (("networks", MAX_NETWORKS), ("ports", MAX_PORTS)):
        if len(value[name]) > most:
            raise FieldError(
                f"{at}.{name}",
                Reason(
                    "a rule has at most {most} {name}, not {count}; use two rules",
                    most=most,
                    name=name,
                    count=len(value[name]),
                ),
            )
    transport = DestinationTransport(value["transport"])
    if value["ports"] and transport not in WITH_PORTS:
        raise FieldError(
            f"{at}.transport", Reason("must be tcp or udp where there are ports, not {transport}", transport=transport)
        )
    return DestinationRule(
        allow=value["allow"],
        networks=tuple(
            dict.fromkeys(_network(text, f"{at}.networks[{k}]") for k, text in enumerate(value["networks"]))
        ),
        transport=transport,
        ports=tuple(dict.fromkeys(parse_port_range(text, f"{at}.ports[{k}]") for k, text in enumerate(value["ports"]))),
        place=DestinationPlace(value["place"]),
    )


def _network(text: str, field: str) -> str:
    network = parse_network(text if "/" in text else host_network(text), field)
    parsed = ipaddress.ip_network(network)
    if isinstance(parsed, ipaddress.IPv6Network) and parsed.subnet_of(_MAPPED):
        inside = ipaddress.IPv4Network((int(parsed.network_address) & 0xFFFFFFFF, parsed.prefixlen - 96))
        raise FieldError(
            field,
            Reason(
                "{text!r} is IPv4 written as IPv6, which no packet has as its address; write {inside}",
                text=text,
                inside=inside,
            ),
        )
    return network


def allows(rules: RuleSet | None, connection: UserConnection) -> bool:
    """Tell whether a peer that is held to a set (None: to none) may begin a connection: the first that fits decides."""
    if rules is None:
        return True
    return next((rule.allow for rule in rules.rules if fits(rule, connection)), rules.otherwise_allowed)


def fits(rule: DestinationRule, connection: UserConnection) -> bool:
    """Tell whether a rule is about a connection."""
    return (
        rule.place in {DestinationPlace.ANYWHERE, connection.place}
        and rule.transport in {DestinationTransport.ANY, connection.transport}
        and (not rule.ports or any(first <= connection.port <= last for first, last in port_spans(rule.ports)))
        and (not rule.networks or in_any(connection.address, _parsed_networks(rule.networks)))
    )


@lru_cache(MAX_RULES)  # those of a set, which is asked for each gateway, port and name server
def _parsed_networks(networks: tuple[str, ...]) -> tuple[IPNetwork, ...]:
    return tuple(map(ipaddress.ip_network, networks))


def port_spans(ports: Iterable[str]) -> list[tuple[int, int]]:
    """Return the first and the last port of each range."""
    found = []
    for text in ports:
        first, _, last = text.partition("-")
        found.append((int(first), int(last or first)))
    return found


def in_any(address: IPAddress, networks: Iterable[IPNetwork]) -> bool:
    """Tell whether an address is in one of some networks."""
    return any(address.version == network.version and address in network for network in networks)


def place_of(address: str, own: Iterable[str], of_users: Iterable[IPNetwork]) -> DestinationPlace:
    """Say where an address is. `own`: addresses of nodes; `of_users`: networks that peers have, or that are behind."""
    if address in own:
        return DestinationPlace.NODE
    inside = in_any(ipaddress.ip_address(address), of_users)
    return DestinationPlace.USERS if inside else DestinationPlace.OUTSIDE
