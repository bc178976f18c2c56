"""Peer sessions between the watch stream and the rows."""

import pytest

from wgfleet.panel import clock
from wgfleet.panel.reconcile.agents import session_buffer
from wgfleet.panel.reconcile.agents.session_buffer import COUNTERS_S, SessionBuffer
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
