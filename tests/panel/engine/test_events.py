"""What changed last is remembered, for pages that were loaded just before they listen."""

import asyncio
import time

from tests.panel.world import World
from wgfleet.panel.reconcile.engine.events import KEPT, Event, Events
from wgfleet.panel.reconcile.event_feed import EventFeed

LONG_S = 3600.0


def test_what_changed_while_nobody_listened_is_remembered(world: World) -> None:
    events = Events()

    async def change() -> float:
        EventFeed(world.store, events).listen()
        begun = time.monotonic()
        node = await asyncio.to_thread(world.node, "a")
        await asyncio.sleep(0)
        assert events.noted(time.monotonic() - begun) == [Event("node", node.id)]
        return begun

    asyncio.run(change())
    assert events.noted(0) == []


def test_more_than_is_remembered_is_said_to_be_so() -> None:
    events = Events()
    begun = time.monotonic()
    assert events.noted(LONG_S) is None, "it has not been there for so long"
    for number in range(KEPT):
        events.note("node", f"n{number}")
    assert len(events.noted(time.monotonic() - begun) or ()) == KEPT
    events.note("node", "one more")
    assert events.noted(time.monotonic() - begun) is None
