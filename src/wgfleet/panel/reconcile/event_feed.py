"""The event feed: commits of all processes as events for the stream. It runs where the stream is served."""

import asyncio
import contextlib
from typing import Any

import structlog

from wgfleet.panel.errors import PanelError
from wgfleet.panel.reconcile.engine.events import Event, Events
from wgfleet.panel.reconcile.engine.threads import in_thread
from wgfleet.panel.services import operations
from wgfleet.panel.store import Store
from wgfleet.panel.store.wakes import Topic, Wake

log = structlog.get_logger()


class EventFeed:
    """Hears of every commit once `listen` was called; `run` is a background task."""

    def __init__(self, store: Store, events: Events) -> None:
        self._store = store
        self._events = events
        self._woken: dict[tuple[str, str], None] = {}
        self._woken_event = asyncio.Event()

    def listen(self) -> None:
        """Begin to collect wakes. Call it in the event loop."""
        loop = asyncio.get_running_loop()

        def committed(wakes: list[Wake]) -> None:
            with contextlib.suppress(RuntimeError):  # the loop may be closed already
                loop.call_soon_threadsafe(self._hear, wakes)

        self._store.listen(committed)

    def _hear(self, wakes: list[Wake]) -> None:
        changed = dict.fromkeys((wake.topic.shown_as, wake.id) for wake in wakes)
        for kind, identifier in changed:
            self._events.note(kind, identifier)
        if self._events.has_subscribers:
            self._woken.update(changed)
            self._woken_event.set()

    async def run(self) -> None:
        """Publish what was committed, many commits at a time."""
        while True:
            await self._woken_event.wait()
            self._woken_event.clear()
            woken, self._woken = list(self._woken), {}
            for kind, identifier in woken:
                try:
                    data = await in_thread(self._data, kind, identifier)
                except PanelError as error:
                    log.debug("event.without_data", kind=kind, id=identifier, error=str(error))
                    data = {}
                self._events.publish(Event(kind, identifier, data))

    def _data(self, kind: str, identifier: str) -> dict[str, Any]:
        if kind != Topic.OPERATION:
            return {}
        with self._store.read() as tx:
            operation = operations.get(tx, identifier)
        return {
            "kind": operation.kind,
            "state": operation.state,
            "step": operation.step,
            "progress": operation.progress,
            "result": operation.result,
            "error": operation.error,
        }
