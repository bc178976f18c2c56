"""Addresses as other programs write them: with and without prefixes, several in a text, host bits in networks."""

import ipaddress
from collections.abc import Iterable, Sequence

WHOLE = {4: 32, 6: 128}
EVERYTHING = frozenset({"0.0.0.0/0", "::/0"})


def listed(text: str | None) -> tuple[str, ...]:
    """Return the items of a list with commas, semicolons, spaces or line ends between them."""
    if not text:
        return ()
    return tuple(dict.fromkeys(text.replace(",", " ").replace(";", " ").split()))


def interface_address(text: str) -> str:
    """Return an interface's own address with its prefix; without one, that of its only host. Raise ValueError."""
    return str(ipaddress.ip_interface(text))


def network(text: str) -> str:
    """Return a network, without its host bits. Raise ValueError."""
    return str(ipaddress.ip_network(text, strict=False))


def networks(texts: Iterable[str]) -> tuple[str, ...]:
    """Return networks, each once. Raise ValueError."""
    return tuple(dict.fromkeys(network(text) for text in texts))


def divided(allowed_ips: Sequence[str], interface: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Divide what a server sends to a peer into the peer's own addresses and the networks behind it.

    Its own are hosts inside a network of the interface, or all hosts where the interface's networks are not known.
    Raise ValueError for what is no network.
    """
    inside = [ipaddress.ip_interface(each).network for each in interface]
    inside = [each for each in inside if each.prefixlen < WHOLE[each.version]]
    own, behind = [], []
    for text in allowed_ips:
        each = ipaddress.ip_network(text, strict=False)
        host = each.prefixlen == WHOLE[each.version]
        if host and (
            not inside or any(each.network_address in other for other in inside if other.version == each.version)
        ):
            own.append(str(each.network_address))
        elif str(each) not in EVERYTHING:
            behind.append(str(each))
    return tuple(dict.fromkeys(own)), tuple(dict.fromkeys(behind))
