"""Usage over the API: by peer, node and config, in hours, days and months, as pages and as CSV."""

from datetime import UTC, datetime

import httpx
import pytest

from tests.panel.usage.test_usage_rows import Told, row
from tests.panel.world import World
from wgfleet.panel.services import usage
from wgfleet.panel.store.tables import Peer

DAY_S = 86400.0
JUNE = datetime(2026, 6, 30, 22, tzinfo=UTC).timestamp()


class Used(Told):
    """Three peers who used two nodes for four hours, at the end of a month."""

    def fill(self) -> list[Peer]:
        alice, bob, carol = self.world.peers(self.config, "alice", "=bob", "carol")
        here, there = self.nodes
        for hour in range(4):
            at = JUNE + hour * 3600.0
            many, few = row(alice.public_key, 100 * (hour + 1), 0, at=at), row(bob.public_key, 0, hour + 1, at=at)
            self.say(here, many, few, now=at)
        self.say(there, row(alice.public_key, 7, 1, life=2, at=JUNE), now=JUNE)
        return [alice, bob, carol]


@pytest.fixture
def site(world: World) -> Used:
    return Used(world)


def asked(client: httpx.Client, **query: str) -> list[tuple[str | None, str, int, int]]:
    found: list[dict[str, object]] = []
    after = None
    while True:
        page = client.get("/api/usage", params={**query, "limit": "2"} | ({"after": after} if after else {})).json()
        found += page["items"]
        after = page["next"]
        if after is None:
            return [(each["start"], each["name"], each["received"], each["sent"]) for each in found]  # type: ignore[misc]


def test_sums_are_asked_for_in_many_ways(site: Used, client: httpx.Client) -> None:
    alice, bob, _ = site.fill()
    assert sorted(asked(client, per="total")) == [(None, "=bob", 0, 4), (None, "alice", 407, 1)]
    june, july = "2026-06-01T00:00:00Z", "2026-07-01T00:00:00Z"
    assert asked(client, per="month", peer=alice.id) == [(june, "alice", 207, 1), (july, "alice", 200, 0)]
    days = asked(client, per="day", by="config")
    assert days == [("2026-06-30T00:00:00Z", "wg0", 207, 3), (july, "wg0", 200, 2)]
    hours = asked(client, per="hour", peer=bob.id)
    assert [each[0] for each in hours] == [
        "2026-06-30T22:00:00Z", "2026-06-30T23:00:00Z", july, "2026-07-01T01:00:00Z"
    ]  # fmt: skip
    assert sorted(asked(client, per="total", by="node")) == [(None, "ams1", 400, 4), (None, "fra1", 7, 1)]
    assert asked(client, per="total", node="fra1") == [(None, "alice", 7, 1)]
    within = {"from": "2026-06-30T23:00:00Z", "to": "2026-07-01T01:00:00Z"}
    assert asked(client, per="total", peer=alice.id, **within) == [(None, "alice", 200, 0)]
    site.delete(alice)
    assert (None, "alice", 407, 1) in asked(client, per="total")


def test_totals_have_what_was_counted_before_an_import_and_other_sums_do_not(site: Used, client: httpx.Client) -> None:
    alice, _, carol = site.fill()
    with site.world.store.write() as tx:
        usage.open_balances(tx, site.config.id, {alice.id: (1000, 0), carol.id: (0, 5)}, JUNE)
    totals = {"=bob": (0, 4), "alice": (1407, 1), "carol": (0, 5)}
    for more in ({}, {"config": "wg0"}):
        assert {name: used for _, name, *used in asked(client, per="total", **more)} == {
            name: list(used) for name, used in totals.items()
        }
    assert asked(client, per="total", peer=carol.id) == [(None, "carol", 0, 5)]
    used = client.get(f"/api/peers/{alice.id}").json()["usage"]
    assert (used["received"], used["sent"]) == totals["alice"]
    for other in (
        {"node": "ams1"},
        {"from": "2026-06-01T00:00:00Z"},
        {"from": "2026-06-01"},
        {"by": "config"},
        {"by": "node"},
    ):
        found = asked(client, per="total", **other)
        assert sum(received + sent for *_, received, sent in found) <= 407 + 1 + 4
    site.delete(carol)
    assert (None, "carol", 0, 5) in asked(client, per="total")


