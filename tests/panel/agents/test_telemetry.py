"""What nodes say is written for all of them together; what breaks on one of them keeps no other's back."""

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import event, select

from tests.panel.agents.test_belief import connection, report, status
from tests.panel.world import World
from wgfleet.panel import clock
from wgfleet.panel.errors import Unavailable
from wgfleet.panel.reconcile.agents import telemetry
from wgfleet.panel.reconcile.agents.call_back_buffer import MAX_DUE
from wgfleet.panel.reconcile.agents.telemetry import TelemetryWriter
from wgfleet.panel.reconcile.agents.visits import Visits
from wgfleet.panel.services.fleet import loads, nodes
from wgfleet.panel.store import Tx, assignments
from wgfleet.panel.store import sessions as session_rows
from wgfleet.panel.store.tables import AuditEntry, Config, Node, PeerSession
from wgfleet.protocol.ids import ConfigId, Generation, InterfaceName
from wgfleet.protocol.keys import PublicKey
from wgfleet.protocol.messages import (
    CallBack,
    Change,
    Heartbeat,
    InterfaceReport,
    Load,
    Refused,
    Snapshot,
    WatchMessage,
)
from wgfleet.protocol.observed import PeerStats

LOAD = Load(cpu=0.25, memory=0.5, bandwidth=0.1, bandwidth_bps=1e6)


class Site:
    """A config on some nodes, with a peer for each, and connections that say what the test has them say."""

    def __init__(self, world: World, *names: str) -> None:
        self.world = world
        self.config: Config = world.config()
        self.nodes: dict[str, Node] = dict(zip(names, world.serving(self.config, *names), strict=True))
        self.peers = dict(zip(names, world.peers(self.config, *names), strict=True))
        self.begin()

    def begin(self) -> None:
        """Have a panel that knows nothing but the rows take over."""
        self.lines = {node.id: connection(self.world, node) for node in self.nodes.values()}
        self.writer = TelemetryWriter(self.world.store, self.lines, visits=Visits())

    def say(self, name: str, *messages: WatchMessage) -> None:
        async def run() -> None:
            for message in messages:
                self.lines[self.nodes[name].id]._take(message)  # noqa: SLF001 - as the stream gives it

        asyncio.run(run())

    def shakes_hands(self, name: str, port: int = 1) -> None:
        seen = report(self.config, self.peers[name].public_key, f"192.0.2.1:{port}", clock.now())
        self.say(name, Snapshot(status(clock.now()), (seen,)))

    def flush(self) -> None:
        asyncio.run(self.writer.flush())

    def written(self) -> dict[str, str | None]:
        with self.world.store.read() as tx:
            names = {peer.id: name for name, peer in self.peers.items()}
            return {names[row.peer_id]: row.endpoint for row in tx.session.scalars(select(PeerSession))}


@pytest.fixture
def site(world: World) -> Site:
    return Site(world, "ams1", "fra1", "lon1")


@contextlib.contextmanager
def commits(world: World) -> Iterator[list[int]]:
    seen: list[int] = []

    def note(_connection: object) -> None:
        seen.append(1)

    event.listen(world.store.engine, "commit", note)
    yield seen
    event.remove(world.store.engine, "commit", note)


def test_all_nodes_are_written_in_one_transaction(site: Site) -> None:
    for name in site.nodes:
        site.shakes_hands(name)
        site.say(name, Heartbeat(clock.now(), LOAD), Refused(clock.now(), "203.0.113.1", "no certificate", 3))
    with commits(site.world) as seen:
        site.flush()
    assert len(seen) == 1
    assert site.written() == dict.fromkeys(site.nodes, "192.0.2.1:1")
    with site.world.store.read() as tx:
        assert loads.busy(tx, [node.id for node in site.nodes.values()]) == {n.id: 0.5 for n in site.nodes.values()}
        refused = tx.session.scalars(select(AuditEntry).where(AuditEntry.action == "refused")).all()
    assert {entry.entity_id for entry in refused} == {node.id for node in site.nodes.values()}
    with commits(site.world) as seen:
        site.flush()
    assert seen == [], "nothing is new"


