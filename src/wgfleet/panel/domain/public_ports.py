"""Public ports of a config on a node: where clients, probes and other nodes reach it from outside. Pure.

A router in front of a node may have another port than the node listens on.
"""

from collections.abc import Iterable

from wgfleet.protocol.reasons import Reason


def of_clients(files_port: int, own: int | None) -> int:
    """Return the port that clients reach. `files_port`: that in the files of a config; `own`: the node's, if any."""
    return own or files_port


def from_outside(listen_port: int, own: int | None) -> int:
    """Return the port by which other nodes, and probes, reach a node's WireGuard."""
    return own or listen_port


def all_of(listen_port: int, files_port: int, own: int | None) -> frozenset[int]:
    """Return each port at which a node may be reached."""
    return frozenset({from_outside(listen_port, own), of_clients(files_port, own)})


def trouble(files_port: int, own: int | None) -> str:
    """Say why clients of a name do not reach a node, whose port is not that of the files; "": they do."""
    if own is None or own == files_port:
        return ""
    return Reason(
        "clients reach it at port {own}, and the files of its config say port {files_port}",
        own=own,
        files_port=files_port,
    )


def elsewhere(troubles: Iterable[str]) -> str:
    """Say of a name all of whose nodes have another port than the files what is to be done."""
    return Reason(
        "no node answers at the port of the files, which is to be changed: {why}",
        why="; ".join(sorted({*troubles})),
    )
