"""Sentences of agents on forwarding, as templates: agents send English texts, and the panel finds the template of each.

So people read them in their language, also what agents of earlier releases say. Pure.
"""

import re
from functools import lru_cache
from string import Formatter

from wgfleet.protocol.reasons import Reason, joined, template

NODE = template("the node at {endpoint}")
PANEL = template("the panel at {address}")
ROUTER = template("the first router")

CAME_BACK = template("a packet of a user's address got to {who}, and its answer came back")
NO_ROUTE_BACK = template(
    "no answer came back to a packet of a user's address; the config does not masquerade, so routers around need a "
    "route to {network} by this node"
)
DROPPED = template(
    "{who} answers this machine, and no packet of a user's address: something here drops what is forwarded; look at "
    "`nft list ruleset` and `iptables-legacy -S FORWARD`, and let pass what comes from {name} and its answers"
)
SILENT = template("nobody who could be asked answers this machine itself: {asked}")
NOBODY = template("there is nobody to ask")
NO_DEFAULT_ROUTE_IPV6 = template("this machine has no default route for IPv6: users have IPv4 only")
NO_DEFAULT_ROUTE = template(
    "this machine has no default route, so users reach only what is near it; type: ip route add default via GATEWAY"
)
NO_DEFAULT_ROUTE_NEAR = template(
    "this machine has no default route, so users reach only what is near it, such as {who}; type: ip route add default "
    "via GATEWAY"
)
ADDRESS_TAKEN = template("somebody has just got the address that was to be tried")
NO_WIREGUARD = template("WireGuard does not answer at UDP port {port} of this machine's loopback")
ALL_IN_USE = template("every address of {network} is in use, so there is none to try it with")

NOT_FORWARDED = template(
    "the kernel does not forward from {name}; type: sysctl -w net.ipv{version}.conf.{name}.forwarding=1, and look for "
    "a route of type unreachable"
)
FORGED = template(
    "the reverse path filter takes their addresses for forged; type: sysctl -w net.ipv4.conf.all.rp_filter=2 "
    "net.ipv4.conf.{name}.rp_filter=2, or look with `ip rule` who routes them elsewhere"
)
PROHIBITED = template("a route or rule of type prohibit refuses them; look with `ip rule` and `ip route`")
CHAIN_DROPS = template("chain {chain} of table {table} drops their packets; type: {command}")

NO_IPV6 = template("IPv6 is disabled on this machine")  # as `diff.NO_IPV6`, which is a word of drift

_WHO = (NODE, PANEL, ROUTER)
_ALL = (
    CAME_BACK, NO_ROUTE_BACK, DROPPED, SILENT, NOBODY, NO_DEFAULT_ROUTE_IPV6, NO_DEFAULT_ROUTE, NO_DEFAULT_ROUTE_NEAR,
    ADDRESS_TAKEN, NO_WIREGUARD, ALL_IN_USE, NOT_FORWARDED, FORGED, PROHIBITED, CHAIN_DROPS, NO_IPV6,
)  # fmt: skip


def recognized(text: str) -> str:
    """Return what an agent says as a `Reason`, where it is one of these sentences; otherwise the text as it is."""
    return _found(text, _ALL)


@lru_cache(maxsize=256)  # many nodes say the same, and their pages are drawn again and again
def _found(text: str, templates: tuple[str, ...]) -> str:
    for each in templates:
        if (match := _pattern(each).fullmatch(text)) is not None:
            values = {name: _value(name, value) for name, value in match.groupdict().items()}
            made = Reason(each, **values)
            return made if str(made) == text else text
    return text


def _value(name: str, value: str) -> str:
    if name == "who":
        return _found(value, _WHO)
    return joined([_found(each, _WHO) for each in value.split(", ")], ", ") if name == "asked" else value


@lru_cache
def _pattern(text: str) -> re.Pattern[str]:
    parts, seen = [], set[str]()
    for literal, name, _, _ in Formatter().parse(text):
        parts.append(re.escape(literal))
        if name is not None:
            parts.append(f"(?P={name})" if name in seen else f"(?P<{name}>.+?)")
            seen.add(name)
    return re.compile("".join(parts))
