"""The event loop of the core: a host name that the resolver says nothing of keeps no other waiting."""

import asyncio
import socket
from collections.abc import Collection, Mapping
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
        self._remembered: dict[str, Collection[str]] = {}

    def remember(self, addresses: Mapping[str, Collection[str]]) -> None:
        """Take what names were found to have before this process began, until they are found again."""
        self._remembered |= {name: found for name, found in addresses.items() if found}

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
        if self._last_known(wanted) is not None:
            await asyncio.wait([lookup], timeout=PATIENCE_S)
            last_known = self._last_known(wanted)  # what this lookup has found, if it has ended
            if last_known is not None:
                return last_known
        return await asyncio.shield(lookup)

    def _last_known(self, wanted: tuple[Any, ...]) -> Any:
        if wanted in self._found:
            return self._found[wanted]
        host, port, family, kind, proto, _ = wanted
        of_addresses = [
            entry
            for address in self._remembered.get(_name(host), ())
            for entry in _entries(address, port, family, kind, proto)
        ]
        return of_addresses or None

    def _ended(self, wanted: tuple[Any, ...], lookup: asyncio.Future[Any]) -> None:
        del self._lookups[wanted]
        if lookup.cancelled():
            return
        error = lookup.exception()  # nobody may wait for it any more
        if error is None:
            self._found[wanted] = lookup.result()
            self._remembered.pop(_name(wanted[0]), None)
        elif not (isinstance(error, socket.gaierror) and error.errno == socket.EAI_AGAIN):
            self._found.pop(wanted, None)  # there is no such name any more
            self._remembered.pop(_name(wanted[0]), None)


def _name(host: Any) -> str:
    """Return a host as it is in rows; libraries ask for it in bytes too."""
    return (host.decode("ascii", "replace") if isinstance(host, bytes) else str(host)).lower().removesuffix(".")


def _entries(address: str, port: Any, family: int, kind: int, proto: int) -> list[Any]:
    """Return what `getaddrinfo` says of an address, which asks nobody; nothing where it is of another family."""
    try:
        return socket.getaddrinfo(address, port, family, kind, proto, socket.AI_NUMERICHOST)
    except socket.gaierror:
        return []
