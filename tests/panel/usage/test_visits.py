"""Visits: when and from where peers were at nodes, over pauses and restarts; and nothing of it when that is off."""

import itertools
import random
from datetime import datetime

import httpx
import pytest

from tests.panel.world import World
from wgfleet.panel import clock
from wgfleet.panel.api import Panel
from wgfleet.panel.reconcile.agents.visits import GAP_S, LEAST_S, LOOK_S, Visits
from wgfleet.panel.reconcile.retention import days_kept
from wgfleet.panel.services import retention
from wgfleet.panel.services.retention import Kept
from wgfleet.panel.settings import Settings
from wgfleet.panel.store import jobs as job_rows
from wgfleet.panel.store import sessions, visits
from wgfleet.panel.store.sessions import NodeSessions
from wgfleet.panel.store.tables import Peer
from wgfleet.panel.store.visits import LATE_S
from wgfleet.protocol.observed import PeerStats

HOME, MOBILE = "198.51.100.1:1", "203.0.113.1:2"
NOON = 1_764_000_000.0


class Visited:
    """A peer of two nodes, which report at times of the test."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.config = world.config()
        self.nodes = world.serving(self.config, "ams1", "fra1")
        (self.alice,) = world.peers(self.config, "alice")
        self.visits = Visits()

    def report(self, at: float, endpoint: str, node: int = 0, handshake: float | None = None) -> None:
        shaken = int(NOON + (at if handshake is None else handshake))
        stats = {self.alice.public_key: PeerStats(endpoint=endpoint, latest_handshake=shaken)}
        with self.world.store.write() as tx:
            said = [NodeSessions(self.nodes[node].id, self.config.id, stats)]
            noted = self.visits.note(tx, said, NOON + at, NOON + at)  # before the rows of sessions, as the panel does
            sessions.record(tx, said, NOON + at)
            visits.write(tx, noted)

    def keep_out(self, since: float | None) -> None:
        """Restrict the peer since a time, or (None) let it in."""
        with self.world.store.write() as tx:
            job_rows.restrict(tx, {self.alice.id: None if since is None else "a limit"}, since or 0.0, 1)

    def passes(self, at: float) -> None:
        """Let time pass in which no node says anything."""
        with self.world.store.write() as tx:
            visits.write(tx, self.visits.note(tx, [], NOON + at, NOON + at))

    def found(self) -> list[tuple[int, str, float, float]]:
        """Return node, endpoint, begin and end of each, the oldest first."""
        places = [node.id for node in self.nodes]
        with self.world.store.read() as tx:
            rows = visits.page(tx, self.alice.id, None, 100)
            return [(places.index(r.node_id), r.endpoint, r.began_at - NOON, r.last_at - NOON) for r in reversed(rows)]


@pytest.fixture
def site(world: World) -> Visited:
    return Visited(world)


def test_a_visit_goes_on_with_each_handshake_and_ends_with_the_endpoint_or_a_pause(site: Visited) -> None:
    for at in (1000.0, 1120.0, 1240.0):
        site.report(at, HOME)
    site.report(1250.0, HOME, handshake=1240.0)  # counters alone
    site.visits = Visits()  # the panel starts again
    site.report(1360.0, HOME)
    site.report(1400.0, MOBILE)
    site.report(1450.0, MOBILE, node=1)
    site.report(1400.0 + GAP_S + 1, MOBILE)
    site.passes(1500.0 + 2 * GAP_S)
    assert site.found() == [
        (0, HOME, 1000.0, 1360.0),
        (0, MOBILE, 1400.0, 1400.0),
        (1, MOBILE, 1450.0, 1450.0),
        (0, MOBILE, 1401.0 + GAP_S, 1401.0 + GAP_S),
    ]


def test_what_was_long_ago_is_no_visit_and_what_comes_and_goes_is_one(site: Visited) -> None:
    site.report(10_000.0, HOME, handshake=10_000.0 - GAP_S - 1)
    assert site.found() == []
    for i in range(int(LEAST_S)):
        site.report(10_000.0 + i, (HOME, MOBILE)[i % 2])
    site.passes(10_000.0 + LEAST_S + GAP_S)
    assert site.found() == [(0, HOME, 10_000.0, 10_000.0 + LEAST_S - 1)]


def test_a_handshake_alone_writes_nothing_and_what_goes_on_is_written_now_and_then(site: Visited) -> None:
    for at in range(1000, 1500, 100):
        site.report(at, HOME)
    assert site.found() == [(0, HOME, 1000.0, 1000.0)]
    for at in range(1500, 1700, 100):
        site.report(at, HOME)
    assert site.found() == [(0, HOME, 1000.0, 1000.0 + LATE_S)]
    site.passes(1600.0 + GAP_S)
    site.report(1650.0 + GAP_S, HOME)  # it has ended, and was written
    assert site.found() == [(0, HOME, 1000.0, 1600.0), (0, HOME, 1650.0 + GAP_S, 1650.0 + GAP_S)]


def test_a_visit_goes_on_over_a_restart_unless_too_much_time_went_by(site: Visited) -> None:
    for at in (1000.0, 1120.0, 1240.0):
        site.report(at, HOME)
    site.visits = Visits()
    site.report(1000.0 + LATE_S + GAP_S, HOME)
    site.visits = Visits()
    site.report(5000.0, HOME)
    site.visits = Visits()
    site.report(5100.0, MOBILE)  # how long it was at home nobody knows, and nothing is made up
    assert [(began, last) for _, _, began, last in site.found()] == [
        (1000.0, 1240.0),
        (1000.0 + LATE_S + GAP_S, 1000.0 + LATE_S + GAP_S),
        (5000.0, 5000.0),
        (5100.0, 5100.0),
    ]


def test_a_killed_panel_adds_nothing_and_a_visit_goes_on_where_handshakes_did(site: Visited) -> None:
    for at in (1000.0, 1120.0, 1240.0):
        site.report(at, HOME)
    site.visits = Visits()
    site.report(1480.0, HOME)
    site.visits = Visits()
    site.report(1960.0, HOME, handshake=1950.0)
    assert site.found() == [(0, HOME, 1000.0, 1480.0), (0, HOME, 1950.0, 1950.0)]


def test_a_visit_ends_where_its_peer_shakes_hands_with_another_node(site: Visited) -> None:
    site.report(1000.0, HOME)
    site.report(1060.0, HOME, node=1)
    site.report(1070.0, HOME, handshake=1050.0)  # told late, of before
    site.report(1120.0, HOME)
    site.visits = Visits()
    site.report(1240.0, HOME, node=1)
    site.report(1300.0, HOME, node=1, handshake=1290.0)
    site.passes(1300.0 + GAP_S + 1)
    assert site.found() == [
        (0, HOME, 1000.0, 1000.0),
        (1, HOME, 1060.0, 1060.0),
        (0, HOME, 1120.0, 1120.0),
        (1, HOME, 1240.0, 1290.0),
    ]


def test_a_visit_ends_where_its_peer_is_kept_out(site: Visited) -> None:
    site.report(1000.0, HOME)
    site.report(1100.0, HOME)
    site.keep_out(NOON + 1110.0)
    site.passes(1110.0 + LOOK_S)
    site.keep_out(None)
    site.report(1200.0, HOME)
    assert site.found() == [(0, HOME, 1000.0, 1100.0), (0, HOME, 1200.0, 1200.0)]


@pytest.mark.parametrize("seed", range(5))
def test_sessions_of_one_device_are_no_longer_than_the_time_that_passed(
    panel: Panel, client: httpx.Client, site: Visited, seed: int
) -> None:
    """Whatever moves, restarts and restrictions come, and however late nodes tell: it is at one node at a time."""
    assert panel is not None
    chance = random.Random(seed)  # noqa: S311 - what happens, and no secret
    begin = clock.now() - 4000 - NOON
    at, node, shaken, is_out = begin, 0, begin - 1000, False
    while at < begin + 4000:
        match chance.choices(("goes on", "moves", "restarts", "turns"), (10, 4, 3, 2))[0]:
            case "moves":
                node, shaken = 1 - node, at
            case "restarts":
                site.visits = Visits()
                at += chance.choice((2.0, 60.0, 500.0))
            case "turns":
                is_out = not is_out
                site.keep_out(NOON + at if is_out else None)
                site.passes(at)
        if not is_out:
            shaken = at if at - shaken >= 120 or chance.random() < 0.1 else shaken
            site.report(at, HOME, node=node, handshake=shaken)
            if chance.random() < 0.2:
                site.report(at, HOME, node=1 - node, handshake=shaken - 30)
        at += chance.uniform(1, 120)
    found = client.get(f"/api/peers/{site.alice.id}/sessions", params={"limit": 1000}).json()["items"]
    assert sum(each["seconds"] for each in found) <= at - begin
    spans = sorted(
        (datetime.fromisoformat(each["began_at"]), datetime.fromisoformat(each["last_at"])) for each in found
    )
    assert all((later[0] - before[1]).total_seconds() > -2 for before, later in itertools.pairwise(spans))


def test_too_many_to_know_are_known_from_the_rows(site: Visited, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wgfleet.panel.reconcile.agents.visits.MAX_KNOWN", 0)
    for at in (1000.0, 1120.0, 1240.0, 1360.0):
        site.report(at, HOME)
    site.passes(1370.0)
    assert site.found() == [(0, HOME, 1000.0, 1360.0)]


def test_off_is_off_and_forgets(site: Visited) -> None:
    site.report(1000.0, HOME)
    off = Settings.model_validate({"usage": {"session_history": False}})
    days = days_kept(off)
    assert days[Kept.VISITS] == 0
    with site.world.store.write() as tx:
        assert retention.forget(tx, Kept.VISITS, clock.now()) == 1
    site.visits = Visits(keep=False)
    site.report(1120.0, HOME)
    assert site.found() == []


def test_they_are_listed_newest_first_in_pages(panel: Panel, client: httpx.Client, site: Visited) -> None:
    assert panel is not None
    begin = clock.now() - 5000 - NOON
    for i in range(3):
        site.report(begin + 1000 * i, HOME)
        site.report(begin + 120 + 1000 * i, HOME)
    assert [end - began for *_, began, end in site.found()] == [120.0, 120.0, 0.0]  # the last goes on
    path = f"/api/peers/{site.alice.id}/sessions"
    first = client.get(path, params={"limit": 2}).json()
    rest = client.get(path, params={"limit": 2, "after": first["next"]}).json()
    shown = [*first["items"], *rest["items"]]
    assert [each["seconds"] for each in shown] == [120, 120, 120]
    assert [each["began_at"] for each in shown] == sorted((each["began_at"] for each in shown), reverse=True)
    assert rest["next"] is None
    assert client.get(path, params={"after": "x~y"}).status_code == 422
    assert client.get("/api/peers/none/sessions").status_code == 404


def test_they_go_with_the_peer(site: Visited) -> None:
    site.report(1000.0, HOME)
    with site.world.store.write() as tx:
        tx.session.query(Peer).delete()
    assert site.found() == []
