"""The event loop of the core: a host name that the resolver says nothing of keeps no other waiting."""

import asyncio
import socket
from typing import Any

from wgfleet.panel.reconcile.engine.threads import in_own_thread

PATIENCE_S = 0.25  # with a resolver that found the name before: more than one that works takes


class CoreLoop(asyncio.SelectorEventLoop):
    """Looks each name up in a thread of its own, once for all who ask meanwhile: as many threads as names that hang.

    The system's resolver cannot be interrupted and may wait for half a minute, longer than those who ask do. The few
    threads of asyncio would all be with two names that are asked for again and again, and their end be waited for.
    Where it has found a name before and says nothing now, what it said then is taken: it repeats a question that got
    lost after 5 s, and clients of a dead node may wait for the call that gives them another. What answers there has
    to show a certificate, so an address that is old does no harm.
    """

    def __init__(self) -> None:
        super().__init__()
        self._lookups: dict[tuple[Any, ...], asyncio.Future[Any]] = {}
        self._found: dict[tuple[Any, ...], Any] = {}

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
        if wanted in self._found:
            await asyncio.wait([lookup], timeout=PATIENCE_S)
            if wanted in self._found:  # what this lookup has found, if it has ended
                return self._found[wanted]
        return await asyncio.shield(lookup)

    def _ended(self, wanted: tuple[Any, ...], lookup: asyncio.Future[Any]) -> None:
        del self._lookups[wanted]
        if lookup.cancelled():
            return
        error = lookup.exception()  # nobody may wait for it any more
        if error is None:
            self._found[wanted] = lookup.result()
        elif not (isinstance(error, socket.gaierror) and error.errno == socket.EAI_AGAIN):
            self._found.pop(wanted, None)  # there is no such name any more
