"""Speeds of peers: whose counts, what nodes get of it and when, and what an agent that knows nothing of it gets."""

from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from tests.panel.clients.test_files import serve
from tests.panel.conftest import made
from wgfleet.panel.api import Panel
from wgfleet.panel.reconcile.agents.render_cache import RenderCache
from wgfleet.panel.services import configs
from wgfleet.panel.services.fleet import desired
from wgfleet.panel.services.fleet.desired import PreparedPush
from wgfleet.panel.store import assignments as assignment_rows
from wgfleet.panel.store.tables import Assignment, Config
from wgfleet.protocol import features, releases
from wgfleet.protocol.desired import DesiredInterface, DesiredPeer, apply_delta
from wgfleet.protocol.features import Feature

MBIT = 1_000_000


@dataclass
class FollowingNode:
    """A node that applies deltas, each checked against the whole."""

    panel: Panel
    client: httpx.Client
    has: DesiredInterface | None = None

    def take(self) -> DesiredInterface:
        """Take what is new; return all that it has."""
        with self.panel.store.read() as tx:
            config, assignment = of_node(tx)
            whole = desired.whole(tx, self.panel.vault, config, assignment)
            if self.has is not None and self.has.generation != whole.generation:
                delta = desired.since(tx, self.panel.vault, config, assignment, self.has.generation)
                self.has = apply_delta(self.has, delta)
            if self.has is not None:
                assert (self.has.peers, self.has.settings) == (whole.peers, whole.settings), "no node would hear of it"
            self.has = whole
        return whole


