"""Which public keys a peer may have: never one that its config, its nodes, their probes or another peer has."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.panel.conftest import made
from tests.panel.world import World
from wgfleet.panel.api import Panel
from wgfleet.panel.services import configs, generations
from wgfleet.panel.services.fleet import peers
from wgfleet.panel.store import assignments as assignment_rows


def keys_in_use(panel: Panel, config_name: str, peers: list[dict[str, Any]]) -> dict[str, str]:
    """Return public keys that are taken in a config, by what has them."""
    with panel.store.read() as tx:
        config = configs.get(tx, config_name)
        found = {"the panel's probe": config.probe_public_key}
        if config.public_key is not None:
            found["the config"] = config.public_key
        for assignment, node in assignment_rows.of_config(tx, config.id):
            found[f"the probe of {node.name}"] = assignment.probe_public_key
            if assignment.public_key is not None:
                found[f"{node.name} itself"] = assignment.public_key
    return found | {f"peer {peer['name']}": str(peer["public_key"]) for peer in peers}


def ways(client: httpx.Client, config: str, own: dict[str, Any]) -> dict[str, Callable[[str], httpx.Response]]:
    """Return every way to give a peer a public key."""
    one, batch = f"/api/configs/{config}/peers", f"/api/configs/{config}/peers/batch"
    entry = {"name": "new"}
    return {
        "create": lambda key: client.post(one, json=entry | {"public_key": key}),
        "batch": lambda key: client.post(batch, json={"peers": [{"name": "other"}, entry | {"public_key": key}]}),
        "change": lambda key: client.patch(f"/api/peers/{own['id']}", json={"public_key": key}),
    }


@pytest.mark.parametrize("mode", ["cluster", "independent"])
def test_no_peer_gets_a_key_that_is_taken_in_its_config(client: httpx.Client, panel: Panel, mode: str) -> None:
    made(client, "/api/configs", name="wg0", mode=mode, pools=["10.8.0.0/24"])
    for number, name in enumerate(("fra1", "ams1"), start=1):
        made(client, "/api/nodes", name=name, endpoint_addresses=[f"192.0.2.{number}"])
        made(client, "/api/configs/wg0/nodes", node_id=name)
    own, other = (made(client, "/api/configs/wg0/peers", name=name) for name in ("own", "other-device"))
    taken = keys_in_use(panel, "wg0", [other])
    assert len(taken) == (5 if mode == "cluster" else 6)
    for whose, key in taken.items():
        for way, call in ways(client, "wg0", own).items():
            answer = call(key)
            assert answer.status_code == 409, f"{way} gave a peer the key of {whose}: {answer.text}"
            assert answer.json()["field"] == ("peers[1].public_key" if way == "batch" else "public_key")
            assert key not in answer.text


def test_a_key_of_one_config_may_be_a_peers_in_another(client: httpx.Client, panel: Panel) -> None:
    """A server may well be a client elsewhere, and a device may be in several networks."""
    made(client, "/api/configs", name="wg0", pools=["10.8.0.0/24"])
    made(client, "/api/configs", name="wg1", pools=["10.9.0.0/24"])
    device = made(client, "/api/configs/wg0/peers", name="device")
    for number, key in enumerate(keys_in_use(panel, "wg0", [device]).values()):
        made(client, "/api/configs/wg1/peers", name=f"p{number}", public_key=key)


def test_the_same_key_twice_in_a_batch_is_refused(client: httpx.Client, wg0: dict[str, Any]) -> None:
    key = "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg="
    peers = [{"name": "a", "public_key": key}, {"name": "b", "public_key": key}]
    answer = client.post(f"/api/configs/{wg0['id']}/peers/batch", json={"peers": peers})
    assert (answer.status_code, answer.json()["field"]) == (409, "peers[1].public_key")


def test_a_peer_of_before_that_has_the_servers_key_is_not_pushed(world: World) -> None:
    """WireGuard would drop it silently, and the node would never be in sync."""
    config = world.config()
    (node,) = world.serving(config, "one")
    (user,) = world.peers(config, "user")
    with world.store.write() as tx:
        row = peers.get(tx, user.id)
        row.public_key = config.public_key or ""
        row.generation = generations.bump(tx, config.id)
    world.sync(config, node)
    assert config.public_key not in world.agents[node.id, config.id].peers
