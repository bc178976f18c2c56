"""A node that joins gets no users before its WireGuard has answered, where somebody can tell."""

import asyncio
from dataclasses import dataclass

import pytest

from tests.panel.agents.test_errands import Site, site
from tests.panel.world import World
from wgfleet.panel import clock
from wgfleet.panel.domain.phases import Phase
from wgfleet.panel.reconcile.agents import first_look
from wgfleet.panel.reconcile.agents.first_look import UNPROVEN_S, FirstLook
from wgfleet.panel.store import assignments as assignment_rows
from wgfleet.panel.store.tables import Config
from wgfleet.probing.prober import ProbeOutcome
from wgfleet.protocol.handshake import Answer
from wgfleet.protocol.messages import ProbeTarget


@dataclass
class Wire:
    """What becomes of probes."""

    answers: bool = False
    sent: bool = True
    probes: int = 0

    async def probe(self, target: ProbeTarget, _timeout_s: float) -> ProbeOutcome:
        await asyncio.sleep(0)
        self.probes += 1
        return ProbeOutcome(target.endpoint, Answer.RESPONSE if self.answers else None, None, "", sent=self.sent)

    def close(self) -> None:
        """Nothing is open."""


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> Wire:
    made = Wire()
    monkeypatch.setattr(first_look, "Prober", lambda: made)
    return made


def phase(fra1: Site, config: Config) -> Phase:
    with fra1.world.store.read() as tx:
        found = assignment_rows.get(tx, config.id, fra1.node.id)
    assert found is not None
    return found.phase


def test_it_serves_once_it_answers_where_others_answer(
    world: World, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    with site(world, "wg0") as (fra1, (wg0,)):
        world.serving(wg0, "ams1")
        fra1.pusher.objection = FirstLook(world.store, world.vault).objection
        now = clock.monotonic()
        for later_s in (0, 10, 3600):
            monkeypatch.setattr(clock, "monotonic", lambda later_s=later_s: now + later_s)
            fra1.cycles(2)
            assert phase(fra1, wg0) is Phase.JOINING
            assert ":51820" in fra1.summary(wg0)
            assert "UDP port" in fra1.summary(wg0)
        wire.answers = True
        monkeypatch.setattr(clock, "monotonic", lambda: now + 7200)
        fra1.cycles(2)
        assert phase(fra1, wg0) is Phase.SERVING
        probes = wire.probes
        fra1.cycles(2)
        assert wire.probes == probes, "later it is the health's business"


def test_the_first_node_serves_though_nobody_could_tell(
    world: World, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    with site(world, "wg0") as (fra1, (wg0,)):
        fra1.pusher.objection = FirstLook(world.store, world.vault).objection
        now = clock.monotonic()
        fra1.cycles()
        assert phase(fra1, wg0) is Phase.JOINING
        monkeypatch.setattr(clock, "monotonic", lambda: now + UNPROVEN_S + 60)
        fra1.cycles()
        assert phase(fra1, wg0) is Phase.SERVING
        assert wire.probes


def test_a_panel_without_a_way_to_the_address_objects_to_nothing(world: World, wire: Wire) -> None:
    with site(world, "wg0") as (fra1, (wg0,)):
        world.serving(wg0, "ams1")
        wire.sent = False
        fra1.pusher.objection = FirstLook(world.store, world.vault).objection
        fra1.cycles()
        assert phase(fra1, wg0) is Phase.SERVING
