"""Many probes over one socket, against responders of the tests on loopback."""

import asyncio
import os
import resource
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar, cast

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from tests.protocol.responder import Responder
from tests.protocol.strategies import clamp, text
from wgfleet.probing.prober import PACE_S, Prober, Timestamps
from wgfleet.protocol.errors import FieldError
from wgfleet.protocol.handshake import Answer
from wgfleet.protocol.keys import PrivateKey, PublicKey
from wgfleet.protocol.messages import ProbeTarget

T = TypeVar("T")
Reply = Callable[[Responder, bytes], list[bytes]]


def vantage() -> PrivateKey:
    return PrivateKey(text(clamp(os.urandom(32))))


class Interface(asyncio.DatagramProtocol):
    """A responder on a socket; `reply` says what it sends back."""

    def __init__(self, reply: Reply) -> None:
        self.responder = Responder()
        self.arrived: list[bytes] = []
        self.sources: set[tuple[str, int]] = set()
        self._reply = reply

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.arrived.append(self.responder.open(data).timestamp)
        self.sources.add(addr)
        for packet in self._reply(self.responder, data):
            self._transport.sendto(packet, addr)

    def target(self, private_key: PrivateKey | None = None) -> ProbeTarget:
        port = self._transport.get_extra_info("sockname")[1]
        return ProbeTarget(f"127.0.0.1:{port}", PublicKey(text(self.responder.public)), private_key or vantage())


def responds(responder: Responder, packet: bytes) -> list[bytes]:
    return [responder.respond(packet)]


def probing(reply: Reply, work: Callable[[Prober, Interface], Awaitable[T]]) -> T:
    async def run() -> T:
        transport, interface = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: Interface(reply), ("127.0.0.1", 0)
        )
        prober = Prober()
        try:
            return await work(prober, interface)
        finally:
            prober.close()
            transport.close()
            await asyncio.sleep(0)

    return asyncio.run(run())


@pytest.mark.parametrize(
    ("reply", "answer"),
    [
        (responds, Answer.RESPONSE),
        (lambda responder, packet: [responder.cookie(packet)], Answer.COOKIE),
    ],
)
def test_who_answers_is_alive(reply: Reply, answer: Answer) -> None:
    outcome = probing(reply, lambda prober, interface: prober.probe(interface.target(), 60))
    assert outcome.answer is answer
    assert outcome.seconds is not None
    assert 0 < outcome.seconds < 60


@pytest.mark.parametrize(
    "reply",
    [
        lambda _, __: [],
        lambda _, __: [b"", bytes(92), os.urandom(64)],
        lambda responder, packet: [responder.respond(packet, receiver=1)],
        lambda responder, packet: [responder.respond(packet)[:60] + bytes(32)],
        lambda responder, packet: [responder.cookie(packet, mac1=bytes(16))],
    ],
    ids=["silence", "noise", "wrong index", "wrong mac1", "cookie for another packet"],
)
def test_nothing_else_is_an_answer(reply: Reply) -> None:
    outcome = probing(reply, lambda prober, interface: prober.probe(interface.target(), 0.1))
    assert (outcome.answer, outcome.seconds, outcome.sent) == (None, None, True)
    assert outcome.reason == "no answer within 0.1 s"


def test_a_forged_answer_before_the_true_one_spoils_nothing() -> None:
    def reply(responder: Responder, packet: bytes) -> list[bytes]:
        true = responder.respond(packet)
        return [true[:60] + bytes(32), true, true]

    assert probing(reply, lambda prober, interface: prober.probe(interface.target(), 60)).answer is Answer.RESPONSE


def test_responders_share_ephemeral_keys_and_none_sees_one_twice() -> None:
    keys: dict[bytes, list[bytes]] = {}

    def reply(responder: Responder, packet: bytes) -> list[bytes]:
        keys.setdefault(responder.public, []).append(packet[8:40])
        return [responder.respond(packet)]

    async def run() -> None:
        loop, prober = asyncio.get_running_loop(), Prober()
        opened = [await loop.create_datagram_endpoint(lambda: Interface(reply), ("127.0.0.1", 0)) for _ in range(5)]
        targets = [interface.target() for _, interface in opened for _ in range(4)]
        outcomes = await asyncio.gather(*(prober.probe(target, 60) for target in targets))
        assert all(outcome.answer is Answer.RESPONSE for outcome in outcomes)
        prober.close()
        for transport, _ in opened:
            transport.close()
        await asyncio.sleep(0)

    asyncio.run(run())
    assert all(len(set(of_one)) == len(of_one) == 4 for of_one in keys.values())
    assert len({key for of_one in keys.values() for key in of_one}) < 20


