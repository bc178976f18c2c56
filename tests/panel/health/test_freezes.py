"""A freeze as rows: it is asked for, approved once, used up, and ends."""

import asyncio
from typing import cast

import httpx
import pytest
from sqlalchemy import select

from tests.panel.conftest import made
from tests.panel.health.test_monitor import Network, monitor_on, on_paper, state, until
from tests.panel.world import World
from wgfleet.panel import clock
from wgfleet.panel.api import Panel
from wgfleet.panel.domain.health.votes import PANEL, Health
from wgfleet.panel.errors import Conflict, NotFound
from wgfleet.panel.services import configs, freezes, health
from wgfleet.panel.services.fleet import node_groups
from wgfleet.panel.store import nodes as node_rows
from wgfleet.panel.store.tables import AuditEntry, HealthFreeze
from wgfleet.protocol.ids import NodeId


def frozen(world: World) -> HealthFreeze | None:
    with world.store.read() as tx:
        return freezes.current(tx)


def audited(world: World) -> list[str]:
    with world.store.read() as tx:
        return list(tx.session.scalars(select(AuditEntry.action).where(AuditEntry.entity_type == "health_freeze")))


def test_two_of_three_at_once_wait_for_an_administrator_who_says_it_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = world.config()
    found = world.serving(config, "fra1", "ams1", "par1")
    network = Network()
    monitor = monitor_on(network, world, found, monkeypatch)

    def states() -> list[Health]:
        return [state(world, config, node) for node in found]

    async def watched() -> None:
        watching_them = monitor.start()
        try:
            await asyncio.sleep(0.5)
            network.dead = {"192.0.2.1:51820", "192.0.2.2:51820"}
            row = await until(lambda: frozen(world))
            await until(lambda: len(cast("HealthFreeze", frozen(world)).nodes) == 2)
            await asyncio.sleep(2)
            assert states() == [Health.SUSPECT, Health.SUSPECT, Health.SERVING]
            with world.store.write() as tx:
                freezes.approve(tx, "ann", row.id)
            await until(lambda: states() == [Health.DOWN, Health.DOWN, Health.SERVING])
            await until(lambda: frozen(world) is None)
        finally:
            await watching_them.stop()
            await asyncio.sleep(0.3)

    on_paper(monkeypatch, watched)
    assert audited(world) == ["frozen", "approved", "approval_used", "unfrozen"]