def test_a_cursor_counts_for_its_own_sums_alone(site: Used, client: httpx.Client) -> None:
    site.fill()
    first = client.get("/api/usage", params={"per": "total", "limit": 1}).json()
    for other in ({"per": "total", "by": "config"}, {"per": "day"}, {"per": "total", "config": "wg0"}):
        answer = client.get("/api/usage", params={**other, "after": first["next"]})
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "after")
    rest = client.get("/api/usage", params={"per": "total", "limit": 100, "after": first["next"]}).json()
    assert rest["items"]


def test_csv_has_a_page_and_no_formulas(site: Used, client: httpx.Client) -> None:
    site.fill()
    answer = client.get("/api/usage", params={"per": "total", "format": "csv", "limit": 1})
    assert answer.headers["content-type"].startswith("text/csv")
    rest = client.get("/api/usage", params={"per": "total", "format": "csv", "after": answer.headers["wgfleet-next"]})
    lines = [*answer.text.splitlines(), *rest.text.splitlines()[1:]]
    assert lines[0] == "start,id,name,received,sent"
    assert {line.split(",", 2)[2] for line in lines[1:]} == {"alice,407,1", "'=bob,0,4"}
    assert "wgfleet-next" not in rest.headers


def test_peers_have_totals_and_come_in_their_order(site: Used, client: httpx.Client) -> None:
    alice, bob, carol = site.fill()
    dave, eve = site.world.peers(site.config, "dave", "eve")
    names: list[str] = []
    after = None
    while True:
        query = {"sort": "traffic", "limit": "1"} | ({"after": after} if after else {})
        page = client.get("/api/configs/wg0/peers", params=query).json()
        names += [each["name"] for each in page["items"]]
        after = page["next"]
        if after is None:
            break
    assert names == ["alice", "=bob", "carol", "dave", "eve"]
    del bob, carol, dave, eve
    shown = client.get(f"/api/peers/{alice.id}").json()["usage"]
    assert (shown["received"], shown["sent"]) == (407, 1)
    assert client.get("/api/configs/wg0/peers", params={"sort": "traffic", "after": "x"}).status_code == 422
    assert client.get("/api/configs/wg0/peers", params={"sort": "traffic", "search": "a"}).status_code == 422
    assert client.get("/api/usage", params={"after": "x"}).status_code == 422
    with site.world.store.read() as tx:
        assert usage.totals(tx, [alice.id])[alice.id].first_at == JUNE


def test_a_peer_is_asked_for_by_its_names_and_one_that_there_is_not_is_not_found(
    site: Used, client: httpx.Client
) -> None:
    alice, bob, carol = site.fill()
    for names in ({"peer": "wg0/alice"}, {"peer": "alice", "config": "wg0"}, {"peer": alice.id}):
        assert asked(client, per="total", **names) == [(None, "alice", 407, 1)]
    assert asked(client, peer=carol.id) == []
    for peer in ("nope", "wg0/nope", "nope/alice", "alice"):
        answer = client.get("/api/usage", params={"peer": peer})
        assert (answer.status_code, answer.json()["field"]) == (404, "peer")
    assert client.delete(f"/api/peers/{bob.id}").status_code == 204
    assert asked(client, per="total", peer=bob.id) == [(None, "=bob", 0, 4)]


def test_a_part_of_an_hour_is_refused(client: httpx.Client) -> None:
    said = client.get("/api/usage?from=2026-11-30T15:30:00Z&to=2026-11-30T15:45:00Z")
    assert (said.status_code, said.json()["errors"][0]["field"]) == (422, "to")
    assert client.get("/api/usage?from=2026-11-30T15:30:00Z&to=2026-11-30T16:00:00Z").status_code == 200


def test_a_time_that_ends_before_it_begins_is_refused(client: httpx.Client) -> None:
    answer = client.get("/api/usage", params={"from": "2026-07-01T00:00:00Z", "to": "2026-06-01T00:00:00Z"})
    assert (answer.status_code, answer.json()["field"]) == (422, "from")
