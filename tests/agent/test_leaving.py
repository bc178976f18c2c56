"""What the agent has put on a machine: seen without a panel, and taken away again."""

import json
import sys
from typing import Any

import httpx
import msgspec
import pytest

from tests.agent.node import Node
from tests.agent.test_push import applied
from tests.agent.values import settings, whole
from wgfleet.agent.state.identity import StateDirectory

pytestmark = pytest.mark.lab


def wgfleet(node: Node, *words: str) -> tuple[int, str]:
    """Run a command of the machine's own; return its exit code, and all that it says."""
    program = f"{sys.executable} -c 'from wgfleet.cli import main; main()' agent {' '.join(words)}"
    said = node.host.run("sh", "-c", f"{program} --state-dir {node.state.root} 2>&1; echo code $?")
    text, _, code = said.rstrip().rpartition("code ")
    return int(code), text


def status(node: Node) -> tuple[int, dict[str, Any]]:
    code, text = wgfleet(node, "status", "--json")
    return code, json.loads(text)


def test_the_agent_is_seen_without_a_panel_and_what_it_made_is_taken_away(node: Node) -> None:
    wanted = whole(1, settings(masquerade=True))
    applied(node, wanted)
    other = settings("wg1", config_id="config-2", addresses=("10.9.0.1/16",))
    applied(node, whole(1, msgspec.structs.replace(other, listen_port=51821)), "wg1")
    code, seen = status(node)
    assert (code, seen["wrong"]) == (0, [])
    assert seen["node_id"] == node.node_id
    assert seen["pids"]
    assert [(each["name"], each["link"], each["peers"]) for each in seen["interfaces"]] == [
        ("wg0", "up", 3),
        ("wg1", "up", 3),
    ]
    assert wanted.settings.private_key not in json.dumps(seen)
    code, said = wgfleet(node, "forget", "wg0", "--yes")
    assert (code, "the agent runs" in said) == (1, True), said
    node.stop()

    code, seen = status(node)
    assert code == 1
    assert any("does not run" in each for each in seen["wrong"])
    assert all(each["link"] == "up" for each in seen["interfaces"])  # its interfaces go on without it
    code, said = wgfleet(node, "forget", "wg9", "--yes")
    assert (code, "it has: wg0, wg1" in said) == (2, True), said
    code, said = wgfleet(node, "forget", "wg0")
    assert (code, "repeat with --yes" in said, "3 peers, none uses it now" in said) == (2, True, True), said
    code, said = wgfleet(node, "forget", "wg0", "--yes")
    assert code == 0, said
    links = node.host.run("ip", "-br", "link")
    assert "wg0" not in links
    assert "wg1" in links
    assert "wgfleet_wg0" not in node.host.run("nft", "list", "tables")

    node.start()  # it stays enrolled, and has the other interface still
    assert node.call("GET", "/v1/wg/wg0").status_code == httpx.codes.NOT_FOUND
    assert node.call("GET", "/v1/wg/wg1").status_code == httpx.codes.OK
    applied(node, wanted)  # and takes what the panel sends again
    node.stop()
    code, said = wgfleet(node, "leave", "--yes")
    assert code == 0, said
    assert f"wgfleet node delete {node.node_id}" in said
    links = node.host.run("ip", "-br", "link")
    assert "wg0" not in links
    assert "wg1" not in links
    assert "wgfleet" not in node.host.run("nft", "list", "tables")
    assert not StateDirectory(node.state.root).root.exists()
    code, said = wgfleet(node, "status")
    assert (code, "enroll" in said) == (1, True), said
