"""A node that joins gets no users before its WireGuard has answered somebody, where anybody can tell."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import cast

import pytest

from tests.panel.agents.test_errands import Site, site
from tests.panel.conftest import one_database
from tests.panel.world import World
from wgfleet.panel import clock
from wgfleet.panel.domain.first_look import UNPROVEN_S, FirstLook, verdict
from wgfleet.panel.domain.health.votes import Health
from wgfleet.panel.domain.phases import Phase
from wgfleet.panel.errors import TransientError
from wgfleet.panel.reconcile.agents import first_look
from wgfleet.panel.reconcile.agents.connection import AgentConnection
from wgfleet.panel.reconcile.agents.first_look import AGAIN_S, FirstLooks, Seen, closer_cause
from wgfleet.panel.services.dns import serving_nodes
from wgfleet.panel.services.fleet import placement
from wgfleet.panel.store import assignments as assignment_rows
from wgfleet.panel.store.tables import Assignment, Config, Node
from wgfleet.probing.prober import ProbeOutcome
from wgfleet.protocol.diff import Drift
from wgfleet.protocol.features import ALL, Feature
from wgfleet.protocol.handshake import Answer
from wgfleet.protocol.messages import ProbeRequest, ProbeResult, ProbeTarget


@dataclass
class Wire:
    """What becomes of the panel's probes."""

    answers: bool = False
    sent: bool = True
    round_trip_s: float = 0.0
    probes: int = 0
    only: str = ""  # the endpoint that answers

    async def probe(self, target: ProbeTarget, timeout_s: float) -> ProbeOutcome:
        await asyncio.sleep(0)
        self.probes += 1
        answers = self.answers and self.round_trip_s < timeout_s and self.only in {"", target.endpoint}
        return ProbeOutcome(target.endpoint, Answer.RESPONSE if answers else None, None, "", sent=self.sent)

    def close(self) -> None:
        """Nothing is open."""


@dataclass
class Other:
    """The line to another node, and what becomes of its probes; None: it cannot be asked."""

    answers: bool | None = True
    sent: bool = True
    round_trip_s: float = 0.0
    connected: bool = True
    features: frozenset[Feature] = ALL
    asked: list[ProbeRequest] = field(default_factory=list)

    @property
    def client(self) -> "Other":
        return self

    async def probe(self, request: ProbeRequest) -> ProbeResult:
        self.asked.append(request)
        if self.answers is None:
            raise TransientError("it does not answer")
        endpoints = [target.endpoint for target in request.targets]
        if self.answers and self.round_trip_s < request.timeout_s:
            *silent, endpoint = endpoints
            return ProbeResult({endpoint: self.round_trip_s}, tuple(silent))
        return ProbeResult({}, tuple(endpoints), () if self.sent else tuple(endpoints))


@dataclass
class Scene:
    """A node that joins, with what its panel and others see of it."""

    world: World
    fra1: Site
    config: Config
    wire: Wire
    lines: dict[str, AgentConnection]
    monkeypatch: pytest.MonkeyPatch
    now: float = field(default_factory=clock.monotonic)

    def other(self, name: str, line: Other, *, health: Health = Health.SERVING) -> Node:
        """Have another node serve the config."""
        (node,) = self.world.serving(self.config, name)
        self.lines[node.id] = cast("AgentConnection", line)
        if health is not Health.SERVING:
            self.world.judged(self.config, node, health)
        return node

    def cycles(self, later_s: float = 0.0) -> None:
        self.monkeypatch.setattr(clock, "monotonic", lambda: self.now + later_s)
        self.fra1.cycles(2)

    def row(self) -> Assignment:
        with self.world.store.read() as tx:
            found = assignment_rows.get(tx, self.config.id, self.fra1.node.id)
        assert found is not None
        return found

    def stands(self) -> tuple[Phase, FirstLook | None]:
        return self.row().phase, self.row().first_look