def test_an_approval_expires_and_is_for_what_was_shown(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    with world.store.write() as tx:
        with pytest.raises(NotFound):
            freezes.approve(tx, "ann", "x")
        freezes.begin(tx, "2 of 3 nodes fell silent at once", ["a", "b"])
    row = frozen(world)
    assert row is not None
    with world.store.write() as tx:
        with pytest.raises(Conflict, match="another by now"):
            freezes.approve(tx, "ann", "x")
        freezes.approve(tx, "ann", row.id)
        freezes.begin(tx, "3 of 3 nodes fell silent at once", ["a", "b", "c"])
        assert freezes.approved(tx) == {"a", "b"}, "not for one that nobody saw in the list"
    real = clock.now
    monkeypatch.setattr(clock, "now", lambda: real() + freezes.APPROVED_FOR_S + 1)
    with world.store.read() as tx:
        assert freezes.approved(tx) == frozenset()


def test_a_freeze_is_shown_and_approved_over_the_api(client: httpx.Client, panel: Panel) -> None:
    assert client.get("/api/health/freeze").json() == {"freeze": None}
    assert client.post("/api/health/freeze/approve", json={"id": "x"}).status_code == 404
    node = made(client, "/api/nodes", name="fra1", endpoint_addresses=["192.0.2.1"])
    with panel.store.write() as tx:
        freezes.begin(tx, "2 of 3 nodes fell silent at once", [node["id"], "gone"])
    shown = client.get("/api/health/freeze").json()["freeze"]
    assert [each["node_name"] for each in shown["nodes"]] == ["fra1"]
    assert "wgfleet_health_frozen 1.0" in client.get("/metrics").text
    assert "wgfleet_health_frozen_nodes 2.0" in client.get("/metrics").text
    assert client.post("/api/health/freeze/approve", json={"id": "x"}).status_code == 409
    approved = client.post("/api/health/freeze/approve", json={"id": shown["id"]})
    assert approved.status_code == 200
    assert approved.json()["approved_by"]


def test_a_group_names_its_site(client: httpx.Client) -> None:
    assert made(client, "/api/node-groups", name="here", site="fra")["site"] == "fra"
    assert client.patch("/api/node-groups/here", json={"site": ""}).json()["site"] == ""
    assert client.patch("/api/node-groups/here", json={"site": "a\n"}).status_code == 422


@pytest.mark.parametrize(
    ("own", "first", "expected"),
    [
        ("", {}, ["site fra", "site fra", ""]),
        ("fra", {}, [PANEL, PANEL, ""]),
        ("", {"is_panel_node": True}, [PANEL, PANEL, ""]),
        ("", {"agent_host": "127.0.0.1"}, [PANEL, PANEL, ""]),
    ],
    ids=["unmarked", "by the setting", "by the node on the panel's machine", "by an agent at loopback"],
)
def test_nodes_of_a_site_are_one_failure_domain(
    world: World, own: str, first: dict[str, object], expected: list[str]
) -> None:
    config = world.config()
    found = world.serving(config, "n0", "n1", "n2")
    with world.store.write() as tx:
        groups = [node_groups.create(tx, "test", name, site="fra") for name in ("racks", "towers")]
        for node, group in zip(found, groups, strict=False):
            node_rows.set_values(tx, node.id, {"group_id": group.id} | (first if node is found[0] else {}))
    with world.store.read() as tx:
        watched = health.watched(tx, world.vault, lambda *_: None, own)
    domain_of = {probed.node_id: probed.domain for probed in watched}
    assert [domain_of[NodeId(node.id)] for node in found] == expected


def test_a_paused_config_loses_no_node_until_it_is_resumed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    config = world.config()
    found = world.serving(config, "fra1", "ams1", "par1")
    network = Network()
    monitor = monitor_on(network, world, found, monkeypatch)
    with world.store.write() as tx:
        freezes.pause(tx, "ann", configs.get(tx, config.id))

    async def watched() -> None:
        watching_them = monitor.start()
        try:
            await asyncio.sleep(0.5)
            network.dead = {"192.0.2.1:51820"}
            await until(lambda: state(world, config, found[0]) is Health.SUSPECT)
            await asyncio.sleep(1)
            assert state(world, config, found[0]) is Health.SUSPECT
            with world.store.write() as tx:
                freezes.resume(tx, "ann", configs.get(tx, config.id))
            await until(lambda: state(world, config, found[0]) is Health.DOWN)
        finally:
            await watching_them.stop()
            await asyncio.sleep(0.3)

    on_paper(monkeypatch, watched)
    with world.store.read() as tx:
        told = list(tx.session.scalars(select(AuditEntry.action).where(AuditEntry.entity_type == "config")))
    assert [action for action in told if "automation" in action] == ["automation_paused", "automation_resumed"]


def test_a_pause_is_shown_wherever_somebody_looks(client: httpx.Client) -> None:
    made(client, "/api/configs", name="wg0", pools=["10.8.0.0/24"])
    assert client.get("/api/configs/wg0/health").json()["paused_since"] is None
    paused = client.post("/api/configs/wg0/automation", json={"paused": True}).json()
    assert paused["paused"]
    shown = client.get("/api/configs/wg0/health").json()
    assert (shown["paused_since"], shown["paused_by"]) == (paused["paused_since"], paused["paused_by"])
    assert "wgfleet_automation_paused 1.0" in client.get("/metrics").text
    assert client.post("/api/configs/wg0/automation", json={"paused": True}).json() == paused
    assert not client.post("/api/configs/wg0/automation", json={"paused": False}).json()["paused"]
    assert client.get("/api/configs/wg0/health").json()["paused_since"] is None
