"""Settings of users' files, of which a peer, its tags and its config may each have some: the nearest wins. Pure."""

import ipaddress
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

SETTINGS = ("client_allowed_ips", "excluded_networks", "dns", "mtu", "keepalive", "endpoint_port")
"""Names of the settings, the same in rows and in bodies. In a row of a peer or a tag, None leaves it to the next."""

IPV4, IPV6 = 4, 6
EVERYTHING = {IPV4: "0.0.0.0/0", IPV6: "::/0"}
IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network
Span = tuple[int, int]  # the first and the last address, as numbers


class Layer(NamedTuple):
    """What one peer, tag or config sets. `origin`: the words for it, such as `tag 'office'`."""

    origin: str
    values: Mapping[str, Any]


class InEffect(NamedTuple):
    """A setting as a file has it, and what set it."""

    value: Any
    origin: str


def in_effect(layers: Sequence[Layer], names: Sequence[str] = SETTINGS) -> dict[str, InEffect]:
    """Return each setting of the nearest layer that has it; what none has comes from the last."""
    return {
        name: next(
            InEffect(layer.values[name], layer.origin)
            for layer in layers
            if layer is layers[-1] or layer.values.get(name) is not None
        )
        for name in names
    }


def without(allowed: Sequence[str], excluded: Sequence[str], kept: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the networks that cover what is allowed and not excluded, with those `kept` that were allowed.

    Each network as text. Where nothing is excluded, what is allowed comes back as it was given.
    """
    if not excluded:
        return tuple(allowed)
    found: list[str] = []
    for version in (IPV4, IPV6):
        wanted, unwanted, again = (_spans(networks, version) for networks in (allowed, excluded, kept))
        left = _merged([*_minus(wanted, unwanted), *_minus(again, _minus(again, wanted))])
        kind = ipaddress.IPv4Address if version == IPV4 else ipaddress.IPv6Address
        for first, last in left:
            found += map(str, ipaddress.summarize_address_range(kind(first), kind(last)))
    return tuple(found)


def of_versions(texts: Sequence[str], excluded: Collection[str]) -> list[str]:
    """Return addresses and networks, and whatever else, without those of an IP version that is excluded as a whole.

    A device whose IPv6 is off refuses a file with an IPv6 address in it.
    """
    versions = {version for version, everything in EVERYTHING.items() if everything in excluded}
    return [text for text in texts if _version(text) not in versions]


def _version(text: str) -> int:
    """Return the IP version of an address or a network; 0 for anything else."""
    try:
        return ipaddress.ip_network(text).version
    except ValueError:
        return 0


def _spans(networks: Iterable[str], version: int) -> list[Span]:
    """Return the addresses of networks of one version: spans in ascending order that do not touch."""
    read = (ipaddress.ip_network(network) for network in networks)
    return _merged([(int(each[0]), int(each[-1])) for each in read if each.version == version])


def _merged(spans: Iterable[Span]) -> list[Span]:
    found: list[Span] = []
    for first, last in sorted(spans):
        if found and first <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(found[-1][1], last))
        else:
            found.append((first, last))
    return found


def _minus(spans: Sequence[Span], gone: Sequence[Span]) -> list[Span]:
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
