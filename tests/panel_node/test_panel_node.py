"""The node that a panel makes of its own machine: a network namespace with real WireGuard plays the machine."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import psutil
import pytest

from tests.lab.namespaces import MAKE_PRIVATE, UNSHARE_MOUNTS, enter
from tests.waiting import eventually

pytestmark = pytest.mark.lab

T = TypeVar("T")
BIN = Path(sys.executable).parent
ADDRESS = "198.18.0.77"
URL = "http://127.0.0.1:8080"
# A machine of its own: network, mounts (wireguard-go's sockets), one address with a default route.
MACHINE = f"""
set -e
{MAKE_PRIVATE}
mount -t tmpfs none /run
mkdir /run/wireguard
ip link set lo up
ip link add outside type veth peer name beyond
ip link set beyond up
ip address add {ADDRESS}/24 dev outside
ip link set outside up
ip route add default via 198.18.0.1
exec sleep 600
"""


class Host:
    """A namespace with a panel in it."""

    def __init__(self, holder: int, data_dir: Path) -> None:
        self.enter = enter(holder)
        self.data_dir = data_dir
        self.key = ""
        self.panel: subprocess.Popen[str] | None = None

    def start(self, *arguments: str) -> None:
        command = [str(BIN / "wgfleet"), "panel", "run", "--data-dir", str(self.data_dir), *arguments]
        self.panel = subprocess.Popen([*self.enter, *command], stdout=subprocess.PIPE, text=True)
        assert self.panel.stdout
        for line in self.panel.stdout:
            if line.startswith("admin API key: "):
                self.key = (self.data_dir / "first-admin-key").read_text().strip()
            if line.startswith("CA fingerprint"):
                return
        pytest.fail("the panel did not start")

    def stop(self, number: int) -> None:
        assert self.panel
        assert self.panel.stdout
        self.panel.send_signal(number)
        self.panel.wait(60)
        self.panel.stdout.close()

    def run(self, *command: str) -> str:
        return subprocess.run([*self.enter, *command], capture_output=True, text=True, check=True).stdout

    def call(self, method: str, path: str, body: object = None) -> Any:
        program = (
            "import sys, httpx; _, method, url, key, body = sys.argv;"
            "r = httpx.request(method, url, content=body or None, timeout=30,"
            " headers={'authorization': 'Bearer ' + key, 'content-type': 'application/json'});"
            "print(r.text); sys.exit(r.is_error)"
        )
        text = json.dumps(body) if body is not None else ""
        return json.loads(self.run(sys.executable, "-c", program, method, URL + path, self.key, text) or "null")

    def node(self) -> dict[str, Any] | None:
        """Return the panel's node once its agent is connected."""
        found = [node for node in self.call("GET", "/api/nodes")["items"] if node["connected"]]
        return found[0] if found else None

    def agents(self) -> list[psutil.Process]:
        assert self.panel
        return [child for child in psutil.Process(self.panel.pid).children(recursive=True) if is_agent(child)]


def is_agent(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE and any("spawn_main" in word for word in process.cmdline())
    except psutil.NoSuchProcess:  # it ends just now
        return False


def end_all_in_network_of(holder: int) -> None:
    """End what is left in a namespace: wireguard-go outlives its agent by design."""
    inside = network_of(holder)
    if inside is None or inside == network_of(os.getpid()):
        return  # the namespace was never made
    for process in psutil.process_iter():
        if process.pid != holder and network_of(process.pid) == inside:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()


def network_of(pid: int) -> Path | None:
    try:
        return Path(f"/proc/{pid}/ns/net").readlink()
    except OSError:  # it ended
        return None


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    if shutil.which("wireguard-go") is None:
        pytest.fail("wireguard-go is not installed; make test installs it")
    with subprocess.Popen([*UNSHARE_MOUNTS, "--net", "sh", "-c", MACHINE]) as holder:
        machine = Host(holder.pid, tmp_path / "data")
        try:
            eventually(lambda: "default via 198.18.0.1" in machine.run("ip", "route"))
            yield machine
        finally:
            if machine.panel and machine.panel.poll() is None:
                machine.stop(signal.SIGTERM)
            end_all_in_network_of(holder.pid)
            holder.kill()


def test_the_panel_makes_its_own_machine_a_node_that_outlives_its_crashes(host: Host) -> None:
    host.start()
    node = eventually(host.node)
    assert node["is_panel_node"]
    assert node["endpoint_addresses"] == [ADDRESS]
    host.call("POST", "/api/configs", {"name": "wg0", "pools": ["10.8.0.0/24"], "mode": "cluster"})
    host.call("POST", "/api/configs/wg0/nodes", {"node_id": node["id"]})
    eventually(lambda: "wg0" in host.run("wg", "show", "interfaces"))

    [agent] = host.agents()
    agent.kill()
    again = eventually(lambda: next((a for a in host.agents() if a.pid != agent.pid), None))
    eventually(host.node)

    host.call("PATCH", f"/api/nodes/{node['id']}", {"name": "berlin"})  # as people call it from then on
    host.stop(signal.SIGKILL)
    psutil.wait_procs([again], timeout=60)
    assert not again.is_running()
    assert "wg0" in host.run("wg", "show", "interfaces")

    host.start()
    found = eventually(host.node)
    assert (found["id"], found["name"]) == (node["id"], "berlin")
    assert "wg0" in host.run("wg", "show", "interfaces")
    [last] = host.agents()
    host.stop(signal.SIGTERM)
    assert host.panel
    assert host.panel.returncode == 0
    assert not last.is_running()


def test_no_panel_node_means_none(host: Host) -> None:
    host.start("--no-panel-node")
    assert host.call("GET", "/api/nodes")["items"] == []
    assert not host.agents()


def test_the_given_address_is_what_clients_get(host: Host) -> None:
    host.start("--panel-node-address", "203.0.113.9")
    assert eventually(host.node)["endpoint_addresses"] == ["203.0.113.9"]


def test_without_a_default_route_clients_get_the_address_where_the_panel_listens(host: Host) -> None:
    host.run("ip", "route", "del", "default")
    host.start("--listen", URL.removeprefix("http://"), "--listen", f"{ADDRESS}:8443")
    assert eventually(host.node)["endpoint_addresses"] == [ADDRESS]


def test_it_is_there_again_after_a_restore_of_a_copy_from_before_the_ca_was_replaced(
    host: Host, tmp_path: Path
) -> None:
    host.start()
    node = eventually(host.node)
    copy, data_dir = tmp_path / "copy.sqlite", ["--data-dir", str(host.data_dir)]
    host.run(str(BIN / "wgfleet"), "panel", "backup", str(copy), *data_dir)
    host.call("POST", "/api/authority")
    eventually(lambda: host.call("GET", "/api/authority")["rotation"] is None)
    host.stop(signal.SIGTERM)
    for journal in ("-wal", "-shm"):
        (host.data_dir / f"panel.sqlite{journal}").unlink(missing_ok=True)
    shutil.copy(copy, host.data_dir / "panel.sqlite")
    host.run(str(BIN / "wgfleet"), "panel", "restored", *data_dir)
    host.start()
    assert eventually(host.node)["id"] == node["id"]
