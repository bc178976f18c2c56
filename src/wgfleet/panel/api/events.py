"""`/api/events`: what changes, as it changes (server-sent events)."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Annotated

import msgspec
from fastapi import Query
from sse_starlette import EventSourceResponse, ServerSentEvent

from wgfleet.panel import clock
from wgfleet.panel.api.auth import Reader
from wgfleet.panel.api.panel import Panel, ThePanel
from wgfleet.panel.api.subject_router import subject_router
from wgfleet.panel.domain.limits import Limit
from wgfleet.panel.errors import Invalid, PanelError
from wgfleet.panel.reconcile.engine.events import Event
from wgfleet.panel.services.access import credentials, limits
from wgfleet.panel.services.access.callers import Caller
from wgfleet.panel.store.wakes import Topic
from wgfleet.protocol.reasons import Reason, plain

router = subject_router("events")
SHOWN = tuple(sorted({topic.shown_as for topic in Topic}))
CHECKED_S = 1.0  # a key that was valid this long ago still is; with each ping it is looked at too
PING_S = 15  # shorter than the idle time-out of the usual proxies


@router.get(
    "/api/events",
    summary="Watch changes",
    response_class=EventSourceResponse,
    responses={200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}, "description": "Events."}},
)
async def watch_events(
    panel: ThePanel,
    caller: Reader,
    kind: Annotated[list[str] | None, Query(description="Only these kinds; repeatable.", max_length=16)] = None,
) -> EventSourceResponse:
    """Each event is named after its kind (`operation`, `node`, `config`, ...); its data is `{"kind", "id", "data"}`.

    There is no replay: after connecting, read the objects you need, and again when an event names one.
    """
    for wanted in kind or ():
        if wanted not in set(Topic):  # those that are shown as another are not refused: programs ask for them
            raise Invalid(
                Reason("there is no kind {wanted!r}; the kinds are {shown}", wanted=wanted, shown=", ".join(SHOWN)),
                field="kind",
            )
    return EventSourceResponse(_stream(panel, caller, frozenset(kind or ())), ping=PING_S)


async def _stream(panel: Panel, caller: Caller, kinds: frozenset[str]) -> AsyncIterator[ServerSentEvent]:
    """Yield events for as long as the caller's key is valid."""
    checked_at = clock.monotonic()
    async with aclosing(panel.events.subscribe()) as subscription:
        upcoming = asyncio.ensure_future(anext(subscription))
        try:
            while True:
                await asyncio.wait((upcoming,), timeout=PING_S)
                if not upcoming.done() or clock.monotonic() - checked_at >= CHECKED_S:
                    if not await asyncio.get_running_loop().run_in_executor(None, still_valid, panel, caller):
                        return
                    checked_at = clock.monotonic()
                if not upcoming.done():
                    continue
                event = upcoming.result()
                upcoming = asyncio.ensure_future(anext(subscription))
                if kinds and event.kind not in kinds:
                    continue
                if caller.limit is None or await asyncio.get_running_loop().run_in_executor(
                    None, is_seen, panel, caller.limit, event
                ):
                    shown = {"kind": event.kind, "id": event.id, "data": event.data}
                    yield ServerSentEvent(msgspec.json.encode(shown, enc_hook=plain).decode(), event=event.kind)
        except StopAsyncIteration:
            return
        finally:
            upcoming.cancel()
            await asyncio.wait((upcoming,))


def is_seen(panel: Panel, limit: Limit, event: Event) -> bool:
    """Say whether a caller with a limit sees an event."""
    try:
        with panel.store.read() as tx:
            return limits.sees_event(tx, limit, event.kind, event.id)
    except PanelError:
        return False


def still_valid(panel: Panel, caller: Caller) -> bool:
    """Say whether a caller who was let in when a stream began would be let in now."""
    try:
        with panel.store.read() as tx:
            return credentials.is_valid(tx, caller)
    except PanelError:
        return True  # the database is away; a caller who was let in stays until it says otherwise
