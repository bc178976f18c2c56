"""`/api/events`: what changes, as it changes (server-sent events)."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Annotated

import msgspec
from fastapi import APIRouter, Query
from sse_starlette import EventSourceResponse, ServerSentEvent

from wgfleet.panel.api.auth import Reader
from wgfleet.panel.api.panel import ThePanel
from wgfleet.panel.errors import Invalid
from wgfleet.panel.reconcile.engine.events import Events
from wgfleet.panel.store.wakes import Topic

router = APIRouter(tags=["events"])
SHOWN = tuple(sorted({topic.shown_as for topic in Topic}))
PING_S = 15  # shorter than the idle time-out of the usual proxies


@router.get(
    "/api/events",
    summary="Watch changes",
    response_class=EventSourceResponse,
    responses={200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}, "description": "Events."}},
)
async def watch_events(
    panel: ThePanel,
    _caller: Reader,
    kind: Annotated[list[str] | None, Query(description="Only these kinds; repeatable.", max_length=16)] = None,
) -> EventSourceResponse:
    """Each event is named after its kind (`operation`, `node`, `config`, ...); its data is `{"kind", "id", "data"}`.

    There is no replay: after connecting, read the objects you need, and again when an event names one.
    """
    for wanted in kind or ():
        if wanted not in set(Topic):  # those that are shown as another are not refused: programs ask for them
            raise Invalid(f"there is no kind {wanted!r}; the kinds are {', '.join(SHOWN)}", field="kind")
    return EventSourceResponse(_stream(panel.events, frozenset(kind or ())), ping=PING_S)


async def _stream(events: Events, kinds: frozenset[str]) -> AsyncIterator[ServerSentEvent]:
    async with aclosing(events.subscribe()) as subscription:
        async for event in subscription:
            if not kinds or event.kind in kinds:
                shown = {"kind": event.kind, "id": event.id, "data": event.data}
                yield ServerSentEvent(msgspec.json.encode(shown).decode(), event=event.kind)
