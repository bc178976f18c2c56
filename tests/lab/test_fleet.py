import json
import os
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.lab.snapshot import machine
from tests.waiting import eventually
from wgfleet.agent.kernel import mute_table
from wgfleet.lab import processes
from wgfleet.lab.demo import story

pytestmark = pytest.mark.lab
PROGRAM = str(Path(sys.executable).parent / "wgfleet")
NAME = "pytestfleet"


def lab(*words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([PROGRAM, "lab", *words], capture_output=True, text=True, check=False, timeout=150)
    assert not check or done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def up() -> Iterator[dict[str, Any]]:
    before = machine()
    try:
        yield json.loads(lab("up", "--name", NAME, "--nodes", "2", "--clients", "2", "--json").stdout)
    finally:
        lab("down", "--name", NAME)
    assert machine() == before


def in_host(host: str, *command: str, check: bool = True) -> str:
    return lab("exec", "--name", NAME, host, "--", *command, check=check).stdout


def test_up_says_where_everything_is(up: dict[str, Any]) -> None:
    assert [node["name"] for node in up["nodes"]] == ["node-1", "node-2"]
    assert all(set(node) >= {"id", "namespace", "address"} for node in up["nodes"])
    assert all(set(client) >= {"id", "namespace", "address", "tunnel_address"} for client in up["clients"])
    headers = {"Authorization": f"Bearer {up['api_key']}"}
    answer = httpx.get(
        f"{up['panel_url']}/api/nodes",
        headers=headers,
        verify=ssl.create_default_context(cafile=up["ca_file"]),
        trust_env=False,
        timeout=60,
    )
    assert {node["id"] for node in answer.json()["items"]} == {node["id"] for node in up["nodes"]}


@pytest.mark.usefixtures("up")
def test_the_panel_is_asked_by_its_own_commands() -> None:
    assert "node-1" in in_host("panel", "wgfleet", "node", "list")


def test_a_client_runs_nothing_but_wireguard(up: dict[str, Any]) -> None:
    assert len(up["clients"]) == 2
    assert "latest handshake" in in_host("client-1", "wg", "show")
    namespace = up["clients"][0]["namespace"]
    pids = subprocess.run(["ip", "netns", "pids", namespace], capture_output=True, text=True, check=True)
    names = {Path(f"/proc/{pid}/comm").read_text().strip() for pid in pids.stdout.split()}
    assert names == {"sleep", "wireguard-go"}


def test_a_clients_file_has_a_name_that_lists_the_nodes(up: dict[str, Any]) -> None:
    assert "Endpoint = vpn.lab.test:51820" in in_host("client-1", "cat", "/etc/wireguard/wg0.conf")
    listed = {line.split()[0] for line in in_host("client-1", "getent", "ahostsv4", "vpn.lab.test").splitlines()}
    assert listed == {node["address"] for node in up["nodes"]}


def stop_agent(node: dict[str, Any]) -> None:
    """Stop an agent as its unit does, and wait for its end."""
    pids = subprocess.run(["ip", "netns", "pids", node["namespace"]], capture_output=True, text=True, check=True)
    [pid] = [int(pid) for pid in pids.stdout.split() if "wgfleet.agent" in processes.command_line(int(pid))]
    os.kill(pid, signal.SIGTERM)
    eventually(lambda: not processes.command_line(pid))


def test_the_tunnel_goes_on_without_agent_and_panel(up: dict[str, Any]) -> None:
    for node in up["nodes"]:
        stop_agent(node)
    lab("kill", "--name", NAME, "panel")
    time.sleep(mute_table.SPEAKS_FOR_S)  # nobody has anything to say meanwhile
    in_host("client-1", "ping", "-n", "-q", "-c", "1", "-w", "30", "-i", "0.2", "10.8.0.1")
    for host in ("panel", *(node["name"] for node in up["nodes"])):
        lab("start", "--name", NAME, host)
    in_host("client-2", "ping", "-n", "-q", "-c", "1", "-w", "30", "-i", "0.2", "10.8.0.1")


def test_an_unknown_host_is_refused_with_those_that_there_are(up: dict[str, Any]) -> None:
    done = lab("cut", "--name", NAME, "node-9", check=False)
    assert done.returncode == 1
    assert up["nodes"][0]["name"] in done.stderr
    assert "Traceback" not in done.stderr


def test_the_story_names_what_was_lost() -> None:
    happened = {
        "removed_node": "node-1", "live_on_removed_node": 3, "verified_elsewhere": 2, "seconds": 1.0,
        "peers_migrated": 3, "packets_sent": 900, "packets_lost": 7, "packets_lost_max": 5, "worst_gap_ms": 250.0,
        "interface_gone": False,
    }  # fmt: skip
    text = "\n".join(story(happened))
    assert "3 devices were connected to it. 2 of them" in text
    assert "Of 900 packets 7 were lost, at most 5" in text
    assert "STILL THERE" in text
