"""Tables of nftables that hold an interface's peers to something: compared with what is desired, and kept true.

They are set before WireGuard lets a peer in. A kernel that takes none does not keep users out: it shows as drift.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping
from typing import ClassVar, Generic, TypeVar

import structlog

from wgfleet.agent.kernel import nft_tables
from wgfleet.agent.kernel.commands import KernelError
from wgfleet.protocol.desired import DesiredInterface, DesiredPeer
from wgfleet.protocol.diff import Drift
from wgfleet.protocol.ids import InterfaceName
from wgfleet.protocol.keys import PublicKey

_EVERY_S = 30.0  # between two readings of a whole table
_SHARE = 0.01  # of the time that they may take
_WANTED = "as the panel wants"
_log = structlog.get_logger()
Item = TypeVar("Item")


class HeldTable(ABC, Generic[Item]):
    """One table. `hold` and `look` are called under the lock of the interface; an item is what a peer has in it."""

    field: ClassVar[str]

    def __init__(self, name: InterfaceName) -> None:
        self.name = name
        self._held: dict[PublicKey, Item] | None = None  # in the kernel; None: that is not known
        self._looked_at = float("-inf")
        self._took_s = 0.0
        self.drift: tuple[Drift, ...] = ()

    @staticmethod
    @abstractmethod
    def is_held(peer: DesiredPeer) -> bool:
        """Whether the table has something of a peer."""

    @abstractmethod
    def items(self, desired: DesiredInterface) -> dict[PublicKey, Item]:
        """Return what the table is to have."""

    def turn_to(self, desired: DesiredInterface) -> bool:
        """Take note of what else is desired of the table; tell whether it must be made again for that."""
        del desired
        return False

    @abstractmethod
    async def is_there(self) -> bool:
        """Whether there is a table, of whatever is in it."""

    @abstractmethod
    async def matches(self, items: Collection[Item]) -> bool | None:
        """Read the table, and tell whether it is as it is to be; None: there is none."""

    @abstractmethod
    async def replace(self, items: Collection[Item]) -> None:
        """Put a table in the place of the one that is there, in one transaction."""

    @abstractmethod
    async def change(self, removed: Iterable[Item], added: Iterable[Item]) -> None:
        """Change the table, in one transaction."""

    @abstractmethod
    async def remove(self) -> None:
        """Remove the table; its absence is no error."""

    async def hold(self, desired: DesiredInterface, changed: Iterable[PublicKey]) -> None:
        """Have the kernel hold peers to what is desired, before some of them, `changed`, are let in."""
        held = self._held
        if held is None:
            await self.look(desired, repair=True)
            return
        again = self.turn_to(desired)
        if again or any(key in held or (key in desired.peers and self.is_held(desired.peers[key])) for key in changed):
            await self._make(self.items(desired), None if again else held)

    async def look(self, desired: DesiredInterface, *, repair: bool) -> None:
        """Compare what the kernel has with what is desired: whether it has a table, and now and then the whole."""
        again, wanted = self.turn_to(desired), self.items(desired)
        if self._held is not None and (again or self._held != wanted):
            await self._make(wanted, None if again else self._held)
        if self._held == {} and not self.drift:
            return
        try:
            found = await self._difference(wanted)
            if found is not None and repair:
                if self._held is not None:  # not at the first look
                    _log.warning(f"{self.field}.repaired", interface=self.name, found=found)
                await self._make(wanted, None)
                return
            self.drift = () if found is None else (Drift(self.field, _WANTED, found),)
        except (KernelError, OSError, ValueError) as error:
            self._failed(error)

    async def _difference(self, wanted: dict[PublicKey, Item]) -> str | None:
        """Say how the kernel differs; None: it does not."""
        if not nft_tables.available():
            return "this machine has no nft" if wanted else None
        if time.monotonic() - self._looked_at < max(_EVERY_S, self._took_s / _SHARE) and self._held == wanted:
            return None if await self.is_there() is bool(wanted) else "the table is gone"
        begun = time.monotonic()
        found = await self.matches(wanted.values())
        self._looked_at, self._took_s = time.monotonic(), time.monotonic() - begun
        if found or (found is None and not wanted):
            self._held = wanted
            return None
        return "absent" if found is None else "another table"

    async def _make(self, wanted: dict[PublicKey, Item], held: Mapping[PublicKey, Item] | None) -> None:
        """Make the table, or change what differs from what it holds."""
        self._held = None
        try:
            if not wanted:
                await self.remove()
            elif not held or not await self._changed(wanted, held):
                await self.replace(wanted.values())
            self._held, self.drift = wanted, ()
        except (KernelError, OSError) as error:
            self._failed(error)

    async def _changed(self, wanted: Mapping[PublicKey, Item], held: Mapping[PublicKey, Item]) -> bool:
        """Change what differs; False: the table is not what it was taken for."""
        removed = [each for key, each in held.items() if wanted.get(key) != each]
        added = [each for key, each in wanted.items() if held.get(key) != each]
        try:
            await self.change(removed, added)
        except KernelError as error:
            _log.warning(f"{self.field}.made_again", interface=self.name, reason=str(error))
            return False
        return True

    def _failed(self, error: Exception) -> None:
        found = Drift(self.field, _WANTED, str(error))
        if self.drift != (found,):
            _log.error(f"{self.field}.not_set", interface=self.name, reason=str(error))
        self.drift = (found,)
