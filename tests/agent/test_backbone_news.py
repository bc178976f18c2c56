"""The order in which nodes hear of a user who is drawn: the one that draws him changes its own route last."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.agent.values import settings
from wgfleet.agent.interfaces.backbone import BackboneWatch
from wgfleet.agent.interfaces.heard_nodes import SILENT_S, HeardNodes
from wgfleet.agent.interfaces.route_follower import RouteFollower
from wgfleet.agent.interfaces.whereabouts import Whereabouts
from wgfleet.agent.kernel import peer_routes
from wgfleet.agent.kernel.backbone_rules import BackboneNames
from wgfleet.protocol.backbone import Hello, Here, News, address
from wgfleet.protocol.ids import InterfaceName
from wgfleet.protocol.keys import PublicKey

KEY, RAW = PublicKey("A" * 43 + "="), bytes(32)
NETWORKS = ("10.8.0.2/32",)


class Drawing:
    """Node 1 of three, which draws a user from node 3; `done` is what it did."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.done: list[str] = []

        async def change(_names: BackboneNames, targets: dict[str, str | None], *, drawn: bool) -> None:
            self.done += [f"own route to {to}, drawn: {drawn}" for to in targets.values()]

        monkeypatch.setattr(peer_routes, "change", change)
        peers = {KEY: SimpleNamespace(allowed_ips=NETWORKS)}
        reconciler = SimpleNamespace(
            name="wg0",
            stats={},
            desired=SimpleNamespace(peers=peers),
            effective=SimpleNamespace(settings=settings(masquerade=False)),
        )
        self.where = Whereabouts(1, 1, lambda _key, _claimed: NETWORKS)
        self.where.heard(3, News(1, 0, 1, (Here(RAW, 1, 0.0, NETWORKS),), ()), 0.0)
        self.where.take_moved()
        self.reached = frozenset({2, 3})
        self.routes = RouteFollower(BackboneNames(InterfaceName("wg0"), 52820), self.where, lambda: self.reached)
        self.watch = cast("Any", BackboneWatch(cast("Any", reconciler), cast("Any", None)))
        wanted = SimpleNamespace(nodes=[SimpleNamespace(number=number) for number in self.reached])
        socket = SimpleNamespace(send=self._sent)
        vars(self.watch).update(
            _where=self.where, _reached=self.reached, _routes=self.routes, _socket=socket, _wanted=wanted
        )

    def _sent(self, number: int, message: object) -> None:
        if isinstance(message, News):
            self.done.append(f"news to {number}")

    def follows(self, number: int) -> None:
        """Have another node say that its routes are as it heard."""
        self.done.append(f"{number} has followed")
        said = Hello(1, 1 if number == 3 else 0, self.where.epoch, self.where.upto, True, True)
        self.watch._received(number, said)  # noqa: SLF001 - what its socket calls


def test_a_node_changes_its_own_route_to_a_user_last(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> list[str]:
        drawing = Drawing(monkeypatch)
        calling = asyncio.create_task(drawing.watch.draw_first({KEY}, 5.0))
        await asyncio.sleep(0.01)
        await drawing.routes.follow()  # as whatever else changes
        for number in (2, 3):
            drawing.follows(number)
            await asyncio.sleep(0.01)
        await calling
        await drawing.routes.follow()
        return drawing.done

    first, *then = asyncio.run(run())
    assert first == f"own route to {address(3)}, drawn: True"
    assert {*then[:2]} == {"news to 2", "news to 3"}
    assert then[2:] == ["2 has followed", "3 has followed", "own route to None, drawn: False"]


def test_one_that_follows_nobody_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> list[str]:
        drawing = Drawing(monkeypatch)
        await drawing.watch.draw_first({KEY}, 0.05)
        return drawing.done

    assert asyncio.run(run())[-1] == "own route to None, drawn: False"


def test_what_is_held_is_released_where_a_call_is_given_up_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> list[str]:
        drawing = Drawing(monkeypatch)
        told = asyncio.Event()

        async def never(*_args: object, **_options: object) -> None:
            told.set()
            await asyncio.Event().wait()

        with monkeypatch.context() as during:
            during.setattr(peer_routes, "change", never)
            calling = asyncio.create_task(drawing.watch.draw_first({KEY}, 5.0))
            await told.wait()
            calling.cancel()
            await asyncio.gather(calling, return_exceptions=True)
        drawing.watch.draw({KEY})
        await drawing.routes.follow()
        return drawing.done

    assert asyncio.run(run())[-1] == "own route to None, drawn: False"


def test_a_node_that_does_not_hear_another_yet_is_answered_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its agent has started again, and is to have no route to an error until it is greeted in turn."""
    drawing = Drawing(monkeypatch)
    said: list[tuple[int, Hello]] = []
    vars(drawing.watch)["_socket"] = SimpleNamespace(
        send=lambda number, message: said.append((number, message)) if isinstance(message, Hello) else None
    )
    for _ in range(2):
        drawing.watch._received(3, Hello(2, 0, 0, 0, False, True))  # noqa: SLF001 - what its socket calls
    assert [(number, hello.hears) for number, hello in said] == [(3, True), (3, True)]


def test_nodes_are_taken_to_be_reached_until_they_had_time_to_answer() -> None:
    heard = HeardNodes()
    heard.begin(10.0)
    heard.heard(3, 10.1)
    assert heard.is_reached(3, 10.0 + SILENT_S - 0.1, was=True)
    assert not heard.is_reached(3, 10.0 + SILENT_S, was=True)
    assert not heard.is_reached(3, 10.1, was=False)


def test_an_agent_whose_last_words_were_not_that_it_hears_this_one_has_ended_all_the_same() -> None:
    heard = HeardNodes()
    for at in (0.0, 1.0):
        heard.heard(3, at)
        heard.answered(3, at)
    heard.heard(3, 1.4)  # news, or connections
    for tenth in range(300):
        heard.received({3: tenth}, tenth / 10)  # its kernel answers
        assert heard.is_reached(3, tenth / 10, was=True)


def test_a_node_that_goes_on_speaking_and_does_not_hear_this_one_is_not_reached() -> None:
    heard = HeardNodes()
    heard.answered(3, 0.0)
    reached = []
    for second in range(6):
        heard.heard(3, float(second))
        heard.received({3: second}, float(second))
        reached.append(heard.is_reached(3, float(second), was=True))
    assert reached == [True] * 3 + [False] * 3
