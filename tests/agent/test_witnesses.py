"""Which witnesses count: those that ever answered, and one of them alone proves nothing. Time is on paper."""

import asyncio
from collections import Counter
from types import SimpleNamespace
from typing import cast

import pytest

from tests.agent.values import private_key, public_key
from tests.paper_loop import run_on_paper
from wgfleet.agent.interfaces import isolation
from wgfleet.agent.interfaces.floating_addresses import FloatingAddresses
from wgfleet.agent.interfaces.isolation import IsolationWatch
from wgfleet.agent.interfaces.reconciler import InterfaceReconciler
from wgfleet.agent.interfaces.witnesses import TRIES, Witnesses
from wgfleet.probing.prober import ProbeOutcome, Prober
from wgfleet.protocol.desired import DesiredInterface, FloatingSettings, InterfaceSettings
from wgfleet.protocol.handshake import Answer
from wgfleet.protocol.ids import ConfigId, Generation, InterfaceName
from wgfleet.protocol.messages import ProbeTarget

THREE = ("192.0.2.2:51820", "192.0.2.3:51820", "192.0.2.4:51820")
KEY = private_key()


class Answers:
    """A prober whose probes are answered by those in `alive`: one of `one_in` for each."""

    def __init__(self, one_in: int = 1) -> None:
        self.alive: set[str] = set(THREE)
        self.sent: Counter[str] = Counter()
        self._one_in = one_in

    async def probe(self, target: ProbeTarget, timeout_s: float) -> ProbeOutcome:
        self.sent[target.endpoint] += 1
        if target.endpoint in self.alive and self.sent[target.endpoint] % self._one_in == 0:
            return ProbeOutcome(target.endpoint, Answer.RESPONSE, 0.01, "")
        await asyncio.sleep(timeout_s)
        return ProbeOutcome(target.endpoint, None, None, "none")


class Held:
    """Addresses of a machine; `gave` says why they were given up."""

    gave: str | None = None

    def present(self, _name: str) -> frozenset[str]:
        return frozenset({"203.0.113.1"})

    def lapses_at(self, _name: str) -> float:
        return float("inf")

    def waits_for_panel(self, _name: str) -> bool:
        return self.gave is not None

    def asks(self, _name: str) -> bool:
        return False

    async def give_up(self, _name: str, why: str) -> None:
        self.gave = why


class Reconciler:
    """What the watch needs of one."""

    name = InterfaceName("wg0")

    def __init__(self) -> None:
        self.settings_changed = asyncio.Event()
        floating = FloatingSettings(("203.0.113.1",), THREE, KEY, 1.0)
        settings = InterfaceSettings(self.name, ConfigId("c"), KEY, 51820, floating=floating)
        self.desired = DesiredInterface(Generation(1), settings, {})

    def refresh_link(self) -> None:
        """Nothing to read."""


async def after(alive: set[str], *, proven: set[str], one_in: int = 1) -> str | None:
    """Return why an address was given up, 2.5 s after only `alive` answer of those that did before."""
    answers, held = Answers(one_in), Held()
    witnesses = Witnesses(cast("Prober", answers))
    answers.alive = proven
    await witnesses.ask(THREE, public_key(KEY), KEY, enough=len(THREE), timeout_s=0.3)
    answers.alive = alive
    reconciler = cast("InterfaceReconciler", Reconciler())
    watch = IsolationWatch(reconciler, cast("FloatingAddresses", held), witnesses, lambda: float("-inf"), lambda: False)
    task = asyncio.create_task(watch.run())
    await asyncio.sleep(2.5)
    task.cancel()
    return held.gave


@pytest.fixture(autouse=True)
def on_paper(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the watch look at the clock of its loop."""
    monkeypatch.setattr(isolation, "time", SimpleNamespace(monotonic=lambda: asyncio.get_running_loop().time()))


def test_one_witness_of_three_is_no_reason_to_keep_an_address() -> None:
    assert "from most of 3 other nodes" in str(run_on_paper(after({THREE[0]}, proven=set(THREE))))


def test_most_witnesses_are_a_reason_and_those_that_never_answered_do_not_count() -> None:
    assert run_on_paper(after(set(THREE[:2]), proven=set(THREE))) is None
    assert run_on_paper(after({THREE[0]}, proven={THREE[0]})) is None


def test_an_address_is_kept_where_most_packets_get_lost_and_the_panel_is_away() -> None:
    assert run_on_paper(after(set(THREE), proven=set(THREE), one_in=4)) is None


def test_a_witness_is_asked_until_it_answers_and_not_again() -> None:
    async def ask(one_in: int) -> tuple[set[str], Counter[str]]:
        answers = Answers(one_in)
        found = await Witnesses(cast("Prober", answers)).ask(THREE, public_key(KEY), KEY, enough=3, timeout_s=0.3)
        sent = answers.sent.copy()
        await asyncio.sleep(0.1)
        assert answers.sent == sent, "nothing goes on"
        return found, sent

    for one_in in (1, 3):
        found, sent = run_on_paper(ask(one_in))
        assert found == set(THREE)
        assert all(one_in <= sent[each] < TRIES for each in THREE), sent
