"""The watch over TCP connections as a task: it rests where nothing is due, and goes on whatever fails."""

import asyncio
import errno
import time
from collections.abc import Callable, Sequence

import msgspec
import pytest
from structlog.testing import capture_logs

from tests.agent.test_flows_elsewhere import flow
from tests.agent.values import private_key, settings
from tests.waiting import eventually
from wgfleet.agent.interfaces import flow_watch
from wgfleet.agent.interfaces.flow_watch import FlowWatch
from wgfleet.agent.kernel import conntrack, tcp_challenges
from wgfleet.protocol.backbone import Backbone, Flows
from wgfleet.protocol.desired import InterfaceSettings, MuteSettings
from wgfleet.protocol.flow_owners import user_of
from wgfleet.protocol.keys import PublicKey

LINKED = msgspec.structs.replace(
    settings(addresses=("10.8.0.1/16",), masquerade=True),
    mute=MuteSettings((), private_key()),
    backbone=Backbone(1, private_key(), 52820, 53820),
)
FLOWS = Flows(1, tuple(flow("10.8.0.2", port) for port in range(1, 11)))


class Sent(tcp_challenges.Challenges):
    """Challenges that go nowhere; `fails` says for which number of them there is no room, or no link."""

    fails: Callable[[int], int] = staticmethod(lambda _number: 0)
    tried = 0

    def send(self, flow: bytes, size: int) -> None:
        assert len(flow) > size
        type(self).tried += 1
        if code := self.fails(self.tried):
            raise OSError(code, "as the kernel says")


@pytest.fixture(autouse=True)
def _no_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conntrack, "masqueraded", lambda _is_users: set())
    monkeypatch.setattr(Sent, "tried", 0)
    monkeypatch.setattr(Sent, "__init__", lambda _self, _interface: None)
    monkeypatch.setattr(Sent, "__exit__", lambda *_: None)
    monkeypatch.setattr(tcp_challenges, "Challenges", Sent)


async def watched(made: Callable[[], InterfaceSettings], until: Callable[[], bool]) -> None:
    """Have a user come to a node that knows of his connections, and wait."""
    watch = FlowWatch(made, lambda _parts: None, lambda _carries: None)
    watch.heard(2, FLOWS)
    watch.arrived(["10.8.0.2/32"])
    task = asyncio.create_task(watch.run())
    await asyncio.to_thread(eventually, until)
    assert not task.done()
    task.cancel()


APART = msgspec.structs.replace(LINKED, backbone=None)


async def brought(made: InterfaceSettings, flows: Sequence[bytes], until: Callable[[], bool]) -> None:
    """Have the panel tell a node of connections of a user who has come, and wait."""
    watch = FlowWatch(lambda: made, lambda _parts: None, lambda _carries: None)
    task = asyncio.create_task(watch.run())
    watch.brought(["10.8.0.2/32"], flows)
    await asyncio.to_thread(eventually, until)
    task.cancel()


def test_connections_that_the_panel_tells_of_are_challenged_where_they_are_those_of_the_peer() -> None:
    others = [flow("10.8.0.3"), flow("10.8.0.2", server="10.8.0.9"), b"x" * 20]  # nor those among users
    with capture_logs() as said:
        asyncio.run(brought(APART, [*FLOWS.flows, *others], lambda: bool(said)))
    assert [(line["event"], line["flows"]) for line in said] == [("flows.challenged", len(FLOWS.flows))]


@pytest.mark.parametrize("made", [LINKED, msgspec.structs.replace(APART, masquerade=False)])
def test_where_connections_live_on_or_nodes_tell_each_other_the_panel_ends_none(made: InterfaceSettings) -> None:
    until = time.monotonic() + 0.3
    asyncio.run(brought(made, FLOWS.flows, lambda: time.monotonic() > until))
    assert Sent.tried == 0


