"""Witnesses over the API and as rows: made, refused where they cannot serve, known to nodes, and forgotten."""

from typing import Any

import httpx
import pytest

from tests.panel.conftest import made
from tests.panel.world import ACTOR, World
from wgfleet.panel.errors import Conflict
from wgfleet.panel.services import configs
from wgfleet.panel.services import health as health_service
from wgfleet.panel.services.fleet import node_agents, node_groups, nodes, probe_keys, witnesses
from wgfleet.panel.services.fleet.nodes import NodeSpec
from wgfleet.panel.services.health import Looker
from wgfleet.panel.store.tables import Config, Node
from wgfleet.panel.vault import VaultError
from wgfleet.protocol.features import Feature
from wgfleet.protocol.keys import PrivateKey, public_key_of

HELPER = {"name": "helper", "witness": True, "agent_host": "198.51.100.9"}


def witness_of(world: World, name: str = "helper", host: str = "198.51.100.9", group: str | None = None) -> Node:
    with world.store.write() as tx:
        spec = NodeSpec(name, (), agent_host=host, group=group, witness=True)
        return nodes.create_witness(tx, world.vault, ACTOR, spec)


def lookers(world: World, site: str = "") -> list[Looker]:
    def unreadable(name: str, error: VaultError) -> None:
        raise AssertionError(f"{name}: {error}")

    with world.store.read() as tx:
        return health_service.lookers(tx, world.vault, unreadable, site)


def asked_with(world: World) -> str:
    (looker,) = lookers(world)
    return public_key_of(PrivateKey(looker.node_key))


def probing(world: World, config: Config, node: Node) -> set[str]:
    """Return the public keys that a node's agent answers and lets reach nothing."""
    return {key for key, peer in world.agents[node.id, config.id].peers.items() if not peer.allowed_ips}


def test_a_witness_is_made_shown_and_joined_as_one(client: httpx.Client) -> None:
    node = made(client, "/api/nodes", **HELPER)
    assert node["witness"] is True
    assert node["endpoint_addresses"] == []
    assert client.get("/api/nodes/helper").json()["witness"] is True
    joining = made(client, "/api/nodes/helper/join-token")
    assert joining["command"].endswith("--state-dir /var/lib/wgfleet-witness")
    assert "wgfleet_witnesses 1.0" in client.get("/metrics").text
    assert "wgfleet_nodes 0.0" in client.get("/metrics").text


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"endpoint_addresses": ["192.0.2.1"]}, "endpoint_addresses"),
        ({"agent_host": None}, "agent_host"),
        ({"capacity": 5}, "capacity"),
        ({"bandwidth_mbps": 5}, "bandwidth_mbps"),
    ],
)
def test_what_a_witness_cannot_have_is_refused_by_its_field(
    client: httpx.Client, more: dict[str, Any], field: str
) -> None:
    refused = client.post("/api/nodes", json=HELPER | more)
    assert (refused.status_code, refused.json()["field"]) == (422, field), refused.text
    if more.get("agent_host", "") is not None:
        made(client, "/api/nodes", **HELPER)
        assert client.patch("/api/nodes/helper", json=more).status_code == 422


def test_a_node_that_serves_still_needs_an_address(client: httpx.Client) -> None:
    refused = client.post("/api/nodes", json={"name": "fra1", "agent_host": "192.0.2.1"})
    assert (refused.status_code, refused.json()["field"]) == (422, "endpoint_addresses")


@pytest.mark.usefixtures("wg0")
def test_no_config_is_assigned_to_a_witness(client: httpx.Client) -> None:
    made(client, "/api/nodes", **HELPER)
    refused = client.post("/api/configs/wg0/nodes", json={"node_id": "helper"})
    assert (refused.status_code, refused.json()["field"]) == (409, "node_id")
    assert "is a witness" in refused.json()["detail"]


def test_nodes_answer_a_witness_whichever_came_first_and_no_more_when_it_is_gone(world: World) -> None:
    config = world.config()
    first, second = world.serving(config, "fra1", "ams1")
    helper = witness_of(world)
    world.sync_all(config, first, second)
    key = asked_with(world)
    assert key in probing(world, config, first) & probing(world, config, second)
    (third,) = world.serving(config, "par1")
    assert key in probing(world, config, third)
    later = world.config("wg1", pools=("10.9.0.0/24",))
    (fourth,) = world.serving(later, "lon1")
    assert len(lookers(world)) == 2
    with world.store.write() as tx:
        nodes.delete(tx, ACTOR, nodes.get(tx, helper.id))
    world.sync_all(config, first, second, third)
    world.sync_all(later, fourth)
    for carrier in (first, second, third):
        assert key not in probing(world, config, carrier)
        assert world.agents[carrier.id, config.id] == world.whole(config, carrier)
    assert lookers(world) == []


