"""Of two agents on one state directory the second one does not start, and says which the first one is."""

import signal
import subprocess
from collections.abc import Callable

import msgspec
import pytest

from tests.agent.node import PORT, Host, Node, becomes
from tests.agent.test_push import applied
from tests.agent.values import whole
from wgfleet.agent.state.files import write_atomic
from wgfleet.agent.state.identity import AgentFile
from wgfleet.protocol.ids import NodeId

pytestmark = pytest.mark.lab


def second(host: Host, *options: str) -> subprocess.CompletedProcess[str]:
    command = host.command(*becomes(*options))
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_a_second_agent_on_a_state_directory_ends_with_a_word(node: Node) -> None:
    assert applied(node, whole(1)).verified
    ended = second(node.host, "--state-dir", str(node.state.root), "--port", "51999")
    assert ended.returncode == 1
    assert f"another agent (process {node.pid}) runs on {node.state.root}; end it first" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert node.answers()
    # One that was killed holds nothing, and what it started outlives it.
    node.stop(signal.SIGKILL)
    node.start()
    assert applied(node, whole(2)).verified


def test_a_second_witness_does_so_too(make_node: Callable[..., Node]) -> None:
    made = make_node()
    file = AgentFile(NodeId(made.node_id), PORT, "https://panel.invalid:8443", witness=True)
    write_atomic(made.state.agent, msgspec.json.encode(file))
    made.start("--witness")
    ended = second(made.host, "--witness", "--state-dir", str(made.state.root), "--port", "51999")
    assert (ended.returncode, "another agent (process" in ended.stderr) == (1, True)
