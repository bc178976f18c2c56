"""The panel dies at each point of a removal, and the removal ends all the same."""

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from tests.panel.dying import panel_that_dies_at
from wgfleet.lab import assembly, fleet, state
from wgfleet.lab.errors import LabError
from wgfleet.lab.hosts import Host
from wgfleet.lab.progress import Progress
from wgfleet.lab.scenarios import drain, kill, standings
from wgfleet.lab.state import Lab
from wgfleet.lab.waiting import wait_for

pytestmark = [pytest.mark.lab, pytest.mark.timeout(600)]

YOUNG_S, PATIENCE_S = 120.0, 120.0
POINTS = [
    f"moves.{step}.{moment}"
    for step in ("backup", "place", "takeover", "retire", "clean", "close")
    for moment in ("before", "after")
]


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with state.temporary("killed", 3, 2) as built:
        assembly.assemble(built, Progress())
        yield built


@pytest.fixture(autouse=True)
def _put_back(lab: Lab) -> Iterator[None]:
    """Have all nodes serve again, also after a test that failed: the lab is everybody's."""
    yield
    with fleet.client(lab) as panel:
        standings.wait_operations(panel)
        serving = drain.serving(lab, panel)
        for host in fleet.hosts(lab, "node"):
            if host not in serving:
                drain.put_back(lab, panel, host)


@contextmanager
def passing_on(lab: Lab, node: Host) -> Iterator[None]:
    """Have a node pass packets on to all clients without a pause, as it does for those that load something."""
    running = [
        subprocess.Popen([*node.enter, "ping", "-q", "-i", "0.1", client["tunnel_address"]], stdout=subprocess.DEVNULL)
        for client in lab.result["clients"]
    ]
    try:
        yield
    finally:
        for each in running:
            each.terminate()
            each.wait()


def sessions_are_young(lab: Lab) -> bool:
    """Say whether no client is between two sessions, which WireGuard ends after 180 s: nobody could call it over."""
    return all(
        time.time() - at < YOUNG_S for client in fleet.hosts(lab, "client") for at in drain.handshakes(client).values()
    )


@pytest.mark.parametrize("point", [*POINTS, "moves.takeover.answered"])
def test_a_panel_killed_there_ends_the_removal_after_its_restart(lab: Lab, point: str) -> None:
    wait_for(lambda: sessions_are_young(lab), "a client has no young session", within_s=PATIENCE_S)
    with fleet.client(lab) as panel:
        node = max(drain.serving(lab, panel), key=lambda host: len(drain.live_peers(host, {})))
    removal = ("DELETE", f"/api/configs/{fleet.CONFIG}/nodes/{drain.node_id(lab, node)}")
    with passing_on(lab, node), panel_that_dies_at(lab, point) as panel, suppress(LabError):
        panel.call(*removal)  # it may die before it has answered
    with fleet.client(lab) as panel:
        operation = panel.call(*removal)  # the same, while it runs and after
        ended = panel.wait_operation(operation["id"], timeout_s=120)
        assert kill.broken_promises(lab, panel, node) == []
        assert ended["result"]["interface"] == "deleted"
        assert ended["result"]["left_behind"] == 0
        backups = panel.all("/api/backups")
        assert sum(backup["operation_id"] == operation["id"] for backup in backups) == 1
