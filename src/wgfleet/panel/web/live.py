"""`/live`: what changed, for pages that are looked at, in one stream for all tabs of a browser.

A message names what changed (`node`, `node/ID`), and never its state: pages fetch what they show. Changes of a quarter
of a second are one message, so a browser gets four a second at most. What changed between the request for a page and
its stream is named first. There is no other replay: who was cut off fetches all again.
"""

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Annotated

import msgspec
from fastapi import Query
from sse_starlette import EventSourceResponse, ServerSentEvent

from wgfleet.panel import clock
from wgfleet.panel.api.auth import Reader
from wgfleet.panel.api.events import CHECKED_S, PING_S, is_seen, still_valid
from wgfleet.panel.api.panel import Panel, ThePanel
from wgfleet.panel.domain.limits import Limit
from wgfleet.panel.reconcile.engine.events import Event
from wgfleet.panel.services.access.callers import Caller
from wgfleet.panel.web.page_router import page_router

router = page_router()
EVERY_S = 0.25
MOST = 200
"""How many things a message names; where more have changed, it says so of everything."""
EVERYTHING = "*"
RETRY_MS = 2000
ALIVE_S = 5
"""How often a stream says that it is alive: one that says nothing for longer is lost, whatever the browser thinks."""
UNDER_WAY_S = 1.0
"""How long a request may take to come here: what changed meanwhile is missed, too."""
MOST_MISSED_MS = 365 * 24 * 3600 * 1000


@router.get("/live")
async def live(
    panel: ThePanel, caller: Reader, missed_ms: Annotated[int, Query(ge=0, le=MOST_MISSED_MS)] = 0
) -> EventSourceResponse:
    """Stream what changes, and before that what did in the last `missed_ms`: since the caller's page was asked for."""
    return EventSourceResponse(_stream(panel, caller, missed_ms / 1000), ping=ALIVE_S, ping_message_factory=_alive)


def _alive() -> ServerSentEvent:
    return ServerSentEvent("{}", event="alive")  # scripts hear no comments


def named(events: list[Event]) -> list[str]:
    """Return what a message names: each kind, and each thing of it."""
    changes = dict.fromkeys(itertools.chain.from_iterable((each.kind, f"{each.kind}/{each.id}") for each in events))
    return list(changes) if len(changes) <= MOST else [EVERYTHING]


def seen(panel: Panel, limit: Limit, events: list[Event]) -> list[Event]:
    """Return those events that a caller with a limit sees."""
    return [each for each in events if is_seen(panel, limit, each)]


async def _names(panel: Panel, caller: Caller, events: list[Event] | None) -> list[str]:
    """Return what a message to a caller names; None: of everything."""
    if events is None:
        return [EVERYTHING]
    if caller.limit is not None:
        events = await asyncio.get_running_loop().run_in_executor(None, seen, panel, caller.limit, events)
    return named(events)


def _changes(names: list[str], identifier: str) -> ServerSentEvent:
    return ServerSentEvent(msgspec.json.encode({"changes": names}).decode(), event="changes", id=identifier)


async def _stream(panel: Panel, caller: Caller, missed_s: float) -> AsyncIterator[ServerSentEvent]:
    """Yield changes for as long as the caller is signed in, with the rights of when the stream began."""
    checked_at, loop = clock.monotonic(), asyncio.get_running_loop()
    stream, number = clock.new_id(), 0
    async with aclosing(panel.events.subscribe()) as subscription:
        upcoming = asyncio.ensure_future(anext(subscription))
        try:
            yield ServerSentEvent("{}", event="begun", id=f"{stream}-0", retry=RETRY_MS)
            await asyncio.sleep(0)  # from here on it is subscribed
            if missed_s and (missed := await _names(panel, caller, panel.events.noted(missed_s + UNDER_WAY_S))):
                yield _changes(missed, f"{stream}-0")
            while True:
                await asyncio.wait((upcoming,), timeout=PING_S)
                if not upcoming.done() or clock.monotonic() - checked_at >= CHECKED_S:
                    if not await loop.run_in_executor(None, still_valid, panel, caller):
                        return
                    checked_at = clock.monotonic()
                if not upcoming.done():
                    continue
                gathered, until = [], clock.monotonic() + EVERY_S
                while upcoming.done():
                    gathered.append(upcoming.result())
                    upcoming = asyncio.ensure_future(anext(subscription))
                    await asyncio.wait((upcoming,), timeout=max(0.0, until - clock.monotonic()))
                    if clock.monotonic() >= until:
                        break
                number += 1
                yield _changes(await _names(panel, caller, gathered), f"{stream}-{number}")
        except StopAsyncIteration:
            return
        finally:
            upcoming.cancel()
            await asyncio.wait((upcoming,))