def test_all_connections_of_users_to_others_are_listed_where_nodes_do_not_tell_each_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    six, among_users = flow("fd08::2", server="2001:db8::9"), flow("10.8.0.2", server="10.8.0.9")
    there = {*FLOWS.flows, six, among_users, flow("192.0.2.1")}
    monkeypatch.setattr(conntrack, "masqueraded", lambda is_users: {each for each in there if is_users(user_of(each))})

    def listed(made: InterfaceSettings) -> set[bytes]:
        watch = FlowWatch(lambda: made, lambda _parts: None, lambda _carries: None)
        return set(asyncio.run(watch.listing()).flows())

    assert listed(msgspec.structs.replace(APART, routes=(*APART.routes, "fd08::/64"))) == {*FLOWS.flows, six}
    assert listed(LINKED) == listed(msgspec.structs.replace(APART, masquerade=False)) == set()


def test_the_connections_of_each_peer_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    there = {
        *FLOWS.flows,
        flow("192.168.7.20"),
        flow("10.8.0.3"),
        flow("fd08::2", server="2001:db8::9"),
        flow("10.8.0.9"),
    }
    monkeypatch.setattr(conntrack, "masqueraded", lambda is_users: {each for each in there if is_users(user_of(each))})
    networks = {
        PublicKey("anna"): ("10.8.0.2/32", "fd08::2/128"),
        PublicKey("site"): ("10.8.0.3/32", "192.168.7.0/24"),
        PublicKey("idle"): ("10.8.0.4/32",),
    }

    def carried(made: InterfaceSettings) -> dict[PublicKey, set[bytes]]:
        watch = FlowWatch(lambda: made, lambda _parts: None, lambda _carries: None)
        return {key: set(flows) for key, flows in asyncio.run(watch.carried(networks)).items()}

    assert carried(APART) == {
        "anna": {*FLOWS.flows, flow("fd08::2", server="2001:db8::9")},
        "site": {flow("10.8.0.3"), flow("192.168.7.20")},
    }
    assert carried(LINKED) == carried(msgspec.structs.replace(APART, masquerade=False)) == {}


def test_a_kernel_that_says_nothing_of_connections_costs_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(_is_users: object) -> set[bytes]:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(conntrack, "masqueraded", refuses)
    watch = FlowWatch(lambda: APART, lambda _parts: None, lambda _carries: None)
    assert asyncio.run(watch.carried({PublicKey("anna"): ("10.8.0.2/32",)})) == {}


@pytest.mark.parametrize("lacking", ["enabled", "masquerade", "mute", "backbone"])
def test_an_arrival_where_no_connection_is_ended_has_the_watch_rest(lacking: str) -> None:
    looks = 0
    without = msgspec.structs.replace(LINKED, **{lacking: False if lacking in {"enabled", "masquerade"} else None})

    def counted() -> InterfaceSettings:
        nonlocal looks
        looks += 1
        return without

    until = time.monotonic() + 0.3
    asyncio.run(watched(counted, lambda: looks > 50 or time.monotonic() > until))
    assert looks <= 5


def test_a_challenge_that_cannot_be_sent_costs_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Sent, "fails", staticmethod(lambda number: errno.ENOBUFS if number == 1 else 0))
    with capture_logs() as said:
        asyncio.run(watched(lambda: LINKED, lambda: any(line["event"] == "flows.challenged" for line in said)))
    counts = {line["event"]: line["flows"] for line in said}
    assert counts == {"flows.challenged": len(FLOWS.flows) - 1, "flows.not_challenged": 1}


def test_where_the_link_is_gone_none_is_tried_in_vain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Sent, "fails", staticmethod(lambda _number: errno.ENODEV))
    with capture_logs() as said:
        asyncio.run(watched(lambda: LINKED, lambda: bool(said)))
    assert Sent.tried == 1


def test_a_watch_that_fails_is_seen_and_begins_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flow_watch, "AGAIN_S", 0.01)
    looks = 0

    def broken(_is_users: Callable[[bytes], bool]) -> set[bytes]:
        nonlocal looks
        looks += 1
        raise KeyError(looks)

    monkeypatch.setattr(conntrack, "masqueraded", broken)
    with capture_logs() as said:
        asyncio.run(watched(lambda: LINKED, lambda: looks > 2))
    assert [line["event"] for line in said].count("flows.died") >= 2
