"""Both forms of a reading say the same, however the bytes arrive; and a cache follows the device exactly."""

import asyncio
import base64
import contextlib
import itertools
import os
import socket
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wgfleet.agent.interfaces.peer_cache import Comparison, PeerCache
from wgfleet.agent.kernel import userspace
from wgfleet.agent.kernel.commands import KernelError
from wgfleet.agent.kernel.device_formats import DumpForm, Form, SeenPeer, SocketForm, read
from wgfleet.agent.kernel.wg import refusal
from wgfleet.protocol.desired import DesiredPeer
from wgfleet.protocol.ids import InterfaceName
from wgfleet.protocol.keys import PresharedKey, PrivateKey, PublicKey
from wgfleet.protocol.observed import ObservedPeer, PeerStats

PRIVATE = PrivateKey(base64.b64encode(b"p" * 32).decode())
IDLE = PeerStats()


def hexadecimal(key: str) -> str:
    return base64.b64decode(key).hex()


OF_DEVICE = (f"private_key={hexadecimal(PRIVATE)}", "listen_port=51820")


def as_dump(peers: list[SeenPeer]) -> bytes:
    lines = [f"{PRIVATE}\tPUBLIC\t51820\toff"]
    for each in peers:
        stats, have = each.stats or IDLE, each.observed
        fields = (
            *(each.key, have.preshared_key or "(none)", stats.endpoint or "(none)"),
            *(",".join(sorted(have.allowed_ips)) or "(none)", stats.latest_handshake, stats.rx, stats.tx),
            have.persistent_keepalive or "off",
        )
        lines.append("\t".join(map(str, fields)))
    return ("\n".join(lines) + "\n").encode()


def as_socket(peers: list[SeenPeer], device: tuple[str, ...] = OF_DEVICE) -> bytes:
    lines = [*device]
    for each in peers:
        stats, have = each.stats or IDLE, each.observed
        lines += [
            f"public_key={hexadecimal(each.key)}",
            f"preshared_key={hexadecimal(have.preshared_key) if have.preshared_key else '0' * 64}",
            "protocol_version=1",
        ]
        if stats.endpoint:
            lines.append(f"endpoint={stats.endpoint}")
        lines += [f"last_handshake_time_sec={stats.latest_handshake}", "last_handshake_time_nsec=0"]
        lines += [f"tx_bytes={stats.tx}", f"rx_bytes={stats.rx}"]
        lines.append(f"persistent_keepalive_interval={have.persistent_keepalive}")
        lines += [f"allowed_ip={network}" for network in sorted(have.allowed_ips)]
    return "".join(f"{line}\n" for line in (*lines, "errno=0", "")).encode()


keys = st.integers(0, 7).map(lambda number: PublicKey(base64.b64encode(bytes([number]) * 32).decode()))
networks = st.frozensets(st.integers(0, 9).map(lambda number: f"10.0.0.{number}/32"), max_size=2)
presharedkeys = st.none() | st.just(PresharedKey(base64.b64encode(b"s" * 32).decode()))
observed = st.builds(ObservedPeer, networks, presharedkeys, st.sampled_from([0, 25]))
stats = st.none() | st.builds(
    PeerStats, st.just("192.0.2.1:1"), st.integers(0, 3), st.integers(0, 3), st.integers(0, 3)
)
devices = st.dictionaries(keys, st.tuples(observed, stats)).map(
    lambda peers: [SeenPeer(key, have, live) for key, (have, live) in peers.items()]
)
forms = st.sampled_from([(DumpForm(), as_dump), (SocketForm(), as_socket)])


async def chunks(raw: bytes, size: int) -> AsyncIterator[bytes]:
    for start in range(0, len(raw), size):
        yield raw[start : start + size]


async def blocks_of(form: Form, raw: bytes, size: int) -> list[bytes]:
    reading = await read(form, chunks(raw, size))
    assert (reading.device.private_key, reading.device.listen_port) == (PRIVATE, 51820)
    return [block async for some in reading.blocks for block in some]


