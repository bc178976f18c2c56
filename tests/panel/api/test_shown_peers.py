"""Answers that show peers are encoded without the framework's models, and are what these say all the same."""

import json
from typing import Any

import httpx
import pytest

from tests.panel.world import World
from wgfleet.panel import clock
from wgfleet.panel.api import shown_peers
from wgfleet.panel.api.models import Page, Shown
from wgfleet.panel.api.shown_peers import PeerView
from wgfleet.panel.services.fleet import peers
from wgfleet.panel.store import sessions
from wgfleet.panel.store.sessions import NodeSessions
from wgfleet.panel.store.tables import Config
from wgfleet.protocol.observed import PeerStats


@pytest.fixture
def wg0(world: World) -> Config:
    """Return a config with peers of all kinds: with a session, with networks, with a key of their own."""
    config = world.config()
    (node,) = world.serving(config, "fra1")
    anna, bert, _ = world.peers(config, "anna", "bert", 'مریم "quoted" \\ é')
    stats = {
        anna.public_key: PeerStats(endpoint="192.0.2.9:1", latest_handshake=int(clock.now()), rx=2**40, tx=1),
        bert.public_key: PeerStats(endpoint=None, latest_handshake=0, rx=0, tx=0),
    }
    with world.store.write() as tx:
        sessions.record(tx, [NodeSessions(node.id, config.id, stats)], clock.now())
        changes = peers.PeerChanges(networks=["192.168.7.0/24"], enabled=False)
        peers.update(tx, world.vault, "test", peers.get(tx, bert.id), changes)
    return config


def as_the_model_says(shown: list[Shown]) -> Any:
    model = Page[PeerView](items=[PeerView.model_validate(each) for each in shown], next="x")
    return json.loads(model.model_dump_json())


def test_a_page_is_what_its_model_says(world: World, wg0: Config) -> None:
    with world.store.read() as tx:
        shown = shown_peers.of_rows(tx, peers.page(tx, wg0.id))
    answer = json.loads(bytes(shown_peers.page(shown, "x").body))
    assert answer == as_the_model_says(shown)
    assert [list(each) for each in answer["items"]] == [list(PeerView.model_fields)] * 3
    assert [each["session"] is None for each in answer["items"]] == [False, False, True]
    assert answer["items"][0]["session"]["rx"] == 2**40


def test_a_peer_is_shown_alike_by_all_calls(client: httpx.Client, world: World, wg0: Config) -> None:
    made = client.post(f"/api/configs/{wg0.name}/peers", json={"name": "dora", "networks": ["192.168.9.0/24"]})
    assert made.status_code == 201
    many = client.post(f"/api/configs/{wg0.name}/peers/batch", json={"count": 2})
    assert many.status_code == 201
    assert [each["name"] for each in many.json()["items"]] == ["user-1", "user-2"]
    path = f"/api/peers/{made.json()['id']}"
    listed = client.get(f"/api/configs/{wg0.name}/peers?limit=4").json()
    found = client.get(f"/api/configs/{wg0.name}/peers", params={"search": "DORA"}).json()
    changed = client.patch(path, json={"enabled": True})
    shown = [made.json(), client.get(path).json(), listed["items"][3], found["items"][0], changed.json()]
    assert shown == [made.json()] * 5
    assert listed["next"].startswith(f"{made.json()['id']}.")
    assert made.headers["content-type"] == "application/json"
    assert isinstance(world, World)
