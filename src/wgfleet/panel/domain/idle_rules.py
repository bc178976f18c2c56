"""Destination rules that never count, as sentences: one before them fits all of theirs, or nobody has such addresses.

Pure. What several rules cover together is not looked for.
"""

import ipaddress
from collections.abc import Iterable, Sequence

from wgfleet.panel.domain.addressing import contains
from wgfleet.panel.domain.destination_rules import IPNetwork, port_spans
from wgfleet.protocol.destinations import DestinationPlace, DestinationRule, DestinationTransport, RuleSet
from wgfleet.protocol.reasons import Reason

_FAMILIES = {4: "IPv4", 6: "IPv6"}


def idle(rules: RuleSet, configs: Iterable[tuple[str, Sequence[str]]] = ()) -> list[str]:
    """Say which rules of a set never count, and why; `configs`: the names of those that use it, and nodes' addresses.

    Of a config without addresses nothing is said.
    """
    said: list[str] = []
    families = {name: {ipaddress.ip_address(each).version for each in gateways} for name, gateways in configs}
    known = {name: found for name, found in families.items() if found}
    for number, rule in enumerate(rules.rules, 1):
        cover = next((at for at, earlier in enumerate(rules.rules[: number - 1], 1) if _covers(earlier, rule)), None)
        if cover is not None:
            said.append(
                Reason("rule {number} never counts: rule {cover} before it fits all of it", number=number, cover=cover)
            )
            continue
        wanted = {each.version for each in _networks(rule)}
        if len(wanted) == 1 and known and not any(wanted & found for found in known.values()):
            said.append(
                Reason(
                    "rule {number} never counts: no user of {configs} has an address of {family}",
                    number=number,
                    configs=", ".join(sorted(known)),
                    family=_FAMILIES[wanted.pop()],
                )
            )
    return said


def _covers(earlier: DestinationRule, later: DestinationRule) -> bool:
    """Tell whether a rule fits whatever another one does."""
    return (
        earlier.place in {DestinationPlace.ANYWHERE, later.place}
        and earlier.transport in {DestinationTransport.ANY, later.transport}
        and (not earlier.ports or (bool(later.ports) and _ports_in(later.ports, earlier.ports)))
        and (not earlier.networks or (bool(later.networks) and _networks_in(_networks(later), _networks(earlier))))
    )


def _ports_in(inner: Iterable[str], outer: Iterable[str]) -> bool:
    spans = port_spans(outer)
    return all(any(first <= low and high <= last for first, last in spans) for low, high in port_spans(inner))


def _networks(rule: DestinationRule) -> list[IPNetwork]:
    return [ipaddress.ip_network(each) for each in rule.networks]


def _networks_in(inner: Iterable[IPNetwork], outer: Sequence[IPNetwork]) -> bool:
    within = (
        *ipaddress.collapse_addresses(each for each in outer if isinstance(each, ipaddress.IPv4Network)),
        *ipaddress.collapse_addresses(each for each in outer if isinstance(each, ipaddress.IPv6Network)),
    )
    return all(any(contains(str(network), str(each)) for network in within) for each in inner)