def test_sessions_that_ended_with_an_interface_are_audited_once_and_in_the_summary(site: Site) -> None:
    def said(call: CallBack) -> InterfaceReport:
        return InterfaceReport(
            InterfaceName("wg0"), ConfigId(site.config.id), Generation(1), up=True, summary="called", called_back=call
        )

    old, new = CallBack(clock.now() - 4000, 7, 7, 0.2), CallBack(clock.now(), 3, 2, 0.5)
    site.say("fra1", Snapshot(status(clock.now()), (said(old),)))
    for _ in range(3):
        site.say("fra1", Change(clock.now(), (said(new),)), Snapshot(status(clock.now()), (said(new),)))
        site.flush()
    with site.world.store.read() as tx:
        entries = tx.session.scalars(select(AuditEntry).where(AuditEntry.action == "called_back")).all()
        assignment = assignments.get(tx, site.config.id, site.nodes["fra1"].id)
    assert [entry.details for entry in entries] == [{"sessions": 3, "answered": 2, "seconds": 0.5}]
    assert assignment is not None
    assert assignment.summary == "called"


def test_a_hostile_agent_fills_no_log_with_ended_sessions(site: Site) -> None:
    def said(number: int) -> InterfaceReport:
        return InterfaceReport(
            *(InterfaceName("wg0"), ConfigId(site.config.id), Generation(1)),
            up=True,
            summary="called",
            called_back=CallBack(clock.now() + number, 1, 1, 0.0),
        )

    for start in range(0, 1000, 100):
        site.say("fra1", Change(clock.now(), tuple(said(start + number) for number in range(100))))
        site.flush()
    with site.world.store.read() as tx:
        found = tx.session.scalars(select(AuditEntry).where(AuditEntry.action == "called_back")).all()
    assert len(found) <= MAX_DUE + 2