@dataclass
class NodeView(FollowingNode):
    """One that is asked for the speeds of its peers."""

    names: dict[str, str] = field(default_factory=dict)

    def speeds(self) -> dict[str, tuple[int, int]]:
        """Take what is new; return the speeds in Mbit/s of those that have any, by name."""
        for peer in self.client.get("/api/configs/wg0/peers").json()["items"]:
            self.names[peer["public_key"]] = peer["name"]
            shown = (peer["download_speed"] or 0, peer["upload_speed"] or 0)
            if self.has is not None and peer["public_key"] in self.has.peers:
                on_node = self.take().peers[peer["public_key"]]
                assert shown == (on_node.download, on_node.upload), peer["name"]
        return {
            self.names[key]: (each.download // MBIT, each.upload // MBIT)
            for key, each in self.take().peers.items()
            if each.download or each.upload
        }


def of_node(tx: Any) -> tuple[Config, Assignment]:
    config = configs.get(tx, "wg0")
    ((assignment, _),) = assignment_rows.of_config(tx, config.id)
    return config, assignment


@pytest.fixture
def node(panel: Panel, client: httpx.Client, wg0: dict[str, Any]) -> NodeView:
    assert wg0["download_speed"] is None
    serve(panel, client, "wg0", "fra1")
    return NodeView(panel, client)


def peer(client: httpx.Client, name: str, **body: object) -> str:
    found: str = made(client, "/api/configs/wg0/peers", name=name, **body)["id"]
    return found


def patch(client: httpx.Client, path: str, **body: object) -> dict[str, Any]:
    answer = client.patch(path, json=body)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_the_nearest_counts_is_shown_and_reaches_nodes_by_deltas(client: httpx.Client, node: NodeView) -> None:
    made(client, "/api/tags", name="beta", download_speed=20 * MBIT)
    made(client, "/api/tags", name="gamma", download_speed=30 * MBIT, upload_speed=3 * MBIT)
    anna, bert = peer(client, "anna", tags=["beta", "gamma"]), peer(client, "bert")
    carl = peer(client, "carl", upload_speed=MBIT)
    assert node.speeds() == {"anna": (20, 3), "carl": (0, 1)}
    details = client.get(f"/api/peers/{anna}/details").json()["held"]
    assert [(each["value"], each["origin"]) for each in details[:2]] == [
        (20 * MBIT, "tag 'beta'"),
        (3 * MBIT, "tag 'gamma'"),
    ]
    patch(client, "/api/configs/wg0", download_speed=100 * MBIT)
    assert node.speeds() == {"anna": (20, 3), "bert": (100, 0), "carl": (100, 1)}
    patch(client, "/api/tags/gamma", name="alpha")  # now the first by name
    assert node.speeds()["anna"] == (30, 3)
    patch(client, "/api/tags/alpha", download_speed=None)
    assert node.speeds()["anna"] == (20, 3)
    patch(client, f"/api/peers/{anna}", download_speed=0, upload_speed=5 * MBIT)  # as fast as it can
    assert node.speeds()["anna"] == (0, 5)
    patch(client, f"/api/peers/{anna}", download_speed=None, upload_speed=None)
    assert client.post("/api/tags/beta/peers", json={"add": [bert, carl], "remove": [anna]}).status_code == 200
    assert node.speeds() == {"anna": (100, 3), "bert": (20, 0), "carl": (20, 1)}
    patch(client, f"/api/peers/{bert}", tags=["alpha"])
    assert node.speeds()["bert"] == (100, 3)
    assert client.delete("/api/tags/alpha").status_code == 204
    assert node.speeds() == {"anna": (100, 0), "bert": (100, 0), "carl": (20, 1)}
    patch(client, "/api/configs/wg0", download_speed=None)
    assert node.speeds() == {"carl": (20, 1)}


def test_what_changes_no_speed_is_no_news_for_nodes(client: httpx.Client, node: NodeView) -> None:
    made(client, "/api/tags", name="office", mtu=1300)
    anna = peer(client, "anna", download_speed=MBIT)
    before = client.get("/api/configs/wg0").json()["generation"]
    patch(client, f"/api/peers/{anna}", tags=["office"], download_speed=MBIT)
    patch(client, "/api/tags/office", mtu=1290, name="home")
    patch(client, "/api/configs/wg0", upload_speed=None)
    assert client.get("/api/configs/wg0").json()["generation"] == before
    assert node.speeds() == {"anna": (1, 0)}


def test_a_tag_given_to_all_that_match_reaches_nodes(panel: Panel, client: httpx.Client, node: NodeView) -> None:
    made(client, "/api/tags", name="slow", download_speed=MBIT)
    for name in ("anna", "bert"):
        peer(client, name)
    assert node.speeds() == {}
    path, body = "/api/configs/wg0/peers/changes", {"filter": {}, "action": "add_tag", "tag": "slow"}
    who = client.post(f"{path}/preview", json=body).json()["who"]
    operation = client.post(path, json={**body, "expect": who}).json()
    from wgfleet.panel.services import peer_changes  # noqa: PLC0415 - what the reconciler does

    while True:
        with panel.store.write() as tx:
            if not peer_changes.step(tx, operation["id"]):
                break
    assert node.speeds() == {"anna": (1, 0), "bert": (1, 0)}


def test_an_older_agent_gets_what_it_knows_and_the_panel_says_what_that_means(
    panel: Panel, client: httpx.Client, node: NodeView
) -> None:
    peer(client, "anna", download_speed=MBIT)
    assert node.speeds() == {"anna": (1, 0)}
    older = features.ALL - {Feature.SPEED}
    with panel.store.read() as tx:
        config, assignment = of_node(tx)
        push = desired.push(tx, panel.vault, config, assignment, 0, older)
        assert isinstance(push, DesiredInterface)
        assert {(each.download, each.upload) for each in push.peers.values()} == {(0, 0)}
        # An agent that is upgraded is sent the whole: what it has under that number is of another history.
        assert desired.history(tx, config, assignment, 1, older) != desired.history(
            tx, config, assignment, 1, features.ALL
        )
    assert "held to no speed" in (releases.warning("0.1.0", "0.2.0", {each.value for each in older}) or "")
    assert features.for_agent(DesiredPeer((), download=5), features.NONE) == DesiredPeer(())


@pytest.mark.usefixtures("wg0")
def test_what_can_be_no_speed_is_refused_at_its_field(client: httpx.Client) -> None:
    made(client, "/api/tags", name="office")
    for path in ("/api/configs/wg0", "/api/tags/office", f"/api/peers/{peer(client, 'anna')}"):
        for speed, said in ((1, "64000 to"), (-1, ""), (10**12, ""), ("fast", "")):
            answer = client.patch(path, json={"upload_speed": speed})
            assert answer.status_code == 422, (path, speed)
            assert "upload_speed" in answer.text
            assert said in answer.text


def test_whom_a_speed_of_a_config_hits_is_said_beforehand(client: httpx.Client, node: NodeView) -> None:
    peer(client, "anna")
    body = {"download_speed": 20 * MBIT}
    (said,) = client.post("/api/configs/wg0/preview", json=body).json()["effects"]
    assert "1 peer" in said
    assert "20 Mbit/s" in said
    assert node.speeds() == {}
    assert client.post("/api/configs/wg0/preview", json={"download_speed": None}).json()["effects"] == []


def test_answers_to_a_call_that_makes_many_show_their_speeds(client: httpx.Client, node: NodeView) -> None:
    made(client, "/api/tags", name="slow", upload_speed=MBIT)
    patch(client, "/api/configs/wg0", download_speed=100 * MBIT)
    body = {"peers": [{"name": "anna"}, {"name": "bert", "tags": ["slow"]}, {"name": "carl", "download_speed": 0}]}
    rows = made(client, "/api/configs/wg0/peers/batch", **body)["items"]
    shown = {row["name"]: (row["download_speed"], row["upload_speed"]) for row in rows}
    assert shown == {"anna": (100 * MBIT, None), "bert": (100 * MBIT, MBIT), "carl": (None, None)}
    assert node.speeds() == {"anna": (100, 0), "bert": (100, 1)}


def test_older_agents_share_one_rendering_as_long_as_nobody_has_a_speed(
    panel: Panel, client: httpx.Client, node: NodeView
) -> None:
    assert node.speeds() == {}
    older, renderings = features.ALL - {Feature.SPEED, Feature.RULES}, RenderCache()

    def prepared() -> PreparedPush:
        with panel.store.read() as tx:
            config, assignment = of_node(tx)
            return desired.prepared(tx, panel.vault, config, assignment, 0, older, renderings)

    bert = peer(client, "bert")
    assert b"allowed_ips" in prepared().shared
    client.patch(f"/api/peers/{bert}", json={"download_speed": MBIT})
    rendered = prepared()
    assert rendered.shared == b""
    assert isinstance(rendered.push, DesiredInterface)
    assert {each.download for each in rendered.push.peers.values()} == {0}
