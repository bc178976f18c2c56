"""The stream: whole state, changes, heartbeats, and who was turned away."""

import queue
import time
from pathlib import Path

import httpx
import msgspec
import pytest

from tests.agent.authority import Authority, Files
from tests.agent.node import Node
from tests.agent.test_push import applied
from tests.agent.values import peers, random_key, whole
from wgfleet.protocol.ids import Generation
from wgfleet.protocol.messages import HEARTBEAT_S, Change, Heartbeat, Refused, Snapshot, WatchMessage

pytestmark = pytest.mark.lab
Messages = queue.Queue[tuple[float, WatchMessage]]


def wait_for(messages: Messages, kind: type[WatchMessage], timeout_s: float = 60) -> WatchMessage:
    until = time.monotonic() + timeout_s
    while True:
        _, message = messages.get(timeout=max(0.01, until - time.monotonic()))
        if isinstance(message, kind):
            return message


def change(messages: Messages) -> Change:
    found = wait_for(messages, Change)
    assert isinstance(found, Change)
    return found


def test_a_reader_gets_the_whole_state_and_then_what_changes(node: Node) -> None:
    wanted = whole(4)
    applied(node, wanted)
    with node.watch() as messages:
        snapshot = wait_for(messages, Snapshot)
        assert isinstance(snapshot, Snapshot)
        assert snapshot.status.node_id == "node-1"
        assert [(i.name, i.generation, i.up) for i in snapshot.interfaces] == [("wg0", 4, True)]
        applied(node, msgspec.structs.replace(wanted, generation=Generation(5)))
        assert [i.generation for i in change(messages).interfaces] == [5]
        node.call("DELETE", "/v1/wg/wg0")
        while not (seen := change(messages)).gone:
            assert [i.generation for i in seen.interfaces] == [5], "what else the interface had to say"
        assert seen.gone == ("wg0",)


def test_an_agent_that_is_stopped_hangs_up_on_its_readers_and_logs_no_error(node: Node) -> None:
    with node.watch() as messages:
        wait_for(messages, Snapshot)
        assert node.stop() == 0
    assert "Traceback" not in node.log_path.read_text()
    assert [line["event"] for line in node.log() if line["level"].lower() == "error"] == []


def test_heartbeats_go_on_during_a_big_push(node: Node) -> None:
    with node.watch() as messages:
        started = time.monotonic()
        applied(node, whole(1, having=peers(5000)))
        ended = time.monotonic()
        beats = [started]
        while beats[-1] < ended:
            at, message = messages.get(timeout=60)
            if isinstance(message, Heartbeat) and at > started:
                beats.append(at)
    # On a busy machine they are fewer, and the push takes longer; an agent that it held up would send one at its end.
    assert len(beats) > 1 + (ended - started) / HEARTBEAT_S / 4, (beats, ended)


@pytest.fixture
def strangers(authority: Authority, tmp_path: Path) -> dict[str, Files | None]:
    other = Authority(tmp_path / "other", "other")
    return {
        "nobody": None,
        "other CA": other.panel(),
        "another node": authority.node("node-2"),
        "not the panel": authority.stranger("somebody"),
    }


@pytest.mark.parametrize(
    ("who", "reason"),
    [
        ("nobody", "PEER_DID_NOT_RETURN_A_CERTIFICATE"),
        ("other CA", "self-signed certificate|unable to get local issuer"),
        ("another node", "purpose"),
        ("not the panel", "somebody"),
    ],
)
def test_strangers_are_refused_and_reported(
    node: Node, strangers: dict[str, Files | None], who: str, reason: str
) -> None:
    with node.watch() as messages, node.client(strangers[who]) as client:
        with pytest.raises(httpx.TransportError):
            node.call("GET", "/v1/status", client=client)
        message = wait_for(messages, Refused)
    assert isinstance(message, Refused)
    assert message.remote == "127.0.0.1"
    assert any(part in message.reason for part in reason.split("|")), message.reason


def test_those_refused_while_nobody_reads_are_told_to_the_next_reader(
    node: Node, strangers: dict[str, Files | None]
) -> None:
    with node.client(strangers["nobody"]) as client, pytest.raises(httpx.TransportError):
        node.call("GET", "/health", client=client)
    with node.watch() as messages:
        assert isinstance(wait_for(messages, Refused), Refused)


def test_random_keys_are_not_found(node: Node) -> None:
    body = {"peers": [{"public_key": random_key(), "endpoint": "192.0.2.1:1"}]}
    assert node.call("POST", "/v1/wg/wg0/takeover", body).json()["reason"] == "not_found"
    applied(node, whole(1))
    response = node.call("POST", "/v1/wg/wg0/takeover", body)
    assert (response.status_code, response.json()["field"]) == (422, "peers[0].public_key")


def test_the_load_comes_with_the_heartbeats(node: Node) -> None:
    with node.watch() as messages:
        until = time.monotonic() + 60
        while time.monotonic() < until:
            _, message = messages.get(timeout=60)
            if isinstance(message, Heartbeat) and message.load is not None:
                break
        else:
            raise AssertionError("no load within 60 s")
    assert 0 <= message.load.cpu <= 1
    assert 0 < message.load.memory < 1
    assert message.load.bandwidth is None  # it has no default route
    assert "wgfleet_machine_memory_ratio 0." in node.call("GET", "/v1/metrics").text
