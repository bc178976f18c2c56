"""Addresses as other programs write them: with and without prefixes, several in a text, host bits in networks."""

import ipaddress
from collections.abc import Iterable, Sequence

WHOLE = {4: 32, 6: 128}


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

    Its own are hosts inside a network of the interface, or all hosts where the interface's networks are not known. So
    is an address there with a prefix behind it (`10.8.0.2/24`), which was copied from elsewhere and is not meant.
    Raise ValueError for what is no network.
    """
    inside = [ipaddress.ip_interface(each).network for each in interface]
    inside = [each for each in inside if each.prefixlen < WHOLE[each.version]]
    own, behind = [], []
    for text in allowed_ips:
        each = ipaddress.ip_network(text, strict=False)
        address = ipaddress.ip_interface(text).ip
        whole = each.prefixlen == WHOLE[each.version]
        among = any(address in other for other in inside if other.version == each.version)
        if (whole and not inside) or (among and (whole or address != each.network_address)):
            own.append(str(address))
        else:
            behind.append(str(each))
    return tuple(dict.fromkeys(own)), tuple(dict.fromkeys(behind))
