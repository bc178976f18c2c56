"""Events for the stream: a bounded queue for each subscriber; a slow one loses the oldest."""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Any

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

    @property
    def has_subscribers(self) -> bool:
        """Whether anybody listens."""
        return bool(self._queues)

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
