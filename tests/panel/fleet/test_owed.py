"""Changes that have not reached a node are counted, revocations by name, with since when and why."""

import threading
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from tests.panel.conftest import made
from tests.panel.world import ACTOR, World
from wgfleet.panel import clock
from wgfleet.panel.api import Panel
from wgfleet.panel.domain.moves import MoveStep
from wgfleet.panel.domain.operations import OperationState
from wgfleet.panel.reconcile.owed import OwedWatch
from wgfleet.panel.services import configs, operations, retention
from wgfleet.panel.services.fleet import owed, peers
from wgfleet.panel.services.fleet.owed import LATE_S, Owed
from wgfleet.panel.services.fleet.peers import PeerChanges
from wgfleet.panel.store import assignments as assignment_rows
from wgfleet.panel.store import peers as peer_rows
from wgfleet.panel.store.tables import AuditEntry, Config

DAY_S = 86400.0


def delete(world: World, config: Config, name: str) -> None:
    with world.store.write() as tx:
        found = {peer.name: peer.id for peer in peers.page(tx, config.id)}
        peers.delete(tx, ACTOR, configs.get(tx, config.id), [found[name]])


def change(world: World, config: Config, name: str, changes: PeerChanges) -> None:
    with world.store.write() as tx:
        (peer,) = [peer for peer in peers.page(tx, config.id) if peer.name == name]
        peers.update(tx, world.vault, ACTOR, peers.get(tx, peer.id), changes)


def missing(world: World, config: Config) -> dict[str, Owed]:
    with world.store.read() as tx:
        return {found.node.name: found for found in owed.of_config(tx, config.id)}


def test_what_a_node_has_not_applied_is_counted_and_named(world: World) -> None:
    config = world.config()
    fra1, ams1 = world.serving(config, "fra1", "ams1")
    world.peers(config, "anna", "bert", "carl", "dora")
    world.sync_all(config, fra1, ams1)
    assert missing(world, config) == {}
    delete(world, config, "anna")
    change(world, config, "bert", PeerChanges(enabled=False))
    change(world, config, "carl", PeerChanges(rotate_keys=True))
    world.peers(config, "emil")
    world.sync(config, ams1)
    found = missing(world, config)
    assert set(found) == {"fra1"}
    assert set(found["fra1"].revocations) == {"anna", "bert", "carl"}
    assert (found["fra1"].generations, found["fra1"].peers) == (4, 2)
    world.sync(config, fra1)
    assert missing(world, config) == {}


def test_a_node_that_was_just_assigned_lets_in_nobody_who_was_gone_before(world: World) -> None:
    config = world.config()
    (fra1,) = world.serving(config, "fra1")
    world.peers(config, "anna", "bert", "carl", "dora")
    world.sync(config, fra1)
    delete(world, config, "anna")
    change(world, config, "bert", PeerChanges(enabled=False))
    world.sync(config, fra1)
    ams1 = world.node("ams1")
    world.assign(config, ams1)
    found = missing(world, config)["ams1"]
    assert found.revocations == ()
    assert found.peers >= 2
    assert found.since == pytest.approx(clock.now(), abs=5)
    delete(world, config, "carl")  # the node may have got its first push, and not have said so
    assert missing(world, config)["ams1"].revocations == ("carl",)


