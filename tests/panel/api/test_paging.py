"""Lists of a config's nodes and revocations are paged, and whole for who does not page."""

from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.panel.conftest import made, one_database
from tests.panel.world import ACTOR, World
from wgfleet.panel.domain import cursors
from wgfleet.panel.errors import Invalid
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


LISTS: tuple[dict[str, str], ...] = (
    {},
    {"sort": "name"},
    {"sort": "traffic"},
    {"sort": "handshake"},
    {"search": "a"},
    {"search": "user"},
    {"tag": "office"},
    {"tag": "office", "search": "a"},
)


@one_database
def test_a_cursor_goes_on_with_the_list_that_it_is_of_and_with_no_other(client: httpx.Client) -> None:
    office = made(client, "/api/tags", name="office")["id"]
    of_configs = []
    for number, name in enumerate(("wg0", "wg1")):
        made(client, "/api/configs", name=name, pools=[f"10.{number}.0.0/24"])
        ids = [
            made(client, f"/api/configs/{name}/peers", name=f"user-a{n}", tags=[office] if n % 2 else [])["id"]
            for n in range(12)
        ]
        of_configs.append((f"/api/configs/{name}/peers", ids))
    lists = [(path, asked) for path, _ in of_configs for asked in LISTS]
    given_out = [client.get(path, params={**asked, "limit": 2}).json()["next"] for path, asked in lists]
    assert all(len(cursor) < 64 for cursor in given_out)
    for path, asked in lists:
        for cursor, whose in zip(given_out, lists, strict=True):
            answer = client.get(path, params={**asked, "limit": 3, "after": cursor})
            if whose == (path, asked):
                assert answer.json()["items"], "with another limit, and so on"
            else:
                assert answer.status_code == 422, (whose, path, asked)
                assert answer.json()["errors"][0]["field"] == "after"
        for some in (*of_configs[0][1][:1], *of_configs[1][1][:1]):
            assert client.get(path, params={**asked, "after": some}).status_code == 422


ASKED = st.lists(st.text(max_size=5) | st.none(), max_size=5)


@given(place=st.text(max_size=40), asked=ASKED, others=ASKED)
def test_a_place_is_read_from_the_cursor_of_its_own_list(
    place: str, asked: list[str | None], others: list[str | None]
) -> None:
    cursor = cursors.bound(place, *asked)
    assert cursor is not None
    assert cursors.place_of(cursor, *asked) == place
    if asked != others:
        with pytest.raises(Invalid) as refused:
            cursors.place_of(cursor, *others)
        assert refused.value.field == "after"