def test_many_probes_at_once_share_a_socket() -> None:
    async def work(prober: Prober, interface: Interface) -> int:
        outcomes = await asyncio.gather(*(prober.probe(interface.target(), 60) for _ in range(200)))
        assert len(interface.sources) == 1
        return sum(outcome.answer is Answer.RESPONSE for outcome in outcomes)

    assert probing(responds, work) == 200


def test_one_target_is_not_probed_faster_than_it_answers_and_time_only_grows() -> None:
    async def work(prober: Prober, interface: Interface) -> list[bytes]:
        target = interface.target()
        started = time.monotonic()
        await asyncio.gather(*(prober.probe(target, 60) for _ in range(5)))
        assert time.monotonic() - started >= 4 * PACE_S
        return interface.arrived

    labels = probing(responds, work)
    assert len(labels) == 5
    assert sorted(set(labels)) == labels


def test_probes_that_waited_for_their_turn_in_a_process_that_was_held_up_do_not_go_out_at_once() -> None:
    async def work(prober: Prober, interface: Interface) -> None:
        target = interface.target()
        probes = [asyncio.ensure_future(prober.probe(target, 60)) for _ in range(5)]
        await asyncio.sleep(0)
        time.sleep(8 * PACE_S)  # noqa: ASYNC251 - the stall that the test is about
        stalled = time.monotonic()
        await asyncio.gather(*probes)
        assert time.monotonic() - stalled >= 3 * PACE_S

    probing(responds, work)


def test_labels_grow_when_the_clock_goes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([1_000, 999, 5, 2_000, 2_000])
    monkeypatch.setattr("wgfleet.probing.prober.time.time_ns", lambda: next(clock))
    timestamps = Timestamps()
    labels = [timestamps.next() for _ in range(5)]
    assert sorted(set(labels)) == labels


def test_an_answer_that_waits_while_this_process_is_busy_counts() -> None:
    timeout_s = 1.0  # by far more than the packet needs to arrive, on a busy machine too

    async def work(prober: Prober, interface: Interface) -> Answer | None:
        target = interface.target()
        await prober.probe(target, 60)
        await asyncio.sleep(PACE_S)
        probe = asyncio.ensure_future(prober.probe(target, timeout_s))
        while len(interface.arrived) < 2:  # noqa: ASYNC110 - nobody tells when the packet is there
            await asyncio.sleep(0)
        time.sleep(timeout_s + 0.1)  # noqa: ASYNC251 - the stall that the test is about
        return (await probe).answer

    assert probing(responds, work) is Answer.RESPONSE


def test_how_long_an_answer_took_does_not_grow_while_this_process_is_busy() -> None:
    """A wait for answers that follows it would grow with the load of the panel."""

    def responds_before_a_pause(responder: Responder, packet: bytes) -> list[bytes]:
        asyncio.get_running_loop().call_soon(time.sleep, 0.5)
        return [responder.respond(packet)]

    async def work(prober: Prober, interface: Interface) -> tuple[float | None, float]:
        begun = time.monotonic()
        outcome = await prober.probe(interface.target(), 60)
        return outcome.seconds, time.monotonic() - begun

    seconds, elapsed = probing(responds_before_a_pause, work)
    assert seconds is not None
    assert 0 <= seconds <= elapsed - 0.45


def test_an_address_without_a_route_says_nothing_about_the_target() -> None:
    async def work(prober: Prober, interface: Interface) -> tuple[bool, str]:
        key = PublicKey(text(interface.responder.public))
        # A UDP socket is not allowed to send to the broadcast address unless it asks for it.
        outcome = await prober.probe(ProbeTarget("255.255.255.255:51820", key, vantage()), 1)
        return outcome.sent, outcome.reason

    assert probing(responds, work) == (False, "cannot send: Permission denied")


