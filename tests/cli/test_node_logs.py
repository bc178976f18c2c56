"""`wgfleet node logs`: what an agent has logged, read through the panel from a real one."""

import json
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.cli.conftest import PROGRAM, Run
from tests.waiting import eventually
from wgfleet.agent.server.log_route import LogRing
from wgfleet.cli.node_log import readable
from wgfleet.panel.agents import client as client_module
from wgfleet.panel.api import Panel
from wgfleet.panel.reconcile.agents import panel_start
from wgfleet.protocol.messages import LOG_LINES

pytestmark = pytest.mark.slow


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def helper(wgfleet: Run, client: httpx.Client, panel: Panel, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A witness: an agent that needs no privileges; of a panel that has begun its work."""
    panel_start.begin(panel.store, panel.vault, panel.authorities, 90)
    state, port = str(tmp_path / "witness"), free_port()
    address = ("--agent-host", "127.0.0.1", "--agent-port", str(port))
    made = wgfleet("node", "create", "helper", "--witness", *address, "--json")
    assert made.returncode == 0, made.stderr
    token = json.loads(made.stdout)["join"]["token"]
    enroll = ("agent", "enroll", "--panel", str(client.base_url), "--token", token, "--port", str(port))
    joined = wgfleet(*enroll, "--state-dir", state)
    assert joined.returncode == 0, joined.stderr
    running = subprocess.Popen(
        [PROGRAM, "agent", "run", "--witness", "--state-dir", state, "--listen", "127.0.0.1"], stderr=subprocess.DEVNULL
    )
    yield running
    running.kill()
    running.wait()


def test_the_log_of_an_agent_is_read_through_the_panel(wgfleet: Run, helper: subprocess.Popen[bytes]) -> None:
    def read() -> Any:
        ran = wgfleet("node", "logs", "helper", "--json")
        return ran.returncode == 0 and json.loads(ran.stdout)["lines"]

    lines = eventually(read)
    assert json.loads(lines[-1])["event"] == "agent.ready"
    shown = wgfleet("node", "logs", "helper", "--lines", "1").stdout
    assert "info    agent.ready node_id=" in shown
    assert shown.count("\n") == 1
    helper.kill()
    helper.wait()

    def gone() -> bool:
        ran = wgfleet("node", "logs", "helper")
        return (ran.returncode, "journalctl -u wgfleet-agent" in ran.stderr) == (1, True)

    eventually(gone)


@pytest.fixture
def following(environment: dict[str, str]) -> Iterator[Callable[[], list[str]]]:
    """The command that follows the log: what it has printed so far."""
    printed: list[str] = []
    running = subprocess.Popen(
        # Who began the tests may ignore Ctrl-C, as a shell does for what is to go on in the background.
        ["env", "--default-signal=INT", PROGRAM, "node", "logs", "helper", "--follow", "--lines", "1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
    )
    assert running.stdout is not None
    reader = threading.Thread(target=lambda: printed.extend(running.stdout or ()), daemon=True)
    reader.start()
    yield lambda: printed
    running.send_signal(signal.SIGINT)
    assert running.wait(60) == 0
    reader.join()
    running.stdout.close()


def test_the_log_of_an_agent_is_followed_also_when_it_hangs_for_a_while(
    wgfleet: Run,
    helper: subprocess.Popen[bytes],
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(client_module, "ANSWER_S", 12.0)
    eventually(lambda: wgfleet("node", "logs", "helper").returncode == 0)
    printed = request.getfixturevalue("following")
    eventually(lambda: "agent.ready" in "".join(printed()))
    helper.send_signal(signal.SIGSTOP)
    eventually(lambda: "asked again until Ctrl-C" in "".join(printed()))
    helper.send_signal(signal.SIGCONT)
    eventually(lambda: "the agent answers again" in "".join(printed()))
    assert "".join(printed()).count("agent.ready") == 1


@pytest.mark.usefixtures("fra1")
def test_a_node_without_an_agent_says_so(wgfleet: Run) -> None:
    refused = wgfleet("node", "logs", "fra1")
    assert "no agent has joined as node 'fra1' yet" in refused.stderr
    assert wgfleet("node", "logs", "nowhere").returncode == 4


def test_a_ring_keeps_the_newest_lines_and_cuts_long_ones() -> None:
    ring = LogRing()
    for number in range(LOG_LINES + 5):
        assert ring(None, "info", f"line {number}") == f"line {number}"
    assert ring.last(1).lines == (f"line {LOG_LINES + 4}",)
    assert len(ring.last(LOG_LINES).lines) == LOG_LINES
    ring(None, "info", "x" * 5000)
    assert len(ring.last(1).lines[0]) < 1100


def test_a_ring_gives_the_lines_after_one_of_this_run() -> None:
    ring = LogRing()
    ring(None, "info", "first")
    seen = ring.last(LOG_LINES)
    assert ring.last(LOG_LINES, seen.run, seen.last).lines == ()
    ring(None, "info", "second")
    assert ring.last(LOG_LINES, seen.run, seen.last).lines == ("second",)
    assert ring.last(LOG_LINES, "of another process", seen.last).lines == ("first", "second")
    assert ring.last(LOG_LINES, seen.run, 10**9).lines == ()


def test_a_ring_hides_what_looks_like_a_secret() -> None:
    ring = LogRing()
    ring(None, "error", '{"event": "failed", "reason": "PrivateKey = abcdefgh in wg0.conf"}')
    assert "abcdefgh" not in ring.last(1).lines[0]


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        (
            '{"event": "agent.ready", "level": "info", "timestamp": "2026-11-26T10:33:21.5Z", "port": 1}',
            "2026-11-26 10:33:21Z info    agent.ready port=1",
        ),
        ("no JSON", "no JSON"),
        ("[1]", "[1]"),
        ("[" * 10_000, "[" * 10_000),
    ],
)
def test_a_line_is_shown_as_a_person_reads_it(line: str, shown: str) -> None:
    assert readable(line) == shown
