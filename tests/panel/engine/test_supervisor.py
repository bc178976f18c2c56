"""A running supervisor: its background tasks survive a bug, and nothing runs on once it is closed."""

import asyncio
from collections.abc import Sequence
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from tests.waiting import eventually
from wgfleet.panel.api import Panel
from wgfleet.panel.domain.operations import GroupDrainOptions, OperationKind
from wgfleet.panel.domain.phases import Phase
from wgfleet.panel.reconcile.agents.panel_start import begin
from wgfleet.panel.reconcile.dispatcher import Dispatcher
from wgfleet.panel.reconcile.outlook import Outlook
from wgfleet.panel.reconcile.supervisor import Supervisor
from wgfleet.panel.services import configs, operations, peer_changes
from wgfleet.panel.services.configs import ConfigSpec
from wgfleet.panel.services.fleet import assignments, nodes
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
            return nodes.create(tx, "test", NodeSpec(name, [f"192.0.2.{1 + len(nodes.page(tx))}"])).id

    async def run() -> None:
        outlook = Outlook()
        parts = panel.store, panel.vault, panel.authorities, panel.publisher, panel.settings
        supervisor = Supervisor(*parts, outlook, begin(panel.store, panel.vault, panel.authorities, 90))
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


def test_an_operation_of_a_later_version_keeps_nothing_else_from_going_on(panel: Panel, client: httpx.Client) -> None:
    """After a rollback the rows may have kinds and states that this version does not know."""
    with panel.store.write() as tx:
        made = [
            operations.start(
                tx,
                "test",
                OperationKind.DRAIN_GROUP,
                subject,
                config_id=None,
                node_id=None,
                options=GroupDrainOptions(force=False, drain_window_s=None, grace_s=0.0, nodes=()),
            ).id
            for subject in ("later", "known")
        ]
        tx.session.execute(text("UPDATE operations SET kind = 'restore' WHERE subject = 'later'"))

    def row(operation_id: str) -> dict[str, Any]:
        found: dict[str, Any] = client.get(f"/api/operations/{operation_id}").json()
        return found

    async def run() -> None:
        outlook = Outlook()
        parts = panel.store, panel.vault, panel.authorities, panel.publisher, panel.settings
        supervisor = Supervisor(*parts, outlook, begin(panel.store, panel.vault, panel.authorities, 90))
        supervisor.start()
        try:
            await asyncio.to_thread(eventually, lambda: row(made[1])["state"] == "succeeded")
            await asyncio.to_thread(eventually, lambda: row(made[0])["error"] is not None)
            assert not any(outlook.tasks.deaths.values())
        finally:
            await supervisor.close()

    asyncio.run(run())
    assert "does not know the kind" in row(made[0])["error"]
    assert {shown["kind"] for shown in client.get("/api/operations").json()["items"]} == {"restore", "drain_group"}


@pytest.mark.usefixtures("wg0")
def test_a_change_of_many_peers_goes_on_where_the_panel_before_left_it(
    panel: Panel, client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peer_changes, "SLICE", 3)
    assert client.post("/api/configs/wg0/peers/batch", json={"count": 10}).status_code == 201
    path = "/api/configs/wg0/peers/changes"
    who = client.post(f"{path}/preview", json={"action": "disable"}).json()["who"]
    begun = client.post(path, json={"action": "disable", "expect": who}).json()
    with panel.store.write() as tx:
        assert peer_changes.step(tx, begun["id"])

    def row() -> dict[str, Any]:
        found: dict[str, Any] = client.get(f"/api/operations/{begun['id']}").json()
        return found

    assert (row()["state"], row()["progress"]["changed"]) == ("running", 3)

    async def run() -> None:
        parts = panel.store, panel.vault, panel.authorities, panel.publisher, panel.settings
        supervisor = Supervisor(*parts, Outlook(), begin(panel.store, panel.vault, panel.authorities, 90))
        supervisor.start()
        try:
            await asyncio.to_thread(eventually, lambda: row()["state"] == "succeeded")
        finally:
            await supervisor.close()

    asyncio.run(run())
    assert row()["result"]["peers_changed"] == 10
    assert not any(each["enabled"] for each in client.get("/api/configs/wg0/peers").json()["items"])


@pytest.mark.parametrize(("table", "column"), [("assignments", "health"), ("assignments", "phase")])
def test_a_state_of_a_later_version_is_shown_as_it_is(
    panel: Panel, client: httpx.Client, table: str, column: str
) -> None:
    with panel.store.write() as tx:
        config = configs.create(tx, panel.vault, "test", ConfigSpec("wg0", "cluster", ["10.8.0.0/24"]))
        node = nodes.create(tx, "test", NodeSpec("fra1", ["192.0.2.1"]))
        assignments.assign(tx, panel.vault, "test", config, node)
        tx.session.execute(text(f"UPDATE {table} SET {column} = 'later'"))  # noqa: S608 - names of the test's own
    with panel.store.write() as tx:
        [assignment] = [found.assignment for found in assignments.listing(tx, config.id)]
        assert not assignment.health.in_use or assignment.phase != Phase.SERVING
    shown = client.get("/api/configs/wg0/nodes")
    assert shown.status_code == 200, shown.text
    assert "later" in shown.text
