"""Verdict on an IP version of an interface: whether users' packets get through, and if that is not proven, why. Pure.

That an answer came back proves that they do. That none came proves something only where the machine itself, asking the
same, got one; otherwise it is what the rules say, or nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass

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
        return ForwardingState.OK, f"a packet of a user's address got to {found.came_back[0]}, and its answer came back"
    if found.faults:
        return ForwardingState.FAILED, "; ".join(found.faults)
    if found.obstacle is not None:
        return ForwardingState.NOT_PROVEN, found.obstacle
    if not found.masquerade:
        return ForwardingState.NOT_PROVEN, (
            f"no answer came back to a packet of a user's address; the config does not masquerade, so routers around "
            f"need a route to {found.network} by this node"
        )
    if found.only_here:
        return ForwardingState.FAILED, (
            f"{found.only_here[0]} answers this machine, and no packet of a user's address: something here drops what "
            f"is forwarded; look at `nft list ruleset` and `iptables-legacy -S FORWARD`, and let pass what comes from "
            f"{found.name} and its answers"
        )
    asked = ", ".join(found.silent)
    return ForwardingState.NOT_PROVEN, (
        f"nobody who could be asked answers this machine itself: {asked}" if asked else "there is nobody to ask"
    )


def _without_route(found: Evidence) -> tuple[ForwardingState, str]:
    """Judge a machine that has no way to the internet: over IPv6 that is common, and devices take IPv4 then."""
    if found.version == 6:  # noqa: PLR2004 - IPv6
        return ForwardingState.NOT_PROVEN, "this machine has no default route for IPv6: users have IPv4 only"
    near = f", such as {found.came_back[0]}" if found.came_back else ""
    return ForwardingState.FAILED, (
        f"this machine has no default route, so users reach only what is near it{near}; type: "
        "ip route add default via GATEWAY"
    )
