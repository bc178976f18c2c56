"""The event loop of the core: a host name that the resolver says nothing of keeps no other waiting."""

import asyncio
import socket
from typing import Any

from wgfleet.panel.reconcile.engine.threads import in_own_thread


class CoreLoop(asyncio.SelectorEventLoop):
    """Looks each name up in a thread of its own, once for all who ask meanwhile: as many threads as names that hang.

    The system's resolver cannot be interrupted and may wait for half a minute, longer than those who ask do. The few
    threads of asyncio would all be with two names that are asked for again and again, and their end be waited for.
    """

    def __init__(self) -> None:
        super().__init__()
        self._lookups: dict[tuple[Any, ...], asyncio.Future[Any]] = {}

    async def getaddrinfo(
        self,
        host: Any,
        port: Any,
        *,
        family: int = 0,
        type: int = 0,  # noqa: A002 - asyncio's name
        proto: int = 0,
        flags: int = 0,
    ) -> Any:
        """Do as `socket.getaddrinfo`."""
        wanted = (host, port, family, type, proto, flags)
        lookup = self._lookups.get(wanted)
        if lookup is None:
            lookup = self._lookups[wanted] = asyncio.ensure_future(in_own_thread(socket.getaddrinfo, *wanted))
            lookup.add_done_callback(lambda done: self._ended(wanted, done))
        return await asyncio.shield(lookup)

    def _ended(self, wanted: tuple[Any, ...], lookup: asyncio.Future[Any]) -> None:
        del self._lookups[wanted]
        if not lookup.cancelled():
            lookup.exception()  # nobody may wait for it any more
