"""Ports of a backbone, of its WireGuard on every node and of VXLAN inside it, and how many nodes it is for. Pure."""

from wgfleet.protocol.addresses import LAST_PORT
from wgfleet.protocol.reasons import Reason

MEANT_FOR = 60
_APART = 1000  # from the port of users, and again for what is used inside only


def port(listen_port: int, wanted: int | None) -> int:
    """Return the UDP port of a config's backbone: as wanted, or else that of its users and 1000."""
    return wanted if wanted is not None else _beside(listen_port)


def tunnel_port(backbone_port: int) -> int:
    """Return the UDP port of VXLAN, which no other machine reaches."""
    return _beside(backbone_port)


def warning(nodes: int) -> str | None:
    """Say what a backbone of that number of nodes means; None where there is nothing to say."""
    if nodes <= MEANT_FOR:
        return None
    return Reason(
        "{nodes} nodes are linked, each with each other one, which is meant for {meant_for} at most: put them into "
        "node groups and have the backbone within groups, or watch the CPU time of their agents",
        nodes=nodes,
        meant_for=MEANT_FOR,
    )


def _beside(other: int) -> int:
    return other + _APART if other + _APART <= LAST_PORT else other - _APART