def test_a_rotation_replaces_a_witnesss_key_and_it_is_known_at_every_moment(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe_keys, "LEAST_STEP_S", 0.0)
    config = world.config()
    found = world.serving(config, "fra1", "ams1")
    witness_of(world)
    world.sync_all(config, *found)
    before = asked_with(world)
    with world.store.write() as tx:
        probe_keys.start(tx, world.vault, ACTOR, configs.get(tx, config.id))
    for _ in range(8):
        for node in found:
            with world.store.read() as tx:
                probed = {each.node_id: each for each in health_service.watched(tx, world.vault, lambda *_: None)}
            for target in found:
                (looker,) = lookers(world)
                key = public_key_of(PrivateKey(looker.key_towards(probed[target.id])))  # type: ignore[index]
                assert key in probing(world, config, target)
            world.sync(config, node)
        with world.store.write() as tx:
            probe_keys.advance(tx, world.vault, config.id)
    after = asked_with(world)
    assert after != before
    assert before not in probing(world, config, found[0]) | probing(world, config, found[1])


def test_a_witness_on_the_machine_of_a_node_has_no_say_in_its_configs_and_that_is_said(world: World) -> None:
    config, other = world.config(), world.config("wg1", pools=("10.9.0.0/24",))
    (first,) = world.serving(config, "fra1")
    world.serving(other, "ams1")
    with world.store.write() as tx:
        spec = NodeSpec("helper", (), agent_host=first.agent_host, agent_port=51901, witness=True)
        helper = nodes.create_witness(tx, world.vault, ACTOR, spec)
    assert [looker.config_name for looker in lookers(world)] == ["wg1"]
    with world.store.read() as tx:
        assert "'fra1'" in witnesses.warnings(tx)[helper.id]


@pytest.mark.parametrize("host", ["127.0.0.1", "203.0.113.1"])
def test_a_witness_on_the_panels_machine_has_no_say(world: World, host: str) -> None:
    world.serving(world.config(), "fra1")
    with world.store.write() as tx:
        nodes.create(tx, ACTOR, NodeSpec("home", ["203.0.113.1"], agent_host="127.0.0.1", agent_port=51901))
    witness_of(world, host=host)
    assert lookers(world) == []


def test_a_witness_stands_in_the_site_of_its_group(world: World) -> None:
    world.serving(world.config(), "fra1")
    with world.store.write() as tx:
        node_groups.create(tx, ACTOR, name="far", site="lon")
    witness_of(world, group="far")
    assert [looker.domain for looker in lookers(world)] == ["site lon"]
    assert [looker.domain for looker in lookers(world, "lon")] == ["panel"]


def test_a_witness_is_silent_or_too_old(world: World) -> None:
    helper = witness_of(world)

    def said() -> str | None:
        with world.store.read() as tx:
            return witnesses.warnings(tx).get(helper.id)

    assert said() is None
    with world.store.write() as tx:
        nodes.get(tx, helper.id).certificate_expires_at = 1.0
    assert "does not answer" in (said() or "")
    with world.store.write() as tx:
        node_agents.reported(tx, helper.id, connected=True, version="0.1.0", known=())
    assert "too old" in (said() or "")
    with world.store.write() as tx:
        node_agents.reported(tx, helper.id, connected=True, version="0.2.0", known=(Feature.WITNESS,))
    assert said() is None


def test_a_node_is_no_witness_by_a_later_change(client: httpx.Client, fra1: dict[str, Any]) -> None:
    assert client.patch(f"/api/nodes/{fra1['id']}", json={"witness": True}).status_code == 422


def test_nobody_is_placed_on_a_witness(world: World) -> None:
    config = world.config()
    world.serving(config, "fra1")
    helper = witness_of(world)
    world.peers(config, "anna", "bert")
    with world.store.read() as tx:
        assert nodes.home_counts(tx, [helper.id]) == {}
    with pytest.raises(Conflict, match="is a witness"):
        world.assign(config, helper)


def test_a_witness_has_nothing_to_keep_from_it(client: httpx.Client) -> None:
    made(client, "/api/node-groups", name="site")
    made(client, "/api/nodes", **HELPER, group="site")
    for what in ("cordon", "drain"):
        refused = client.post(f"/api/nodes/helper/{what}")
        assert (refused.status_code, "is a witness" in refused.json()["detail"]) == (409, True), refused.text
    assert "has no nodes" in client.post("/api/node-groups/site/drain").json()["detail"]
    made(client, "/api/nodes", name="fra1", endpoint_addresses=["192.0.2.1"], group="site")
    assert client.post("/api/node-groups/site/drain").status_code == 202
    assert client.get("/api/nodes/helper").json()["cordoned"] is False
    assert client.get("/api/nodes/fra1").json()["cordoned"] is True
    assert client.post("/api/node-groups/site/uncordon").status_code == 200