def test_counters_of_nodes_that_are_all_due_at_once_take_turns(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    at = clock.monotonic()
    monkeypatch.setattr(clock, "monotonic", lambda: at)
    shaken = round(clock.now())

    def count(rx: int) -> None:
        for name in site.nodes:
            stats = {PublicKey(site.peers[name].public_key): PeerStats("192.0.2.1:1", shaken, rx, 1)}
            name_of, config_id = InterfaceName(site.config.name), ConfigId(site.config.id)
            site.say(
                name, Change(clock.now(), (InterfaceReport(name_of, config_id, Generation(1), True, "", peers=stats),))
            )

    def counted(rx: int) -> int:
        with site.world.store.read() as tx:
            return len(tx.session.scalars(select(PeerSession).where(PeerSession.rx == rx)).all())

    count(1)
    for _ in site.nodes:
        site.flush()
    at += 1000
    count(2)
    written = []
    for _ in site.nodes:
        site.flush()
        written.append(counted(2))
    assert written == [1, 2, 3]


def test_what_breaks_on_one_node_keeps_no_other_back(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    real = session_rows.record

    def record(tx: Tx, reports: Any, seen_at: float) -> Any:
        if any(each.node_id == site.nodes["fra1"].id for each in reports):
            raise ValueError("a row that cannot be")
        return real(tx, reports, seen_at)

    monkeypatch.setattr(session_rows, "record", record)
    for name in site.nodes:
        site.shakes_hands(name)
    site.flush()
    assert site.written().keys() == {"ams1", "lon1"}


def test_a_database_that_is_away_loses_nothing(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    real = site.writer._written  # noqa: SLF001 - where the database is

    for name in site.nodes:
        site.shakes_hands(name)
        site.say(name, Refused(clock.now(), "203.0.113.1", "no certificate", 3))
    monkeypatch.setattr(site.writer, "_written", away)
    with pytest.raises(Unavailable):
        site.flush()
    site.shakes_hands("fra1", port=2)
    monkeypatch.setattr(site.writer, "_written", real)
    site.flush()
    assert site.written() == {"ams1": "192.0.2.1:1", "fra1": "192.0.2.1:2", "lon1": "192.0.2.1:1"}
    with site.world.store.read() as tx:
        assert len(tx.session.scalars(select(AuditEntry).where(AuditEntry.action == "refused")).all()) == 3


def test_many_rows_are_several_transactions(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telemetry, "ROWS", 4)
    more = site.world.peers(site.config, *(f"user{number}" for number in range(9)))
    now = round(clock.now())
    stats = {
        PublicKey(peer.public_key): PeerStats(endpoint=f"192.0.2.9:{number + 1}", latest_handshake=now, rx=1, tx=1)
        for number, peer in enumerate(more)
    }
    said = report(site.config, more[0].public_key, "192.0.2.9:1", now)
    site.say("ams1", Snapshot(status(clock.now()), (said,)))
    lines = site.lines[site.nodes["ams1"].id]
    lines._buffer.add(site.config.id, stats, 0.0)  # noqa: SLF001 - as a report of all would
    with commits(site.world) as seen:
        site.flush()
    assert len(seen) == 3
    with site.world.store.read() as tx:
        assert len(tx.session.scalars(select(PeerSession)).all()) == 9


def test_a_node_that_was_deleted_meanwhile_is_passed_over(site: Site) -> None:
    for name in site.nodes:
        site.shakes_hands(name)
        site.say(name, Heartbeat(clock.now(), LOAD))
    gone = site.world.node("gone")
    site.lines[gone.id], site.nodes["gone"] = connection(site.world, gone), gone
    site.peers["gone"] = site.peers["ams1"]
    site.shakes_hands("gone", port=9)
    site.say("gone", Heartbeat(clock.now(), LOAD), Change(clock.now(), ()))
    with site.world.store.write() as tx:
        nodes.delete(tx, "test", nodes.get(tx, gone.id), force=True)
    site.flush()
    del site.peers["gone"]
    assert site.written() == dict.fromkeys(("ams1", "fra1", "lon1"), "192.0.2.1:1")


@contextlib.contextmanager
def rows_written(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Yield the public keys whose sessions are written, as they are."""
    found: list[str] = []
    real = session_rows.record

    def record(tx: Tx, reports: Any, seen_at: float) -> Any:
        found.extend(key for each in reports for key in each.stats)
        return real(tx, reports, seen_at)

    with monkeypatch.context() as patch:
        patch.setattr(session_rows, "record", record)
        yield found


def test_a_panel_that_starts_writes_what_its_rows_do_not_say_yet(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The agents say all that they know to a panel that is new to them, and nearly nothing of it is news."""
    shaken = round(clock.now())

    def say(name: str, port: int, later_s: int, rx: int) -> None:
        stats = {PublicKey(site.peers[name].public_key): PeerStats(f"192.0.2.1:{port}", shaken + later_s, rx, 1)}
        name_of, config_id = InterfaceName(site.config.name), ConfigId(site.config.id)
        reported = InterfaceReport(name_of, config_id, Generation(1), True, "", peers=stats)
        site.say(name, Snapshot(status(clock.now()), (reported,)))

    def counters() -> dict[str, int]:
        with site.world.store.read() as tx:
            names = {peer.id: name for name, peer in site.peers.items()}
            return {names[row.peer_id]: row.rx for row in tx.session.scalars(select(PeerSession))}

    for name in site.nodes:
        say(name, 1, -60, 5)
    site.flush()
    site.begin()
    say("ams1", 1, -60, 6)  # counted on alone
    say("fra1", 2, -60, 5)  # elsewhere
    say("lon1", 1, -2, 5)  # shook hands
    with rows_written(monkeypatch) as first:
        site.flush()
    assert set(first) == {site.peers[name].public_key for name in ("fra1", "lon1")}
    assert site.written() == {"ams1": "192.0.2.1:1", "fra1": "192.0.2.1:2", "lon1": "192.0.2.1:1"}
    at = clock.monotonic() + 1000
    monkeypatch.setattr(clock, "monotonic", lambda: at)
    with rows_written(monkeypatch) as counted:
        for _ in site.nodes:
            site.flush()
    assert counted == [site.peers["ams1"].public_key], "counters alone come in their turn"
    assert counters() == {"ams1": 6, "fra1": 5, "lon1": 5}


def test_a_handshake_is_the_same_where_the_clocks_were_taken_to_differ_a_little_less(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = clock.now()
    monkeypatch.setattr(clock, "now", lambda: at)  # a busy machine would make it a later handshake
    site.shakes_hands("fra1")
    site.flush()
    with site.world.store.write() as tx:
        for row in tx.session.scalars(select(PeerSession)):
            row.latest_handshake -= 1
    site.begin()
    site.shakes_hands("fra1")
    with rows_written(monkeypatch) as found:
        site.flush()
    assert found == []


def test_a_database_that_is_away_at_the_start_has_the_rows_compared_when_it_is_back(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in site.nodes:
        site.shakes_hands(name)
    site.flush()
    site.begin()
    for name in site.nodes:
        site.shakes_hands(name)
    real = session_rows.known
    monkeypatch.setattr(session_rows, "known", away)
    with pytest.raises(Unavailable):
        site.flush()
    monkeypatch.setattr(session_rows, "known", real)
    with rows_written(monkeypatch) as found, commits(site.world) as written:
        site.flush()
    assert found == []
    assert written == [], "and the turn to write is nobody's"


def away(*_: object) -> None:
    raise Unavailable("it is locked")
