"""Answers that list nodes are encoded without the framework's models, and are what these say all the same."""

import json

import httpx
import pytest
from sqlalchemy import text

from tests.panel.world import World
from wgfleet.panel import clock
from wgfleet.panel.api.models import Page
from wgfleet.panel.api.nodes import NodeView, shown
from wgfleet.panel.services.fleet import nodes
from wgfleet.panel.store import nodes as node_rows
from wgfleet.panel.store.nodes import LoadRow

SAID = 'it said "no" \\ é'


def test_a_page_is_what_its_model_says(client: httpx.Client, world: World) -> None:
    config = world.config()
    fra, ams = world.serving(config, "fra1", "ams1")
    world.node("ber1")
    with world.store.write() as tx:
        node_rows.set_loads(tx, [LoadRow(node_id=fra.id, cpu=0.5, memory=1.0, bandwidth=0.0, at=clock.now())])
        node_rows.set_values(
            tx, ams.id, {"agent_version": "0.0.1", "agent_features": ["reach"], "clock_ahead_s": 7.5, "summary": SAID}
        )
    answer = client.get("/api/nodes", params={"limit": 2})
    with world.store.read() as tx:
        rows = nodes.page(tx, None, 2)
        model = Page[NodeView](items=[NodeView.model_validate(each) for each in shown(tx, rows)], next=rows[-1].id)
    assert answer.json() == json.loads(model.model_dump_json())
    assert [list(each) for each in answer.json()["items"]] == [list(NodeView.model_fields)] * 2
    one = client.get(f"/api/nodes/{ams.id}").json()
    assert one in client.get("/api/nodes").json()["items"]
    assert one["agent_release"] == "older"


@pytest.mark.parametrize(
    "made_of",
    ['["{a.__reduce__.__globals__[json].codecs.sys.modules[os].environ}",{"a":["x",{}]}]', "[" * 100_000],
    ids=["a template that reaches into its value", "deep"],
)
def test_a_reason_that_was_written_into_the_database_is_its_text(
    client: httpx.Client, world: World, made_of: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WGFLEET_OF_THE_TEST", "not to be told")
    world.serving(world.config("wg0"), "fra1")
    with world.store.write() as tx:
        tx.session.execute(text("UPDATE assignments SET health_reason = :kept"), {"kept": f"a\x1f{made_of}"})
    answer = client.get("/api/configs/wg0/nodes")
    assert "not to be told" not in answer.text
    assert (answer.status_code, answer.json()["items"][0]["health_reason"]) == (200, "a")