@given(peers=devices, form=forms, size=st.integers(1, 400))
def test_a_reading_gives_every_peer_however_the_bytes_arrive(
    peers: list[SeenPeer], form: tuple[DumpForm, type], size: int
) -> None:
    how, write = form
    blocks = asyncio.run(blocks_of(how, write(peers), size))
    assert [how.peer(block) for block in blocks] == peers
    assert [how.key_of(block) for block in blocks] == [each.key for each in peers]


@given(peers=devices, data=st.data())
def test_an_answer_that_is_cut_off_is_an_error(peers: list[SeenPeer], data: st.DataObject) -> None:
    raw = as_socket(peers)
    cut = data.draw(st.integers(80, len(raw) - 1))
    with pytest.raises(ValueError, match="cut off"):
        asyncio.run(blocks_of(SocketForm(), raw[:cut], 64))


@pytest.mark.parametrize("device", [OF_DEVICE, OF_DEVICE[:1], OF_DEVICE[1:], ()])
@settings(max_examples=20)
@given(peers=devices)
def test_a_wireguard_go_that_knows_no_key_and_no_port_yet_is_read_at_once(
    device: tuple[str, ...], peers: list[SeenPeer]
) -> None:
    seen, read_peers = asyncio.run(answered(as_socket(peers, device)))
    assert seen == (PRIVATE if OF_DEVICE[0] in device else None, 51820 if OF_DEVICE[1] in device else 0)
    assert read_peers == peers


def test_a_wireguard_go_that_answers_with_an_error_is_not_waited_for() -> None:
    with pytest.raises(KernelError, match="error"):
        asyncio.run(answered(b"errno=-5\n\n"))


def test_a_wireguard_go_that_does_not_hear_a_question_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(userspace, "_ASKED_AGAIN_AFTER_S", (0.05, 0.05))
    _, read_peers = asyncio.run(answered(as_socket([]), deaf_to=2))
    assert read_peers == []


def test_one_that_hears_nobody_though_it_works_is_ended_when_it_hears_nobody_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ended: list[int] = []

    def end(pid: int) -> bool:
        ended.append(pid)
        return True

    used = itertools.count(0.0, 10.0)  # the packets of strangers keep it at work
    monkeypatch.setattr(userspace, "_ASKED_AGAIN_AFTER_S", (0.05, 0.05))
    monkeypatch.setattr(userspace, "_used_s", lambda _pid: next(used))
    monkeypatch.setattr(userspace, "_end_hung", end)
    with pytest.raises(KernelError, match=r"within 0 s$"):
        asyncio.run(answered(b"", deaf_to=3, timeout_s=0.4))
    assert ended == []
    with pytest.raises(KernelError, match="it hung, was ended, and is started again"):
        asyncio.run(answered(b"", deaf_to=3, timeout_s=0.4))
    assert ended == [os.getpid()]
    asyncio.run(answered(as_socket([])))
    with pytest.raises(KernelError, match=r"within 0 s$"):
        asyncio.run(answered(b"", deaf_to=3, timeout_s=0.4))
    assert ended == [os.getpid()]


def test_one_whose_queue_is_full_does_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(userspace, "_SOCKETS", tmp_path)
    name = InterfaceName("wg0")
    with socket.socket(socket.AF_UNIX) as stopped, contextlib.ExitStack() as waiting:
        stopped.bind(str(tmp_path / f"{name}.sock"))
        stopped.listen(1)
        assert userspace.process_of(name) == os.getpid()
        with contextlib.suppress(BlockingIOError):
            while True:
                one = waiting.enter_context(socket.socket(socket.AF_UNIX))
                one.setblocking(False)
                one.connect(stopped.getsockname())
        assert not asyncio.run(userspace.answers(name, 60.0))
        with pytest.raises(KernelError, match="does not answer"):
            asyncio.run(read_of(name))


