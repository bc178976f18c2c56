"""Files that several devices use: told from a device that changes networks, and what follows."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.panel.agents.test_telemetry import Site
from tests.panel.jobs.test_job_rows import Limited
from tests.panel.world import World
from wgfleet.panel import clock
from wgfleet.panel.domain.jobs.devices import WINDOW_S, EndpointTurns
from wgfleet.panel.domain.jobs.job import JobAction, JobField
from wgfleet.panel.domain.jobs.verdicts import HELD_S
from wgfleet.panel.reconcile.agents.shared_files import SharedFiles
from wgfleet.panel.reconcile.agents.telemetry import TelemetryWriter
from wgfleet.panel.reconcile.jobs import JobWatch
from wgfleet.panel.services.jobs import decisions
from wgfleet.panel.services.jobs.commands import JobSpec
from wgfleet.panel.store.sessions import NodeSessions
from wgfleet.panel.store.tables import Peer
from wgfleet.protocol.ids import ConfigId, Generation, InterfaceName
from wgfleet.protocol.keys import PublicKey
from wgfleet.protocol.messages import Change, InterfaceReport
from wgfleet.protocol.observed import PeerStats

ONE = JobSpec(JobField.ENDPOINTS, value=1)


def turns(*endpoints: str, every_s: float = 1.0) -> int:
    found = EndpointTurns()
    for i, endpoint in enumerate(endpoints):
        found.seen(endpoint, i * every_s)
    return found.devices(len(endpoints) * every_s)


@given(st.lists(st.integers(0, 10**6), unique=True, max_size=60))
def test_a_device_that_moves_on_is_one(ports: list[int]) -> None:
    assert turns(*(f"198.51.100.1:{port}" for port in ports)) == 1


@given(st.integers(2, 6), st.integers(2, 9))
def test_devices_that_take_turns_are_counted(devices: int, rounds: int) -> None:
    assert turns(*[str(i) for _ in range(rounds) for i in range(devices)]) == devices


def test_one_that_comes_back_once_may_have_changed_networks_and_what_is_long_ago_is_forgotten() -> None:
    assert turns("home", "mobile", "home") == 1
    assert turns("home", "home", "mobile", "mobile") == 1
    assert turns("home", "mobile", "home", "mobile") == 2
    assert turns("home", "mobile", "home", "mobile", every_s=WINDOW_S + 1) == 1


class Shared(Limited):
    """Peers of two nodes that report sessions."""

    def begin(self) -> None:
        self.files = SharedFiles()
        self.watch = JobWatch(self.world.store, shared=self.files)
        self.time = clock.monotonic()

    def look(self) -> None:
        asyncio.run(self.watch.look())

    def report(self, peer: Peer, node: int, endpoint: str, rx: int = 0) -> None:
        stats = {peer.public_key: PeerStats(endpoint=endpoint, latest_handshake=1, rx=rx)}
        self.time += 0.01
        self.files.note([NodeSessions(self.nodes[node].id, self.config.id, stats)], self.time)


@pytest.fixture
def site(world: World) -> Shared:
    made = Shared(world)
    made.begin()
    return made


def test_a_file_that_is_shared_is_kept_out_for_a_time_and_written_down_once(site: Shared) -> None:
    alice, bob, carol = site.world.peers(site.config, "alice", "bob", "carol")
    site.give(alice, ONE)
    site.give(bob, JobSpec(JobField.ENDPOINTS, value=1, action=JobAction.WARN))
    site.look()
    for i in range(3):
        for endpoint in ("198.51.100.1:1", "203.0.113.1:1"):
            for peer in (alice, bob, carol):
                site.report(peer, 0, endpoint, rx=i)
    site.look()
    site.look()
    assert site.served() == [{"bob", "carol"}] * 2
    assert (site.audited(alice), site.audited(bob), site.audited(carol)) == (
        ["file_shared", "restricted"], ["file_shared"], []
    )  # fmt: skip
    with site.world.store.read() as tx:
        later = decisions.decide(tx, clock.now() + HELD_S)
    assert [each.verdict.restrict for each in later] == [None, None]


def test_devices_at_two_nodes_are_seen_and_one_that_was_taken_over_is_not(site: Shared) -> None:
    alice, bob = site.world.peers(site.config, "alice", "bob")
    site.give(site.config, ONE)
    site.look()
    for i in range(3):
        site.report(alice, 0, "198.51.100.1:1", rx=i)
        site.report(alice, 1, "203.0.113.1:1", rx=i)
        # The node that bob left goes on saying where he was last.
        site.report(bob, 0, "198.51.100.2:1")
        site.report(bob, 1, "203.0.113.2:1", rx=i)
    site.look()
    assert site.served() == [{"bob"}] * 2


def test_nothing_is_kept_where_nobody_has_such_a_limit(site: Shared) -> None:
    (alice,) = site.world.peers(site.config, "alice")
    for i in range(4):
        site.report(alice, 0, f"198.51.100.{i % 2}:1", rx=i)
    site.give(site.config, ONE)
    site.look()
    assert site.served() == [{"alice"}] * 2


def test_devices_at_two_nodes_are_told_apart_within_seconds_though_neither_moves(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each node sees one endpoint and a counter that goes on: their handshakes alone would tell after minutes."""
    now = [clock.monotonic()]
    monkeypatch.setattr(clock, "monotonic", lambda: now[0])
    site, files = Site(world, "ams1", "fra1"), SharedFiles()
    site.writer = TelemetryWriter(world.store, site.lines, shared=files)
    key = PublicKey(site.peers["ams1"].public_key)

    def goes_on(rx: int) -> int:
        """Have both nodes say what they see, the one a second after the other; return how many devices are found."""
        for name, endpoint in (("ams1", "192.0.2.1:1"), ("fra1", "192.0.2.2:1")):
            seen = {key: PeerStats(endpoint, 100, rx, 0)}
            report = InterfaceReport(
                InterfaceName("wg0"), ConfigId(site.config.id), Generation(1), True, "", peers=seen
            )
            site.say(name, Change(clock.now(), (report,)))
            now[0] += 1
            site.flush()
        return files.found(now[0]).get((site.config.id, key), 1)

    assert [goes_on(rx) for rx in range(5)] == [1] * 5, "nobody asks"
    files.configs = {site.config.id}
    assert [goes_on(rx) for rx in range(5, 12)][-1] == 2
