"""Settings of users' files, of which a peer, its tags and its config may each have some: the nearest wins. Pure."""

import ipaddress
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from wgfleet.panel.domain.spans import IPV4, IPV6, joined, minus, networks_of, of_networks

SETTINGS = ("client_allowed_ips", "excluded_networks", "dns", "mtu", "keepalive", "endpoint_port")
"""Names of the settings, the same in rows and in bodies. In a row of a peer or a tag, None leaves it to the next."""

EVERYTHING = {IPV4: "0.0.0.0/0", IPV6: "::/0"}


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
    of_all = [of_networks(networks) for networks in (allowed, excluded, kept)]
    for version in (IPV4, IPV6):
        wanted, unwanted, again = (each[version] for each in of_all)
        found += networks_of(joined([*minus(wanted, unwanted), *minus(again, minus(again, wanted))]), version)
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
