"""Maps of nftables from addresses of peers to an object of each: a packet meets one rule, however many peers there are.

Hosts have maps of their own beside networks: to find one of 10,000 in a hash costs less than in a tree.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

_FAMILIES = {4: ("ip", "ipv4_addr"), 6: ("ip6", "ipv6_addr")}
_MAPS = tuple((kind, version) for kind in ("hosts", "networks") for version in _FAMILIES)


def is_host(network: str) -> bool:
    """Whether a network, in canonical form, is one address."""
    return network.endswith("/128") or (network.endswith("/32") and ":" not in network)


def places(networks: Iterable[str], prefix: str = "") -> list[tuple[str, str]]:
    """Return in which map each network is, and how it is written there. `prefix` begins the names of the maps."""
    found = []
    for network in networks:
        kind, version = "hosts" if is_host(network) else "networks", 6 if ":" in network else 4
        found.append((f"{prefix}{kind}{version}", network.partition("/")[0] if kind == "hosts" else network))
    return found


def maps(kind_of_object: str, elements: Mapping[str, Sequence[str]], prefix: str = "") -> str:
    """Render the maps. `elements`: what is in each, as text."""
    lines = []
    for kind, version in _MAPS:
        where = f"{prefix}{kind}{version}"
        flags = " flags interval;" if kind == "networks" else ""
        has = f" elements = {{ {', '.join(elements[where])} }};" if where in elements else ""
        lines.append(f"\tmap {where} {{ type {_FAMILIES[version][1]} : {kind_of_object};{flags}{has} }}\n")
    return "".join(lines)


def lookups(side: str, prefix: str = "") -> list[str]:
    """Return the words that find the object of a packet, once for each map. `side`: `saddr` or `daddr`."""
    return [f"{_FAMILIES[version][0]} {side} map @{prefix}{kind}{version}" for kind, version in _MAPS]


def element(found: Any) -> str:
    """Return an element of a map, as nft prints it in JSON, as we write it."""
    return found if isinstance(found, str) else f"{found['prefix']['addr']}/{found['prefix']['len']}"
