"""Ports of a backbone: that of its WireGuard on every node, and that of VXLAN inside it. Pure."""

MAX_PORT = 65535
_APART = 1000  # from the port of users, and again for what is used inside only


def port(listen_port: int, wanted: int | None) -> int:
    """Return the UDP port of a config's backbone: as wanted, or else that of its users and 1000."""
    return wanted if wanted is not None else _beside(listen_port)


def tunnel_port(backbone_port: int) -> int:
    """Return the UDP port of VXLAN, which no other machine reaches."""
    return _beside(backbone_port)


def _beside(other: int) -> int:
    return other + _APART if other + _APART <= MAX_PORT else other - _APART
