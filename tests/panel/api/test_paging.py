"""Lists of a config's nodes and revocations are paged, and whole for who does not page."""

from typing import Any

import httpx
import pytest

from tests.panel.world import ACTOR, World
from wgfleet.panel.services import configs
from wgfleet.panel.services.fleet import peers
from wgfleet.panel.store.tables import Config

NAMES = ["b c", "aé", "مریم", "z", "a"]


@pytest.fixture
def wg0(world: World) -> Config:
    """Return a config with three nodes that have not heard of five deleted peers."""
    config = world.config()
    nodes = world.serving(config, "one", "two", "three")
    made = world.peers(config, *NAMES)
    for node in nodes:
        world.sync(config, node)
    with world.store.write() as tx:
        peers.delete(tx, ACTOR, configs.get(tx, config.id), [peer.id for peer in made])
    return config


def paged(client: httpx.Client, path: str, limit: int) -> list[Any]:
    found: list[Any] = []
    after: dict[str, str] = {}
    while True:
        page = client.get(path, params={"limit": limit, **after}).json()
        assert len(page["items"]) <= limit
        found += page["items"]
        if page["next"] is None:
            return found
        after = {"after": page["next"]}


@pytest.mark.parametrize(("path", "count"), [("nodes", 3), ("revocations", 5)])
def test_pages_are_the_whole_together(client: httpx.Client, wg0: Config, path: str, count: int) -> None:
    whole = client.get(f"/api/configs/{wg0.name}/{path}").json()
    assert len(whole["items"]) == count
    assert whole["next"] is None
    for limit in (1, 2, count, count + 1):
        assert paged(client, f"/api/configs/{wg0.name}/{path}", limit) == whole["items"]


def test_revocations_come_by_name(client: httpx.Client, wg0: Config) -> None:
    found = paged(client, f"/api/configs/{wg0.name}/revocations", 2)
    assert [each["name"] for each in found] == sorted(NAMES)


@pytest.mark.parametrize("after", ["x", "null", "1e9", "-1", "'", "-inf", "0" * 31, "A" * 32, "b" * 300])
@pytest.mark.parametrize("sort", ["created", "name", "traffic", "handshake", None])
def test_what_is_no_cursor_is_refused_and_taken_neither_for_the_end_nor_the_beginning(
    client: httpx.Client, world: World, sort: str | None, after: str
) -> None:
    config = world.config()
    world.peers(config, *NAMES)
    for path in ("peers", "nodes") if sort is None else ("peers",):
        params = {"after": after} | ({"sort": sort} if sort else {})
        found = client.get(f"/api/configs/{config.name}/{path}", params=params)
        assert found.status_code == 422
        assert "after" in found.text