@pytest.fixture
def scene(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    wire = Wire()
    monkeypatch.setattr(first_look, "Prober", lambda: wire)
    with site(world, "wg0") as (fra1, (wg0,)):
        lines: dict[str, AgentConnection] = {}
        fra1.pusher.look = FirstLooks(world.store, world.vault, lines).look
        yield Scene(world, fra1, wg0, wire, lines, monkeypatch)


@one_database
def test_it_serves_once_it_answers_where_others_answer(scene: Scene) -> None:
    scene.world.serving(scene.config, "ams1")
    for later_s in (0, 10, 3600):
        scene.cycles(later_s)
        assert scene.stands() == (Phase.JOINING, FirstLook.UNREACHED)
        assert ":51820" in scene.row().summary
        assert "UDP port" in scene.row().summary
    scene.wire.answers = True
    scene.cycles(7200)
    assert scene.stands() == (Phase.SERVING, FirstLook.ANSWERED)
    probes = scene.wire.probes
    scene.cycles(7300)
    assert scene.wire.probes == probes, "later it is the health's business"


@one_database
def test_one_whose_port_is_closed_is_not_published_and_gets_no_peers(scene: Scene) -> None:
    line = Other(answers=False)
    ams1 = scene.other("ams1", line)
    for later_s in (0, 3600):
        scene.cycles(later_s)
    assert scene.stands() == (Phase.JOINING, FirstLook.UNREACHED)
    assert "the panel, ams1" in scene.row().summary
    with scene.world.store.read() as tx:
        assert [each.node_id for each in placement.candidates(tx, scene.config.id)] == [ams1.id]
        assert [each.name for each in serving_nodes.of_config(tx, scene.config.id)] == ["ams1"]


@one_database
def test_the_answer_to_another_node_is_enough_where_the_panel_gets_none(scene: Scene) -> None:
    line = Other()
    scene.other("ams1", line)
    scene.cycles()
    assert scene.stands() == (Phase.SERVING, FirstLook.ANSWERED)
    (request,) = line.asked
    (target,) = request.targets
    assert (request.interface, request.tries, target.endpoint) == ("wg0", 3, "192.0.2.1:51820")


@pytest.mark.parametrize("panel_hears_it", [True, False])
@one_database
def test_one_of_several_addresses_that_answers_is_enough(scene: Scene, *, panel_hears_it: bool) -> None:
    with scene.world.store.write() as tx:
        found = tx.session.get(Node, scene.fra1.node.id)
        assert found is not None
        found.endpoint_addresses = [*found.endpoint_addresses, "2001:db8::1"]
    scene.wire.answers, scene.wire.only = panel_hears_it, "[2001:db8::1]:51820"
    scene.other("ams1", Other(answers=not panel_hears_it))
    scene.cycles()
    assert scene.stands() == (Phase.SERVING, FirstLook.ANSWERED)


@one_database
def test_three_nodes_that_say_it_does_not_answer_do_not_keep_others_from_being_asked(scene: Scene) -> None:
    lines = [Other(answers=False) for _ in range(first_look.MOST_ASKED)]
    for number, line in enumerate(lines):
        scene.other(f"liar{number}", line)
    scene.other("honest", Other())
    scene.cycles()
    for later_s in (10, 20):
        scene.cycles(later_s)
    assert scene.stands() == (Phase.SERVING, FirstLook.ANSWERED)


@pytest.mark.parametrize("panel_hears_it", [True, False])
@one_database
def test_one_behind_a_satellite_serves_as_those_that_were_there_do(scene: Scene, *, panel_hears_it: bool) -> None:
    """The watch waits for answers for up to `longest_timeout_s`; nobody has learned this path's round trip yet."""
    scene.wire.answers, scene.wire.round_trip_s = panel_hears_it, 0.75
    scene.other("ams1", Other(round_trip_s=0.75))
    scene.cycles()
    assert scene.stands() == (Phase.SERVING, FirstLook.ANSWERED)


def test_nodes_that_join_together_prove_each_other(scene: Scene) -> None:
    """The panel can send to neither, and nobody serves yet."""
    scene.wire.sent = False
    ams1 = scene.world.node("ams1")
    scene.world.assign(scene.config, ams1)
    with scene.world.store.write() as tx:
        found = assignment_rows.get(tx, scene.config.id, ams1.id)
        assert found is not None
        assignment_rows.applied(tx, found.id, applied_generation=1)
    scene.lines[ams1.id] = cast("AgentConnection", Other())
    scene.cycles()
    assert scene.stands() == (Phase.SERVING, FirstLook.ANSWERED)


def test_a_node_of_0_1_0_is_asked_for_one_probe(scene: Scene) -> None:
    line = Other(features=frozenset())
    scene.other("ams1", line)
    scene.cycles()
    assert [request.tries for request in line.asked] == [1]


@pytest.mark.parametrize("line", [Other(answers=None), Other(connected=False), Other(answers=False, sent=False)])
@one_database
def test_a_node_that_cannot_look_says_nothing_against_it(scene: Scene, line: Other) -> None:
    scene.wire.sent = False
    scene.other("ams1", line)
    scene.cycles()
    assert scene.stands() == (Phase.JOINING, None)
    scene.cycles(UNPROVEN_S + 1)
    assert scene.stands() == (Phase.SERVING, FirstLook.UNPROVEN)


@one_database
def test_the_first_node_serves_though_nobody_could_tell_and_that_is_said_until_it_answers(scene: Scene) -> None:
    scene.cycles()
    assert scene.stands() == (Phase.JOINING, None)
    scene.cycles(UNPROVEN_S + 60)
    assert scene.stands() == (Phase.SERVING, FirstLook.UNPROVEN)
    probes = scene.wire.probes
    scene.cycles(UNPROVEN_S + 61)
    assert scene.wire.probes == probes, "not in every cycle"
    scene.wire.answers = True
    scene.cycles(UNPROVEN_S + 60 + AGAIN_S)
    assert scene.stands() == (Phase.SERVING, FirstLook.ANSWERED)


def test_what_the_panel_sees_of_its_own_machine_is_no_proof(scene: Scene) -> None:
    """Behind a NAT without hairpinning it does not reach its own public address."""
    scene.world.serving(scene.config, "ams1")
    with scene.world.store.write() as tx:
        found = tx.session.get(Node, scene.fra1.node.id)
        assert found is not None
        found.is_panel_node = True
    scene.cycles()
    assert scene.row().phase is Phase.JOINING
    scene.cycles(UNPROVEN_S + 1)
    assert scene.stands() == (Phase.SERVING, FirstLook.UNPROVEN)


@one_database
def test_the_silence_of_a_node_says_nothing_while_no_other_is_reached(scene: Scene) -> None:
    scene.other("ams1", Other(answers=False), health=Health.SUSPECT)
    scene.cycles()
    assert scene.stands() == (Phase.JOINING, None)
    scene.cycles(UNPROVEN_S + 1)
    assert scene.stands() == (Phase.SERVING, FirstLook.UNPROVEN)


@pytest.mark.parametrize("looked_for_s", [0.0, UNPROVEN_S + 1])
def test_an_answer_is_proof_whatever_others_miss(looked_for_s: float) -> None:
    for proven in (False, True):
        for missed_by in ([], ["the panel"]):
            found = verdict(answered=True, missed_by=missed_by, proven=proven, looked_for_s=looked_for_s)
            assert found is FirstLook.ANSWERED


@pytest.mark.parametrize(
    ("fields", "said", "objection"),
    [
        (("link", "peers.x"), "UDP port 51820 of this machine is in use", "UDP port 51820 of this machine is in use"),
        (("forwarding.mtu",), "UDP port 51820 of this machine is in use", "is that UDP port open?"),
        (("link",), "", "is that UDP port open?"),
        ((), "as wanted", "is that UDP port open?"),
    ],
)
def test_what_the_agent_says_of_an_interface_that_cannot_answer_counts_more(
    fields: tuple[str, ...], said: str, objection: str
) -> None:
    closed = Seen(FirstLook.UNREACHED, "is that UDP port open?")
    drift = [Drift(each, "present", "absent") for each in fields]
    assert closer_cause(closed, drift, said) == Seen(FirstLook.UNREACHED, objection)
    assert closer_cause(Seen(FirstLook.ANSWERED), drift, said) == Seen(FirstLook.ANSWERED)
