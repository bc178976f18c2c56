"""Middleware that gives each API key its share: few of its calls are answered at a time, and the next wait their turn.

Whatever one key asks for, and however often, a call of another key waits behind a few of its calls only. A client that
does not fetch its answers holds up those of its own key.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from starlette.types import ASGIApp, Receive, Scope, Send

from wgfleet.panel.api import problems
from wgfleet.panel.api.auth import CALLER
from wgfleet.panel.errors import TooMany
from wgfleet.panel.places import Places
from wgfleet.panel.services.access.callers import Caller
from wgfleet.panel.settings.door import DoorSettings
from wgfleet.panel.siblings import Siblings
from wgfleet.protocol.reasons import Reason

PATIENCE_S = 30.0  # the usual time-out of clients and proxies
WAITING = 8  # times as many calls may wait as are answered
CHANGES = 4  # a quarter of the calls at a time may be changes: there is one writer, and others wait for it too
STREAMS = {"/api/events", "/live"}  # an answer without end: these are counted by themselves, and do not wait
LOOK_S = 0.005  # for a place that another process gives back
_RETRY_S = 1.0


class _Key:
    """The calls of one key that wait here: the first of them looks for a place, and the others stand behind it."""

    def __init__(self) -> None:
        self.first = asyncio.Lock()
        self.freed = asyncio.Event()
        self.present = 0
        self.waiting = 0


@dataclass(slots=True)
class Shares:
    """How many calls of each key are answered at a time, by all processes, and how many more may wait in this one."""

    at_a_time: int
    waiting: int
    what: str
    counted: str
    places: Places
    _keys: dict[str, _Key] = field(default_factory=dict)

    @asynccontextmanager
    async def turn(self, caller: Caller) -> AsyncIterator[None]:
        """Wait for a call's turn; raise `TooMany` where there are too many before it, or it does not come in time."""
        name = f"{self.counted}: {self.what} of {caller.id}"
        key = self._keys.setdefault(caller.id, _Key())
        key.present += 1
        try:
            place = None if key.waiting else self.places.take(name, self.at_a_time)
            if place is None and (key.waiting >= self.waiting or (place := await self._wait(key, name)) is None):
                raise self._too_many(caller)
            try:
                yield
            finally:
                self.places.give_back(name, place)
                key.freed.set()
        finally:
            key.present -= 1
            if not key.present:
                del self._keys[caller.id]

    async def _wait(self, key: _Key, name: str) -> int | None:
        """Wait for a place. One that another process gives back is found by looking."""
        key.waiting += 1
        try:
            async with asyncio.timeout(PATIENCE_S), key.first:
                while (place := self.places.take(name, self.at_a_time)) is None:
                    key.freed.clear()
                    with suppress(TimeoutError):
                        await asyncio.wait_for(key.freed.wait(), LOOK_S)
                return place
        except TimeoutError:
            return None
        finally:
            key.waiting -= 1

    def _too_many(self, caller: Caller) -> TooMany:
        most = self.at_a_time + self.waiting
        way_out = (
            Reason("give each program a key of its own")
            if caller.session_id is None
            else Reason("wait until they are answered")
        )
        return TooMany(
            Reason(
                "{caller} has {most} {what} already; end some, or {way_out}",
                caller=caller.described,
                most=most,
                what=self.what,
                way_out=way_out,
            ),
            retry_after_s=_RETRY_S,
        )


class Turns:
    """Has the calls of a key take turns; those without a key are none of its business.

    `counted`: with which others they are counted, in all of the `siblings`.
    """

    def __init__(self, app: ASGIApp, settings: DoorSettings, siblings: Siblings, counted: str = "api") -> None:
        self._app = app
        most, waiting = settings.calls_per_key, siblings.share_of(WAITING * settings.calls_per_key)
        self._reads = Shares(most, waiting, "calls under way", counted, siblings.places)
        self._changes = Shares(max(1, most // CHANGES), waiting, "changes under way", counted, siblings.places)
        self._streams = Shares(settings.streams_per_key, 0, "streams of events", counted, siblings.places)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        caller = scope.get("state", {}).get(CALLER)
        if caller is None:
            await self._app(scope, receive, send)
            return
        shares = self._reads if scope["method"] in {"GET", "HEAD"} else self._changes
        if scope["path"] in STREAMS:
            shares = self._streams
        try:
            async with shares.turn(caller):
                await self._app(scope, receive, send)
        except TooMany as error:
            await asyncio.sleep(_RETRY_S)  # who does not wait before trying again is made to
            await problems.of(error)(scope, receive, send)
