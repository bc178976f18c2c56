"""Routing daemons of this machine that can announce floating addresses, and what the agent asks of them.

Each announces what is on the loopback link because its administrator set it up so; the agent only reads, and never
tells one what to announce. Owns which are there; what is wrong where they announce nothing is judged by `interfaces`.
"""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Protocol

from wgfleet.agent.kernel.bird import Bird
from wgfleet.agent.kernel.commands import KernelError
from wgfleet.agent.kernel.exabgp import Exabgp
from wgfleet.agent.kernel.frr import Frr

LINK = "lo"  # where an address is that routers lead here


class RoutingDaemon(Protocol):
    """One daemon. Each question raises `KernelError` if it does not answer within a second.

    `see` is the command that shows its sessions, and `to_announce` what has to be set for an address to be announced.
    """

    name: str
    socket: Path
    see: str
    to_announce: str

    async def sessions(self) -> list[str]:
        """Return the names of the sessions with routers that are up."""

    async def announced(self, addresses: Collection[str], sessions: Collection[str]) -> set[str]:
        """Return those of this machine's addresses that are announced by one of these sessions."""

    async def unguarded(self, sessions: Collection[str]) -> set[str]:
        """Return those of these sessions whose router would notice late that this machine has died: without BFD."""

    async def claimant(self, address: str) -> str | None:
        """Return by which session a router says that another machine has an address; None if none does."""


class RoutingDaemons:
    """The daemons of this machine; `root` is where its files are."""

    def __init__(self, root: Path = Path("/")) -> None:
        self._known: Sequence[RoutingDaemon] = (Bird(root), Frr(root), Exabgp(root))

    def present(self) -> list[RoutingDaemon]:
        """Return those that run, or ran and left their socket; raise `KernelError` if there is none."""
        found = [daemon for daemon in self._known if _is_there(daemon.socket)]
        if not found:
            sockets = ", ".join(f"{daemon.socket} ({daemon.name})" for daemon in self._known)
            raise KernelError(f"no routing daemon runs that announces addresses: there is none of {sockets}")
        return found

    async def claimant(self, address: str) -> str | None:
        """Return which daemon knows by which session that another machine has an address; None if none does."""
        failed: list[KernelError] = []
        found = self.present()
        for daemon in found:
            try:
                session = await daemon.claimant(address)
            except KernelError as error:
                failed.append(error)
                continue
            if session is not None:
                return f"another machine, says {daemon.name}'s {session},"
        if len(failed) == len(found):
            raise failed[0]
        return None


def _is_there(socket: Path) -> bool:
    try:
        return socket.exists()
    except PermissionError:  # of its directory; asking it says so
        return True
