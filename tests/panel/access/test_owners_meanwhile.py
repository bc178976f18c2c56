"""Owners who are disabled or deleted, before devices are made for them and meanwhile: nothing stays on, or nobody's."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from sqlalchemy import select, text

from tests.panel.access.people import new_user
from tests.panel.conftest import made
from wgfleet.panel import clock
from wgfleet.panel.api import Panel, import_runs
from wgfleet.panel.api import peer_batches as batch_calls
from wgfleet.panel.keypairs import new_key_pair
from wgfleet.panel.services import configs
from wgfleet.panel.services.access import users
from wgfleet.panel.services.fleet import ownership, peer_batches, peers
from wgfleet.panel.store import Tx
from wgfleet.panel.store.tables import Config, Peer, PeerBatch

SLICE, COUNT = 4, 10


@pytest.fixture
def anna(client: httpx.Client, wg0: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> str:
    """The id of a user who is to own devices, which are made few at a time."""
    for module in (batch_calls, import_runs):
        monkeypatch.setattr(module, "SLICE", SLICE)
    new_user(client, "anna", "self-service")
    assert wg0["name"] == "wg0"
    return str(client.get("/api/users/anna").json()["id"])


def batch(client: httpx.Client) -> httpx.Response:
    wanted = [{"name": f"p{number}", "owner": "anna"} for number in range(COUNT)]
    return client.post("/api/configs/wg0/peers/batch", json={"peers": wanted})


def imported(client: httpx.Client, count: int = COUNT) -> httpx.Response:
    private, public = new_key_pair()
    found = [{"public_key": new_key_pair()[1], "name": f"p{number}", "owner": "anna"} for number in range(count)]
    interface = {"name": "office", "private_key": private, "public_key": public, "addresses": ["10.9.0.1/24"]}
    return client.post("/api/imports", json={"interface": {**interface, "peers": found}})


def disable(tx: Tx, panel: Panel) -> None:
    users.update(tx, panel.vault, "test", users.get(tx, "anna"), {"disabled": True})


def delete(tx: Tx, _panel: Panel) -> None:
    users.delete(tx, "test", users.get(tx, "anna"), with_devices=True)


@pytest.mark.parametrize(("call", "after"), [(batch, 0), (imported, 0), (imported, 2 * SLICE)])
@pytest.mark.parametrize(("what", "status", "said"), [(disable, 422, "is disabled"), (delete, 404, "was deleted")])
def test_who_goes_while_devices_are_made_gets_none(
    client: httpx.Client,
    panel: Panel,
    anna: str,
    monkeypatch: pytest.MonkeyPatch,
    call: Callable[[httpx.Client], httpx.Response],
    after: int,
    what: Callable[[Tx, Panel], None],
    status: int,
    said: str,
) -> None:
    add = peer_batches.add

    def then(tx: Tx, batch_id: str, config: Config, drafts: Any, first: int, **more: Any) -> Any:
        some = add(tx, batch_id, config, drafts, first, **more)
        if first == after:
            what(tx, panel)
        return some

    monkeypatch.setattr(peer_batches, "add", then)
    answer = call(client)
    last = after == 2 * SLICE  # then all are looked at again
    assert (answer.status_code, answer.json().get("field")) == (status, f"peers[{0 if last else SLICE}].owner")
    assert said in answer.json()["detail"]
    with panel.store.read() as tx:
        assert [*tx.session.scalars(select(Peer.name)), *tx.session.scalars(select(PeerBatch.id))] == []
        found = tx.session.scalars(select(Config.name)).all()
    assert found == ["wg0"]
    assert anna


def test_devices_of_who_is_disabled_already_are_off_or_refused(client: httpx.Client, panel: Panel, anna: str) -> None:
    assert client.patch("/api/users/anna", json={"disabled": True}).status_code == 200
    refused = client.post("/api/configs/wg0/peers", json={"name": "laptop", "owner": "anna"})
    assert (refused.status_code, refused.json()["field"]) == (422, "owner")
    assert "user 'anna' is disabled" in refused.json()["detail"]
    assert (batch(client).status_code, batch(client).json()["field"]) == (422, "peers[0].owner")
    off = made(client, "/api/configs/wg0/peers", name="laptop", owner="anna", enabled=False)
    assert off["owner_id"] == anna
    other = made(client, "/api/configs/wg0/peers", name="other")
    patch = f"/api/peers/{other['id']}"
    assert client.patch(patch, json={"owner": "anna"}).json()["field"] == "owner"
    table: dict[str, Any] = {"content": "name,owner\nother,anna\nnew,anna\n", "headers": {"Content-Type": "text/csv"}}
    looked = client.post("/api/configs/wg0/peers/csv/preview?existing=update", **table).json()
    assert [(each["line"], each["column"]) for each in looked["problems"]] == [(2, "owner"), (3, "owner")]
    assert client.patch(patch, json={"owner": "anna", "enabled": False}).json()["owner_id"] == anna
    done = imported(client, 2).json()
    assert done["peers"][1]["remarks"][1:] == ["it is switched off, since its owner 'anna' is disabled"]
    with panel.store.read() as tx:
        assert [(each.owner_id, each.enabled) for each in tx.session.scalars(select(Peer))] == [(anna, False)] * 4


@pytest.mark.parametrize("what", [disable, delete])
def test_who_disables_a_user_waits_for_a_device_that_is_being_made(
    panel: Panel, anna: str, what: Callable[[Tx, Panel], None]
) -> None:
    """Otherwise neither would see the other."""
    drafts = peers.draft(panel.vault, [peers.PeerSpec("p0", owner_id=anna)])
    on_postgresql = panel.store.engine.dialect.name == "postgresql"

    def go() -> None:
        with panel.store.write() as tx:
            what(tx, panel)

    with ThreadPoolExecutor(1) as calls:
        with panel.store.write() as tx:
            ownership.hold(tx, drafts)
            call = calls.submit(go)
            waiting = text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
            while on_postgresql and not call.done() and not tx.session.scalar(waiting):
                tx.session.execute(text("SELECT pg_stat_clear_snapshot()"))
            peers.create(tx, "test", configs.get(tx, "wg0"), drafts)
        call.result()
    with panel.store.read() as tx:
        assert [peer.enabled for peer in tx.session.scalars(select(Peer))] == ([False] if what is disable else [])


def test_a_user_is_disabled_while_a_batch_of_the_users_devices_is_taken_back(panel: Panel, anna: str) -> None:
    """Those that are gone by the time they can be locked are nobody's."""
    drafts = peers.draft(panel.vault, [peers.PeerSpec(f"p{number}", owner_id=anna) for number in range(3)])
    batch_id = clock.new_id()
    with panel.store.write() as tx:
        config = configs.get(tx, "wg0")
        peer_batches.begin(tx, batch_id, config, drafts)
        peer_batches.add(tx, batch_id, config, drafts, 0)
    on_postgresql = panel.store.engine.dialect.name == "postgresql"

    def go() -> None:
        with panel.store.write() as tx:
            disable(tx, panel)

    with ThreadPoolExecutor(1) as calls:
        with panel.store.write() as tx:
            assert peer_batches.undo(tx, "test", batch_id)
            call = calls.submit(go)
            waiting = text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
            while on_postgresql and not call.done() and not tx.session.scalar(waiting):
                tx.session.execute(text("SELECT pg_stat_clear_snapshot()"))
        call.result()
    with panel.store.read() as tx:
        assert users.get(tx, "anna").disabled
        assert tx.session.scalars(select(Peer)).all() == []
