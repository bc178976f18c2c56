"""Events for the stream: a bounded queue for each subscriber; a slow one loses the oldest.

What changed last is remembered beside, for those who looked just before they subscribed.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Any

from wgfleet.panel import clock

KEPT = 1000  # events that a subscriber may lag; it can always read the current state over the API


@dataclass(frozen=True, slots=True)
class Event:
    """`kind` and `id` say what changed (`operation`, `config`, `node`, `assignment`); `data` is its current state."""

    kind: str
    id: str
    data: dict[str, Any] = field(default_factory=dict)


class Events:
    """Fans events out. Publish in the event loop."""

    def __init__(self) -> None:
        self._queues: set[asyncio.Queue[Event]] = set()
        self._changes: deque[tuple[float, Event]] = deque(maxlen=KEPT)
        self._known_from = clock.monotonic()

    @property
    def has_subscribers(self) -> bool:
        """Whether anybody listens."""
        return bool(self._queues)

    def note(self, kind: str, identifier: str) -> None:
        """Remember that something changed, though nobody may listen."""
        if len(self._changes) == KEPT:
            self._known_from = self._changes[0][0]
        self._changes.append((clock.monotonic(), Event(kind, identifier)))

    def noted(self, last_s: float) -> list[Event] | None:
        """Return what changed in the last `last_s`, without its state; None: not all of that is remembered."""
        since = clock.monotonic() - last_s
        return None if since < self._known_from else [event for at, event in self._changes if at >= since]

    def publish(self, event: Event) -> None:
        """Hand an event to all subscribers; never waits."""
        for queue in self._queues:
            if queue.full():
                queue.get_nowait()
            queue.put_nowait(event)

    async def subscribe(self) -> AsyncGenerator[Event, None]:
        """Yield events from now on, without end. Close the iterator to stop."""
        queue: asyncio.Queue[Event] = asyncio.Queue(KEPT)
        self._queues.add(queue)
        try:
            while True:
                yield await queue.get()
        finally:
            self._queues.discard(queue)