async def read_of(name: InterfaceName) -> None:
    async with userspace.reading(name):
        pass


async def answered(
    answer: bytes, deaf_to: int = 0, timeout_s: float = 3.0
) -> tuple[tuple[PrivateKey | None, int], list[SeenPeer]]:
    """Read a device whose process gives this answer and, as wireguard-go does, leaves the connection open."""
    name, closed = InterfaceName("wg0"), asyncio.Semaphore(0)
    questions = itertools.count()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError):  # of one who looks which process it is
            assert await reader.readuntil(b"\n\n") == b"get=1\n\n"
            if next(questions) >= deaf_to:
                writer.write(answer)
        await reader.read()
        writer.close()
        await writer.wait_closed()
        closed.release()

    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(userspace, "_SOCKETS", Path(folder))
        patch.setattr(userspace, "_READ_TIMEOUT_S", timeout_s)
        async with await asyncio.start_unix_server(serve, f"{folder}/{name}.sock"):
            try:
                async with userspace.reading(name) as reading:
                    peers = [reading.form.peer(block) async for some in reading.blocks for block in some]
            finally:
                for _ in range(min(deaf_to + 1, 3)):
                    await closed.acquire()
        return (reading.device.private_key, reading.device.listen_port), peers


wanted = st.dictionaries(keys, st.builds(DesiredPeer, networks.map(lambda n: tuple(sorted(n))), presharedkeys))
steps = st.lists(st.tuples(devices, wanted, st.booleans()), min_size=1, max_size=6)


@given(steps=steps, form=forms)
def test_a_cache_knows_after_each_reading_what_a_full_comparison_would(
    steps: list[tuple[list[SeenPeer], dict[PublicKey, DesiredPeer], bool]], form: tuple[DumpForm, type]
) -> None:
    how, write = form
    cache, before = PeerCache(), dict[PublicKey, DesiredPeer]()
    reported: dict[PublicKey, PeerStats | None] = {}
    for peers, desired, as_a_whole in steps:
        if as_a_whole:
            cache.forget()
        else:
            cache.desired_changed(key for key in {*before, *desired} if before.get(key) != desired.get(key))
        before = desired
        blocks = asyncio.run(blocks_of(how, write(peers), 1000))
        for _ in range(2):
            comparison = Comparison(cache, how, desired)
            comparison.feed(blocks)
            moved = comparison.finish()
            if moved is not None:
                break
        assert moved is not None
        changed = moved.all
        present = {each.key: each for each in peers}
        news = [each for each in peers if each.stats is not None and each.key in desired]
        assert cache.stats == {each.key: each.stats for each in news}
        wrong = {key: each.observed for key, each in present.items() if not matches(desired.get(key), each.observed)}
        assert cache.wrong == {**wrong, **{key: None for key in desired if key not in present}}
        for key in moved.counters:
            was, now = reported[key], cache.stats[key]
            assert was is not None
            assert (was.endpoint, was.latest_handshake) == (now.endpoint, now.latest_handshake)
        for key in changed:
            reported[key] = cache.stats.get(key)
        assert {key: live for key, live in reported.items() if live is not None} == cache.stats


def matches(desired: DesiredPeer | None, have: ObservedPeer) -> bool:
    return desired is not None and (frozenset(desired.allowed_ips), desired.preshared_key, 0) == (
        have.allowed_ips,
        have.preshared_key,
        have.persistent_keepalive,
    )


def test_a_port_that_somebody_has_is_named_with_the_way_out() -> None:
    said = "`wg addconf wg0` failed: Unable to modify interface: Address already in use"
    named = refusal(InterfaceName("wg0"), said, 51820)
    assert named.startswith("UDP port 51820 of this machine is in use")
    assert "listen_port" in named
    assert refusal(InterfaceName("wg0"), said, None) == said
    assert refusal(InterfaceName("wg0"), "no such device", 51820) == "no such device"
