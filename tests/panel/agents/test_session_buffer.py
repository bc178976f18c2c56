"""Peer sessions between the watch stream and the rows."""

import tracemalloc

import msgspec
import pytest

from wgfleet.panel import clock
from wgfleet.panel.reconcile.agents import session_buffer
from wgfleet.panel.reconcile.agents.session_buffer import SessionBuffer
from wgfleet.panel.reconcile.lateness import COUNTERS_S
from wgfleet.protocol.keys import PublicKey
from wgfleet.protocol.observed import PeerStats

CONFIG, KEY = "c", PublicKey("k")


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    at = [1000.0]
    monkeypatch.setattr(clock, "monotonic", lambda: at[0])
    return at


def seen(*, endpoint: str = "192.0.2.1:1", handshake: int = 100, rx: int = 0) -> dict[PublicKey, PeerStats]:
    return {KEY: PeerStats(endpoint=endpoint, latest_handshake=handshake, rx=rx)}


def test_a_new_endpoint_or_handshake_is_written_at_once_and_bare_counters_wait(now: list[float]) -> None:
    buffer = SessionBuffer("node")
    buffer.add(CONFIG, seen(), 0)
    assert buffer.take()[CONFIG][KEY].endpoint == "192.0.2.1:1"
    buffer.add(CONFIG, seen(rx=5), 0)
    assert buffer.take() == {}
    buffer.add(CONFIG, seen(endpoint="192.0.2.1:2", rx=6), 0)
    assert buffer.take()[CONFIG][KEY].rx == 6
    buffer.add(CONFIG, seen(endpoint="192.0.2.1:2", handshake=220, rx=7), 0)
    assert buffer.take()[CONFIG][KEY].latest_handshake == 220
    buffer.add(CONFIG, seen(endpoint="192.0.2.1:2", handshake=220, rx=8), 0)
    now[0] += COUNTERS_S
    assert buffer.take()[CONFIG][KEY].rx == 8


def test_handshakes_are_kept_in_the_panels_clock(now: list[float]) -> None:
    del now
    buffer = SessionBuffer("node")
    buffer.add(CONFIG, seen(handshake=100), 3600.4)
    assert buffer.take()[CONFIG][KEY].latest_handshake == 3700
    # The skew is measured anew at each connection; a session that did not change is not written again for that.
    buffer.add(CONFIG, seen(handshake=100), 3599.0)
    assert buffer.take() == {}


def test_never_seen_stays_never_seen_whatever_the_skew(now: list[float]) -> None:
    del now
    buffer = SessionBuffer("node")
    buffer.add(CONFIG, seen(handshake=0), 3600)
    assert buffer.take()[CONFIG][KEY].latest_handshake == 0


def test_what_could_not_be_written_is_kept_unless_something_newer_came(now: list[float]) -> None:
    del now
    buffer = SessionBuffer("node")
    other = PublicKey("o")
    buffer.add(CONFIG, seen() | {other: PeerStats(endpoint="192.0.2.9:9")}, 0)
    due = buffer.take()
    buffer.add(CONFIG, seen(handshake=200), 0)
    buffer.give_back(due)
    again = buffer.take()[CONFIG]
    assert again[KEY].latest_handshake == 200
    assert again[other].endpoint == "192.0.2.9:9"


def test_a_config_that_is_gone_leaves_nothing(now: list[float]) -> None:
    del now
    buffer = SessionBuffer("node")
    buffer.add(CONFIG, seen(), 0)
    buffer.forget(CONFIG)
    assert buffer.take() == {}


def test_a_peer_of_which_nothing_is_heard_is_forgotten_and_is_news_when_it_is_heard_of_again(now: list[float]) -> None:
    buffer = SessionBuffer("node")
    peers = {PublicKey(f"k{number}"): PeerStats(f"192.0.2.1:{number}", number, number, 1) for number in range(9)}
    # An endpoint that is no text of ours is kept as it is called.
    odd, silent = PublicKey("k7"), {PublicKey(key) for key in ("k0", "k1", "k2", "k5")}
    peers[odd] = PeerStats("[2001:DB8:0::1]:5", 7, 7, 1)
    buffer.add(CONFIG, peers, 0)
    buffer.take()
    now[0] += session_buffer.SILENT_S
    buffer.take()
    for _ in range(3):
        buffer.add(CONFIG, {key: seen for key, seen in peers.items() if key not in silent}, 0)
        now[0] += session_buffer.SILENT_S
        counted = dict(buffer.take()[CONFIG])
        assert counted.keys() == peers.keys() - silent
        assert counted[odd].endpoint == "[2001:db8::1]:5"
        assert all(counted[key] == peers[PublicKey(key)] for key in counted if key != odd)
    assert len(buffer._configs[CONFIG]) == len(peers) - len(silent)  # noqa: SLF001 - what would grow
    buffer.add(CONFIG, {key: peers[key] for key in silent}, 0)
    assert buffer.take()[CONFIG].keys() == silent


def test_what_could_not_be_written_is_not_forgotten(now: list[float]) -> None:
    buffer = SessionBuffer("node")
    buffer.add(CONFIG, seen(), 0)
    for _ in range(4):
        due = buffer.take()
        assert due[CONFIG][KEY].latest_handshake == 100
        buffer.give_back(due)
        now[0] += session_buffer.SILENT_S


def test_peers_take_less_than_400_bytes_each() -> None:
    """With their key and endpoint, of which each is a text of its own."""
    buffer, many = SessionBuffer("node"), 5000
    decoder = msgspec.json.Decoder(dict[PublicKey, PeerStats])
    report = msgspec.json.encode(
        {
            f"{number:043}=": PeerStats(f"192.0.2.{number % 250}:{number}", 10**9 + number, 10**9, 10**9)
            for number in range(many)
        }
    )
    tracemalloc.start()
    try:
        for _ in range(2):
            buffer.add(CONFIG, decoder.decode(report), 0)
            buffer.take()
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert taken < 400 * many


def test_a_node_of_which_enough_is_known_takes_no_memory_by_naming_configs(
    now: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    del now
    monkeypatch.setattr(session_buffer, "MAX_KNOWN", 1)
    buffer = SessionBuffer("node")
    buffer.add(CONFIG, seen(), 0)
    for number in range(10):
        buffer.add(f"no config {number}", seen(), 0)
    assert list(buffer._configs) == [CONFIG]  # noqa: SLF001 - what could grow