def test_a_wrong_endpoint_or_key_is_named() -> None:
    async def work(prober: Prober, interface: Interface) -> None:
        target = interface.target()
        with pytest.raises(FieldError, match="endpoint"):
            await prober.probe(ProbeTarget("vpn.example.com:51820", target.public_key, target.private_key), 1)
        with pytest.raises(FieldError, match="public_key"):
            await prober.probe(ProbeTarget(target.endpoint, PublicKey(text(bytes(32))), target.private_key), 1)

    probing(responds, work)


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_the_source_port_is_a_new_one_now_and_then_and_late_answers_to_the_old_one_count() -> None:
    waiting: list[bytes] = []

    def late(responder: Responder, packet: bytes) -> list[bytes]:
        waiting.append(responder.respond(packet))
        return [waiting.pop(0)] if len(waiting) > 1 else []

    async def work(_: Prober, interface: Interface) -> tuple[int, list[Answer | None], int]:
        prober = Prober(new_port_s=0.05)
        try:
            first = asyncio.ensure_future(prober.probe(interface.target(), 5))
            await asyncio.sleep(0.1)
            second = asyncio.ensure_future(prober.probe(interface.target(), 5))
            outcome = await first
            await asyncio.sleep(0.1)
            third = await prober.probe(interface.target(), 5)
            second.cancel()
            return len(interface.sources), [outcome.answer, third.answer], open_files()
        finally:
            prober.close()

    before = open_files()
    ports, answers, after = probing(late, work)
    assert ports == 3
    assert answers[0] is Answer.RESPONSE
    assert after - before < 10


def test_who_is_in_doubt_asks_from_a_new_port_and_not_from_one_more_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(prober: Prober, interface: Interface) -> None:
        await prober.probe(interface.target(), 60)
        prober.renew()
        await prober.probe(interface.target(), 60)
        assert len(interface.sources) == 1, "answers to what was sent a moment ago would be lost"
        monkeypatch.setattr("wgfleet.probing.prober._RENEWED_S", 0.0)
        prober.renew()
        await prober.probe(interface.target(), 60)
        assert len(interface.sources) == 2

    probing(responds, work)


def test_a_process_that_may_open_no_more_files_goes_on_with_the_port_that_it_has() -> None:
    async def work(_: Prober, interface: Interface) -> Answer | None:
        prober, limits = Prober(new_port_s=0.0), resource.getrlimit(resource.RLIMIT_NOFILE)
        try:
            await prober.probe(interface.target(), 60)
            resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
            return (await prober.probe(interface.target(), 60)).answer
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
            prober.close()

    assert probing(responds, work) is Answer.RESPONSE


def test_closing_ends_probes_under_way() -> None:
    async def work(prober: Prober, interface: Interface) -> bool:
        probe = asyncio.ensure_future(prober.probe(interface.target(), 60))
        while not interface.arrived:  # noqa: ASYNC110 - nobody tells when the packet is there
            await asyncio.sleep(0)
        prober.close()
        return (await probe).answer is None

    assert probing(lambda _, __: [], work)


def test_a_target_is_printed_without_its_private_key() -> None:
    key = vantage()
    public = PublicKey(text(X25519PrivateKey.generate().public_key().public_bytes_raw()))
    assert key not in repr(ProbeTarget("192.0.2.1:51820", public, key))


def test_who_waits_for_an_answer_is_notified_in_time_and_of_none_that_is_here() -> None:
    async def work(prober: Prober, interface: Interface) -> None:
        told: list[str] = []
        notices = ((0.05, lambda: told.append("doubt")), (0.1, lambda: told.append("miss")))
        outcome = await prober.probe(interface.target(), 0.2, notices)
        assert (outcome.answer, told) == (None, ["doubt", "miss"])

    async def answered(prober: Prober, interface: Interface) -> None:
        told: list[str] = []
        probe = asyncio.ensure_future(prober.probe(interface.target(), 60, ((0.05, lambda: told.append("doubt")),)))
        while not interface.arrived:  # noqa: ASYNC110 - the other end has no event for it
            await asyncio.sleep(0)
        time.sleep(0.1)  # noqa: ASYNC251 - the answer is here, and this process is late to read it
        assert ((await probe).answer, told) == (Answer.RESPONSE, [])

    probing(lambda _, __: [], work)
    probing(responds, answered)
