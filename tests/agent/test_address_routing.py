"""What several routing daemons of one machine announce between them, and when one that is silent matters."""

import asyncio
import contextlib
from collections.abc import Callable, Collection, Iterator
from itertools import pairwise
from types import SimpleNamespace
from typing import cast

import pytest

from tests.paper_loop import run_on_paper
from wgfleet.agent.interfaces.address_places import AddressPlaces
from wgfleet.agent.interfaces.address_routing import RoutingWatch, nowhere
from wgfleet.agent.interfaces.floating_addresses import FloatingAddresses
from wgfleet.agent.interfaces.reconciler import InterfaceReconciler
from wgfleet.agent.kernel.commands import KernelError
from wgfleet.agent.kernel.exabgp import Exabgp
from wgfleet.protocol.diff import BFD_FIELD, Drift, harms_no_user
from wgfleet.protocol.ids import InterfaceName

ONE, TWO = "203.0.113.10", "2001:db8::10"
SESSIONS = ["upstream"]
WG0 = InterfaceName("wg0")


class Announcing(Exabgp):
    """One that announces some addresses; None: it does not answer. `asked`: what it was asked about."""

    def __init__(self, announced: Collection[str] | None) -> None:
        super().__init__()
        self.asked: list[set[str]] = []
        self._announced = announced

    async def announced(self, addresses: Collection[str], sessions: Collection[str]) -> set[str]:
        """Return those that it announces."""
        assert sessions == SESSIONS
        self.asked.append({*addresses})
        if self._announced is None:
            raise KernelError("it does not answer")
        return {*addresses} & {*self._announced}


def left(*daemons: Announcing) -> set[str]:
    return asyncio.run(nowhere([ONE, TWO], [(each, SESSIONS) for each in daemons]))


@pytest.mark.parametrize(
    ("said", "expected"),
    [([{ONE, TWO}], set()), ([{ONE}, {TWO}], set()), ([None, {ONE, TWO}], set()), ([{ONE}, {ONE}], {TWO}),
     ([set()], {ONE, TWO})],
)  # fmt: skip
def test_an_address_is_to_be_announced_by_one_daemon(
    said: list[Collection[str] | None], expected: Collection[str]
) -> None:
    assert left(*map(Announcing, said)) == expected


@pytest.mark.parametrize("said", [[None], [{ONE}, None], [None, {ONE}], [None, set()]])
def test_one_that_does_not_answer_is_a_fault_where_an_address_is_announced_nowhere(
    said: list[Collection[str] | None],
) -> None:
    with pytest.raises(KernelError, match="it does not answer"):
        left(*map(Announcing, said))


def test_each_daemon_is_asked_once_about_what_those_before_do_not_announce() -> None:
    first, second, third = Announcing({ONE}), Announcing({TWO}), Announcing(None)
    assert left(first, second, third) == set()
    assert (first.asked, second.asked, third.asked) == ([{ONE, TWO}], [{TWO}], [])


class Announced:
    """An interface with one routed address, on loopback while nothing speaks against it.

    Its daemon announces the address `after_s` seconds after it came there. `came`: when that was, in seconds of the
    loop. `announced`: the time of each look at which it was announced.
    """

    def __init__(self, after_s: float, guarded: Callable[[], Collection[str]] = lambda: SESSIONS) -> None:
        self.after_s = after_s
        self.guarded = guarded
        self.came: list[float] = []
        self.announced: list[float] = []
        self.name = WG0
        settings = SimpleNamespace(floating=SimpleNamespace(routed=True), enabled=True)
        self.desired = SimpleNamespace(settings=settings)
        self.places = AddressPlaces()
        self.places._routed.add(WG0)  # noqa: SLF001 - what `note` finds on a machine
        self.places.daemons = self  # type: ignore[assignment]

    async def apply_settings_again(self, _why: str) -> None:
        if self.places.fault(WG0) is None:
            self.came.append(asyncio.get_running_loop().time())

    def present(self, *_interface: str) -> object:
        """Return the daemons of the machine, or the addresses of an interface."""
        if not _interface:
            return [SlowDaemon(self)]
        return frozenset({ONE}) if self.places.fault(WG0) is None else frozenset()

    async def watch(self, seconds: float) -> None:
        self.came.append(asyncio.get_running_loop().time())
        watch = RoutingWatch(cast("InterfaceReconciler", self), cast("FloatingAddresses", self))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await watch.run()


class SlowDaemon(Exabgp):
    """The daemon of such an interface."""

    def __init__(self, of: Announced) -> None:
        super().__init__()
        self._of = of

    async def sessions(self) -> list[str]:
        return SESSIONS

    async def unguarded(self, sessions: Collection[str]) -> set[str]:
        return {*sessions} - {*self._of.guarded()}

    async def announced(self, addresses: Collection[str], sessions: Collection[str]) -> set[str]:
        assert sessions == SESSIONS
        now = asyncio.get_running_loop().time()
        if not addresses or now - self._of.came[-1] < self._of.after_s:
            return set()
        self._of.announced.append(now)
        return {*addresses}


def test_a_daemon_that_was_slow_once_is_tried_again_soon() -> None:
    """On a busy machine an announcement takes seconds, and there may be no other node that could have the address."""
    found = Announced(after_s=3.0)

    async def was_busy() -> None:
        watching = asyncio.create_task(found.watch(60.0))
        await asyncio.sleep(3.0)
        found.after_s = 0.5
        await watching

    run_on_paper(was_busy())
    first, again = found.came
    assert again - first == pytest.approx(4.0, abs=1.0)
    assert found.announced[0] - first < 6.0


def test_one_that_announces_nothing_is_tried_ever_more_rarely() -> None:
    found = Announced(after_s=float("inf"))
    run_on_paper(found.watch(300.0))
    waits = [later - earlier for earlier, later in pairwise(found.came)]
    assert waits[:4] == pytest.approx([4.0, 6.0, 10.0, 18.0], abs=1.0)
    assert waits[4:] == pytest.approx([32.0] * len(waits[4:]), abs=1.0)
    assert len(waits) > 8


def test_one_that_has_announced_is_tried_soon_once_more_after_its_next_failure() -> None:
    found = Announced(after_s=float("inf"))

    async def recovers_and_fails() -> None:
        watching = asyncio.create_task(found.watch(200.0))
        await asyncio.sleep(100.0)
        found.after_s = 0.5
        await asyncio.sleep(50.0)
        found.after_s = float("inf")
        await watching

    run_on_paper(recovers_and_fails())
    last = max(found.announced)
    after = [each for each in found.came if each > last]
    assert after[0] - last < 4.0


def test_sessions_that_stay_without_bfd_are_drift_and_the_addresses_stay() -> None:
    found = Announced(0.0, list)

    async def later() -> list[tuple[Drift, ...]]:
        watching = asyncio.create_task(found.watch(60.0))
        said = []
        for guarded in ([], SESSIONS):
            found.guarded = lambda now=guarded: now  # type: ignore[misc]
            await asyncio.sleep(25.0)
            said.append(found.places.drift(WG0))
        await watching
        return said

    without, with_it = run_on_paper(later())
    (drift,) = without
    assert (drift.field, "exabgp's upstream" in drift.observed) == (BFD_FIELD, True)
    assert harms_no_user(without)
    assert with_it == ()
    assert len(found.came) == 1


def test_bfd_that_comes_up_a_moment_after_its_session_is_no_drift() -> None:
    looks: Iterator[list[str]] = iter([[]])
    found = Announced(0.0, lambda: next(looks, SESSIONS))
    run_on_paper(found.watch(25.0))
    assert found.places.drift(WG0) == ()
