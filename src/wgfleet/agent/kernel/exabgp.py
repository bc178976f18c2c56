"""Routing daemon exabgp of this machine, asked over the socket of `wgfleet agent announce`, which it runs.

exabgp knows nothing of the machine's addresses and offers no socket to ask: that process tells it what is on loopback,
and asks it what it announces.
"""

from collections.abc import Collection
from pathlib import Path

import msgspec

from wgfleet.agent.kernel.commands import KernelError
from wgfleet.agent.kernel.control_sockets import conversation

SOCKET = Path("/run/exabgp/wgfleet.sock")
_MOST = 256 * 1024  # bytes of an answer


class ExabgpState(msgspec.Struct, frozen=True):
    """What exabgp says: its sessions, which neighbors it tells of an address, and which say that others have it.

    `fault`: why it is not known.
    """

    sessions: tuple[str, ...] = ()
    announced: dict[str, tuple[str, ...]] = msgspec.field(default_factory=dict)
    claimed: dict[str, tuple[str, ...]] = msgspec.field(default_factory=dict)
    fault: str | None = None


class Exabgp:
    """exabgp 4, at the usual socket of the process below `root`."""

    name = "exabgp"
    see = "exabgpcli show neighbor summary"
    to_announce = "let its neighbors have the family of the address and the process, with a --network that contains it"

    def __init__(self, root: Path = Path("/")) -> None:
        self.socket = root / SOCKET.relative_to("/")

    async def sessions(self) -> list[str]:
        """Return the neighbors with which a session is up; raise `KernelError` if exabgp does not answer."""
        return list((await self._ask()).sessions)

    async def announced(self, addresses: Collection[str], sessions: Collection[str]) -> set[str]:
        """Return the addresses that exabgp announces to one of these neighbors."""
        told = (await self._ask()).announced
        return {address for address in addresses if set(told.get(address, ())) & set(sessions)}

    async def unguarded(self, sessions: Collection[str]) -> set[str]:  # noqa: ARG002 - as of all daemons
        """Return none: it has no BFD that could be down."""
        return set()

    async def claimant(self, address: str) -> str | None:
        """Return which neighbor says that another machine has an address; None if none does."""
        state = await self._ask()
        return next((f"neighbor {peer}" for peer in state.claimed.get(address, ()) if peer in state.sessions), None)

    async def _ask(self) -> ExabgpState:
        async with conversation(self.name, self.socket, _MOST) as (reader, _writer):
            line = await reader.readuntil(b"\n")
        try:
            state = msgspec.json.decode(line, type=ExabgpState)
        except msgspec.MsgspecError as error:
            raise KernelError(f"exabgp's process at {self.socket} answers something else: {error}") from None
        if state.fault is not None:
            raise KernelError(state.fault)
        return state
