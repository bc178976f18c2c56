"""Verdict on an IP version of an interface: whether users' packets get through, and if that is not proven, why. Pure.

That an answer came back proves that they do. That none came proves something only where the machine itself, asking the
same, got one; otherwise it is what the rules say, or nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from wgfleet.protocol import forwarding_words as words
from wgfleet.protocol.ids import InterfaceName
from wgfleet.protocol.messages import Forwarding, ForwardingState


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was found out. `came_back`: who answered a user's packet; `only_here`: who answered the machine alone.

    `silent`: who answered nobody. `faults`: what the rules and routes of the machine say. `obstacle`: why nothing could
    be tried.
    """

    name: InterfaceName
    version: int
    network: str
    masquerade: bool
    default_route: bool = True
    came_back: Sequence[str] = ()
    only_here: Sequence[str] = ()
    silent: Sequence[str] = ()
    faults: Sequence[str] = ()
    obstacle: str | None = None


def verdict(found: Evidence) -> Forwarding:
    """Judge."""
    nowhere = found.masquerade and not found.default_route
    state, why = _without_route(found) if nowhere else _judge(found)
    return Forwarding(found.version, state, why)


def _judge(found: Evidence) -> tuple[ForwardingState, str]:
    if found.came_back:
        return ForwardingState.OK, words.CAME_BACK.format(who=found.came_back[0])
    if found.faults:
        return ForwardingState.FAILED, "; ".join(found.faults)
    if found.obstacle is not None:
        return ForwardingState.NOT_PROVEN, found.obstacle
    if not found.masquerade:
        return ForwardingState.NOT_PROVEN, words.NO_ROUTE_BACK.format(network=found.network)
    if found.only_here:
        return ForwardingState.FAILED, words.DROPPED.format(who=found.only_here[0], name=found.name)
    asked = ", ".join(found.silent)
    return ForwardingState.NOT_PROVEN, words.SILENT.format(asked=asked) if asked else words.NOBODY


def _without_route(found: Evidence) -> tuple[ForwardingState, str]:
    """Judge a machine that has no way to the internet: over IPv6 that is common, and devices take IPv4 then."""
    if found.version == 6:  # noqa: PLR2004 - IPv6
        return ForwardingState.NOT_PROVEN, words.NO_DEFAULT_ROUTE_IPV6
    if found.came_back:
        return ForwardingState.FAILED, words.NO_DEFAULT_ROUTE_NEAR.format(who=found.came_back[0])
    return ForwardingState.FAILED, words.NO_DEFAULT_ROUTE
