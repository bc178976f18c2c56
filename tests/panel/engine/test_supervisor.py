"""A running supervisor: its background tasks survive a bug, and nothing runs on once it is closed."""

import asyncio
from collections.abc import Sequence

import pytest

from tests.waiting import eventually
from wgfleet.panel.api import Panel
from wgfleet.panel.reconcile.dispatcher import Dispatcher
from wgfleet.panel.reconcile.outlook import Outlook
from wgfleet.panel.reconcile.supervisor import Supervisor
from wgfleet.panel.services.fleet import nodes
from wgfleet.panel.services.fleet.nodes import NodeSpec
from wgfleet.panel.store.wakes import Topic, Wake


def test_a_dispatcher_that_dies_of_a_bug_is_restarted_and_close_stops_all(
    panel: Panel, monkeypatch: pytest.MonkeyPatch
) -> None:
    dispatched: list[Wake] = []
    bugs = [ZeroDivisionError("a bug")]

    async def dispatch(_self: Dispatcher, woken: Sequence[Wake]) -> None:
        if bugs:
            raise bugs.pop()
        dispatched.extend(woken)

    monkeypatch.setattr(Dispatcher, "dispatch", dispatch)

    def make(name: str) -> str:
        with panel.store.write() as tx:
            return nodes.create(tx, "test", NodeSpec(name, ["192.0.2.1"])).id

    async def run() -> None:
        outlook = Outlook()
        parts = panel.store, panel.vault, panel.authority, panel.publisher, panel.settings
        supervisor = Supervisor(*parts, outlook)
        supervisor.start()
        try:
            await asyncio.to_thread(make, "fra1")
            await asyncio.to_thread(eventually, lambda: outlook.tasks.deaths["dispatch"] == 1)
            await asyncio.to_thread(eventually, lambda: not outlook.tasks.failing)
            later = await asyncio.to_thread(make, "ams1")
            await asyncio.to_thread(eventually, lambda: Wake(Topic.NODE, later) in dispatched)
            assert {name: count for name, count in outlook.tasks.deaths.items() if count} == {"dispatch": 1}
        finally:
            await supervisor.close()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(run())