def test_a_node_that_comes_back_before_it_has_deleted_what_it_had_may_let_in_who_is_gone_since(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = world.config()
    fra1, ams1 = world.serving(config, "fra1", "ams1")
    world.peers(config, "anna", "bert")
    world.sync_all(config, fra1, ams1)
    monkeypatch.setattr("tests.panel.world.CLEAN_S", 0.0)
    operation = world.remove(config, ams1, force=True, window_s=0)
    while world.step(operation) is not MoveStep.DONE:
        world.sync(config, fra1)
    delete(world, config, "anna")
    assert missing(world, config)["ams1"].revocations == ("anna",)
    world.assign(config, ams1)
    world.sync(config, fra1)
    assert missing(world, config)["ams1"].revocations == ("anna",)


def enable(world: World, config: Config, *, enabled: bool) -> None:
    with world.store.write() as tx:
        configs.update(tx, ACTOR, configs.get(tx, config.id), {"enabled": enabled})


def test_a_disabled_config_owes_the_revocation_of_all_its_users(world: World) -> None:
    config = world.config()
    fra1, ams1 = world.serving(config, "fra1", "ams1")
    world.peers(config, "anna", "bert", "carl")
    change(world, config, "bert", PeerChanges(enabled=False))
    world.sync_all(config, fra1, ams1)
    enable(world, config, enabled=False)
    world.sync(config, ams1)
    found = missing(world, config)
    assert set(found) == {"fra1"}
    assert found["fra1"].revocations == ("anna", "carl")
    assert audited(world, "changes_do_not_arrive") == []
    with world.store.write() as tx:
        late = {"behind_since": clock.now() - LATE_S - 1, "behind_generation": found["fra1"].config.generation}
        assignment_rows.applied(tx, found["fra1"].assignment_id or "", **late)
    OwedWatch(world.store).look()
    (entry,) = audited(world, "changes_do_not_arrive")
    assert entry.details["still_served"] == ["anna", "carl"]
    enable(world, config, enabled=True)
    assert {name: owed.revocations for name, owed in missing(world, config).items()} == {"fra1": (), "ams1": ()}


def test_a_node_that_has_confirmed_that_its_config_is_disabled_owes_no_revocations(world: World) -> None:
    config = world.config()
    (fra1,) = world.serving(config, "fra1")
    world.peers(config, "anna")
    enable(world, config, enabled=False)
    world.sync(config, fra1)
    with world.store.write() as tx:
        configs.update(tx, ACTOR, configs.get(tx, config.id), {"mtu": 1300})
    assert missing(world, config)["fra1"].revocations == ()


def test_a_removed_node_that_was_not_reached_may_still_let_people_in(world: World) -> None:
    config = world.config()
    fra1, ams1 = world.serving(config, "fra1", "ams1")
    world.peers(config, "anna", "bert")
    world.sync_all(config, fra1, ams1)
    operation = world.remove(config, fra1, force=True, window_s=0)
    for _ in range(20):
        world.step(operation)
        with world.store.write() as tx:
            if operations.get(tx, operation.id).state is OperationState.SUCCEEDED:
                break
            assignment_rows.cleanup(tx, fra1.id, config.id)
    delete(world, config, "anna")
    world.sync(config, ams1)
    found = missing(world, config)["fra1"]
    assert found.revocations == ("anna",)
    assert "delete its interface" in found.reason


def audited(world: World, action: str) -> list[AuditEntry]:
    with world.store.read() as tx:
        return list(tx.session.scalars(select(AuditEntry).where(AuditEntry.action == action)))


def test_it_is_said_once_that_changes_do_not_arrive_and_once_that_they_have(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = world.config()
    fra1, ams1 = world.serving(config, "fra1", "ams1")
    world.peers(config, "anna")
    world.sync_all(config, fra1, ams1)
    delete(world, config, "anna")
    watch, now = OwedWatch(world.store), clock.now()
    world.sync(config, ams1)
    for later_s in (0, 5, LATE_S + 6, LATE_S + 11):
        monkeypatch.setattr(clock, "now", lambda later_s=later_s: now + later_s)
        watch.look()
    (entry,) = audited(world, "changes_do_not_arrive")
    assert (entry.details["node"], entry.details["still_served"]) == ("fra1", ["anna"])
    assert missing(world, config)["fra1"].late
    assert abs(missing(world, config)["fra1"].since - now) < 2
    world.sync(config, fra1)
    watch.look()
    watch.look()
    assert len(audited(world, "changes_arrived")) == 1
    with world.store.read() as tx:
        assert not owed.worth_noting(tx, set())


def test_nobody_waits_to_write_while_what_is_owed_is_counted(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    config = world.config()
    (fra1,) = world.serving(config, "fra1")
    world.sync(config, fra1)
    world.peers(config, "anna")
    watch, now = OwedWatch(world.store), clock.now()
    count, wrote = peer_rows.owed_upserts, threading.Event()

    def write() -> None:
        with world.store.write():
            wrote.set()

    def counted(*about: Any) -> Any:
        threading.Thread(target=write, daemon=True).start()
        assert wrote.wait(10), "the writer is taken"
        return count(*about)

    watch.look()
    monkeypatch.setattr(peer_rows, "owed_upserts", counted)
    monkeypatch.setattr(clock, "now", lambda: now + LATE_S + 1)
    watch.look()
    assert wrote.is_set()
    assert len(audited(world, "changes_do_not_arrive")) == 1


def test_a_config_that_changes_all_the_time_is_not_late_while_its_node_follows(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = world.config()
    (fra1,) = world.serving(config, "fra1")
    watch, now = OwedWatch(world.store), clock.now()
    for number in range(12):
        monkeypatch.setattr(clock, "now", lambda number=number: now + 5 * number)
        world.sync(config, fra1)
        world.peers(config, f"peer{number}")
        watch.look()
    assert audited(world, "changes_do_not_arrive") == []


def test_a_name_is_kept_as_long_as_it_is_owed(world: World) -> None:
    config = world.config()
    (fra1,) = world.serving(config, "fra1")
    world.peers(config, "anna")
    world.sync(config, fra1)
    delete(world, config, "anna")
    with world.store.write() as tx:
        retention.forget_tombstones(tx, config.id, clock.now() + DAY_S)
    assert missing(world, config)["fra1"].revocations == ("anna",)
    world.sync(config, fra1)
    with world.store.write() as tx:
        retention.forget_tombstones(tx, config.id, clock.now() + DAY_S)
    assert missing(world, config) == {}


def test_the_api_and_the_metrics_say_who_is_still_let_in(panel: Panel, client: httpx.Client) -> None:
    world = World(panel.store, panel.vault)
    config = world.config()
    (fra1,) = world.serving(config, "fra1")
    world.peers(config, "anna")
    world.sync(config, fra1)
    (anna,) = client.get(f"/api/configs/{config.name}/peers").json()["items"]
    assert client.delete(f"/api/peers/{anna['id']}").status_code == 204
    (listed,) = client.get(f"/api/configs/{config.name}/revocations").json()["items"]
    assert (listed["name"], listed["nodes"]) == ("anna", ["fra1"])
    for path in ("nodes", "health"):
        answer = client.get(f"/api/configs/{config.name}/{path}").json()
        (node,) = answer["items"] if path == "nodes" else answer["nodes"]
        assert node["owed"]["revocations"] == ["anna"]
    text = client.get("/metrics").text
    assert 'wgfleet_revocations_owed{config="wg0",node="fra1"} 1.0' in text
    assert 'wgfleet_generations_owed{config="wg0",node="fra1"} 1.0' in text
    world.sync(config, fra1)
    assert client.get(f"/api/configs/{config.name}/revocations").json()["items"] == []
    (node,) = client.get(f"/api/configs/{config.name}/nodes").json()["items"]
    assert node["owed"] is None


def test_a_config_without_nodes_owes_nothing(client: httpx.Client) -> None:
    made(client, "/api/configs", name="wg0", pools=["10.8.0.0/24"])
    assert client.get("/api/configs/wg0/revocations").json()["items"] == []
