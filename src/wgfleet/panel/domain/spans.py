"""Spans of numbers, such as addresses and ports: joined, taken from each other, of networks and back. Pure."""

import ipaddress
from collections.abc import Iterable, Sequence

IPV4, IPV6 = 4, 6
Span = tuple[int, int]  # the first and the last number


def of_networks(networks: Iterable[str]) -> dict[int, list[Span]]:
    """Return the addresses of networks by IP version: spans in ascending order that do not touch."""
    read = [ipaddress.ip_network(network) for network in networks]
    return {
        version: joined((int(each[0]), int(each[-1])) for each in read if each.version == version)
        for version in (IPV4, IPV6)
    }


def networks_of(spans: Iterable[Span], version: int) -> list[str]:
    """Return the fewest networks of an IP version that cover spans of addresses, each as text."""
    kind = ipaddress.IPv4Address if version == IPV4 else ipaddress.IPv6Address
    return [str(each) for first, last in spans for each in ipaddress.summarize_address_range(kind(first), kind(last))]


def joined(spans: Iterable[Span]) -> list[Span]:
    """Return the same numbers as spans in ascending order that do not touch."""
    found: list[Span] = []
    for first, last in sorted(spans):
        if found and first <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(found[-1][1], last))
        else:
            found.append((first, last))
    return found


def minus(spans: Sequence[Span], gone: Sequence[Span]) -> list[Span]:
    """Return what is left of spans; both ascending, and without overlaps."""
    found: list[Span] = []
    for first, last in spans:
        for low, high in gone:
            if high < first or low > last:
                continue
            if low > first:
                found.append((first, low - 1))
            first = high + 1  # noqa: PLW2901 - the rest of the span
            if first > last:
                break
        if first <= last:
            found.append((first, last))
    return found
