"""The panel under its unit, with all that forbids it: a live systemd, installed as docs/settings.md says."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.kernel import node
from tests.kernel.systemd import UNITS, run, shown, succeeds, verify
from tests.waiting import eventually

pytestmark = pytest.mark.kernel

PANEL = "wgfleet-panel.service"
DATA = Path("/var/lib/wgfleet")
URL = "http://127.0.0.1:8080"
SECTION = "## Run it for good"


def documented() -> list[str]:
    """The commands that the documentation gives."""
    text = (node.CHECKOUT / "docs/settings.md").read_text()
    (block,) = re.findall(rf"^{SECTION}\n.*?^```\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return [line for line in block.splitlines() if not line.startswith("cat ")]


def ready() -> bool:
    try:
        return httpx.get(f"{URL}/readyz", timeout=30, trust_env=False).is_success
    except httpx.HTTPError:
        return False


def call(method: str, path: str, body: object = None) -> Any:
    key = (DATA / "first-admin-key").read_text().strip()
    headers = {"authorization": f"Bearer {key}"}
    answer = httpx.request(method, URL + path, json=body, headers=headers, timeout=60, trust_env=False)
    assert answer.is_success, answer.text
    return answer.json()


def processes() -> dict[str, int]:
    pids = [int(pid) for pid in run("systemctl", "show", "--value", "--property=MainPID", PANEL).split()]
    pids += [int(pid) for pid in run("pgrep", "--parent", str(pids[0])).split()]
    return {Path(f"/proc/{pid}/comm").read_text().strip(): pid for pid in pids}


@pytest.fixture(scope="module", autouse=True)
def _panel() -> Iterator[None]:
    node.install_program()
    for line in documented():
        for command in line.split(" && "):
            run(*command.split(), cwd=node.CHECKOUT)
    yield
    run("systemctl", "disable", "--now", PANEL)


def test_it_is_ready_when_systemctl_returns_and_runs_as_nobody_of_importance() -> None:
    assert ready()
    assert verify(str(UNITS / PANEL)) == ""
    owner = run("id", "-u", "wgfleet").strip()
    found = processes()
    assert {"wgfleet-core", "wgfleet-api-1"} < set(found)
    for pid in found.values():
        status = Path(f"/proc/{pid}/status").read_text()
        for which in ("CapBnd", "CapEff", "CapPrm", "CapInh", "CapAmb"):
            assert re.search(rf"^{which}:\s*0+$", status, re.MULTILINE), (which, status)
        assert re.search(rf"^Uid:\s*{owner}\s+{owner}\s", status, re.MULTILINE)
        assert re.search(r"^NoNewPrivs:\s*1$", status, re.MULTILINE)
        assert re.search(r"^Seccomp:\s*2$", status, re.MULTILINE)
    for path in (DATA, DATA / "master.key", DATA / "panel.sqlite", DATA / "first-admin-key"):
        assert path.stat().st_mode & 0o077 == 0, path


def test_it_works_with_what_it_may() -> None:
    config = call("POST", "/api/configs", {"name": "wg0", "pools": ["10.8.0.0/24"]})
    call("POST", "/api/nodes", {"name": "fra1", "endpoint_addresses": ["192.0.2.1"]})
    peer = call("POST", f"/api/configs/{config['id']}/peers", {"name": "anna"})
    assert peer["name"] == "anna"


@pytest.mark.parametrize("name", ["wgfleet-core", "wgfleet-api-1"])
def test_a_killed_process_comes_back_under_the_same_unit(name: str) -> None:
    before = eventually(lambda: processes().get(name), every_s=0.5)
    run("kill", "-KILL", str(before))
    eventually(lambda: processes().get(name) not in {None, before}, every_s=0.5)
    eventually(ready, every_s=0.5)


def test_systemd_brings_back_what_is_killed_whole() -> None:
    run("systemctl", "kill", "--signal=KILL", "--kill-whom=main", PANEL)
    eventually(lambda: shown(PANEL, "NRestarts") != "0", every_s=0.5)
    eventually(ready, every_s=0.5)
    assert call("GET", "/api/configs")["items"]


def test_it_stops_at_once_and_leaves_nobody_behind() -> None:
    run("systemctl", "stop", PANEL)
    assert shown(PANEL, "Result") == "success"
    assert not succeeds("pgrep", "--uid", "wgfleet")
