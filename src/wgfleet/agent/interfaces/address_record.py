"""The record of the floating addresses that this machine has, in the ledger, and the writing of it to the disk.

A disk may take seconds. While an address goes from node to node its clients have none, and an agent that waits renews
nothing: so what is noted counts at once, and is written in a thread. Only an address that the kernel would keep for
ever is in the file before it is on the machine.
"""

import asyncio
import contextlib
from collections.abc import Mapping
from pathlib import Path

import structlog

from wgfleet.agent.state.ledger import Ledger, Placed
from wgfleet.protocol.ids import InterfaceName

_AGAIN_S = 5.0  # between two tries to write to a disk that is full
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_log = structlog.get_logger()


def boot_id() -> str:
    """Return the kernel's id of this boot."""
    return _BOOT_ID.read_text(encoding="ascii").strip()


class AddressRecord:
    """The addresses of all interfaces, with where they are. `close` writes what is left."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._boot = boot_id()
        self._saving: asyncio.Task[None] | None = None

    def of(self, name: InterfaceName) -> Mapping[str, Placed]:
        """Return what the record has of an interface, also of earlier boots."""
        owned = self._ledger.owned().get(name)
        return {} if owned is None else owned.floating

    def is_now(self, placed: Placed) -> bool:
        """Tell whether an entry is of this boot."""
        return placed.boot == self._boot

    def held(self, name: InterfaceName) -> frozenset[str]:
        """Return the addresses that the machine has for an interface."""
        return frozenset(address for address, placed in self.of(name).items() if self.is_now(placed))

    def others(self, name: InterfaceName, address: str) -> Placed | None:
        """Return where another interface of ours has an address."""
        for other, owned in self._ledger.owned().items():
            placed = owned.floating.get(address)
            if other != name and placed is not None and self.is_now(placed):
                return placed
        return None

    def is_ours(self, link: str) -> bool:
        """Tell whether a link is an interface of ours."""
        return link in self._ledger.owned()

    def place(self, name: InterfaceName, address: str, link: str, *, lapses: bool) -> None:
        """Note an address that is about to be added; OSError if that has to be written before, and cannot be.

        `lapses`: the kernel takes it off by itself, so that none is left over whose entry was not written.
        """
        placed = Placed(link, self._boot)
        if lapses:
            self._ledger.note_placed(name, address, placed)
            self._save_soon()
        else:
            self._ledger.place(name, address, placed)

    def displace(self, name: InterfaceName, address: str) -> None:
        """Note that an address is gone."""
        self._ledger.displace(name, address)
        self._save_soon()

    def close(self) -> None:
        """Write what is left, and nothing more by itself: before the event loop ends."""
        if self._saving is not None:
            self._saving.cancel()
        with contextlib.suppress(OSError):
            self._ledger.save()

    def _save_soon(self) -> None:
        if self._ledger.unsaved and (self._saving is None or self._saving.done()):
            self._saving = asyncio.create_task(self._save())

    async def _save(self) -> None:
        while self._ledger.unsaved:
            try:
                await asyncio.to_thread(self._ledger.save)
            except OSError as error:
                _log.warning("floating_address.not_recorded", reason=error.strerror)
                await asyncio.sleep(_AGAIN_S)
