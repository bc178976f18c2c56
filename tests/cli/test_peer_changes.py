"""`wgfleet peer change`: it says to whom, and does nothing to anybody who was not named."""

import httpx
import pytest

from tests.cli.conftest import Run
from tests.panel.conftest import made
from wgfleet.panel.api import Panel
from wgfleet.panel.services import peer_changes
from wgfleet.panel.store import operations

pytestmark = pytest.mark.slow


@pytest.mark.usefixtures("wg0")
def test_all_that_match_are_shown_then_changed(wgfleet: Run, client: httpx.Client, panel: Panel) -> None:
    made(client, "/api/tags", name="trial")
    rows = [{"name": f"p{i}", "tags": ["trial"] if i < 2 else []} for i in range(3)]
    made(client, "/api/configs/wg0/peers/batch", peers=rows)
    chosen = ("peer", "change", "wg0", "disable", "--tag", "trial")
    assert "--all-that-match" in wgfleet(*chosen, "--yes").stderr
    looked = wgfleet(*chosen, "--all-that-match", "--dry-run")
    assert "2 peers are cut off" in looked.stderr
    assert "p0, p1" in looked.stderr
    assert "--yes" in wgfleet(*chosen, "--all-that-match").stderr
    assert all(row["enabled"] for row in client.get("/api/configs/wg0/peers").json()["items"])
    begun = wgfleet(*chosen, "--all-that-match", "--yes", "--no-wait")
    assert begun.returncode == 0, begun.stderr
    with panel.store.write() as tx:
        ((_, operation_id),) = operations.active(tx)
        while peer_changes.step(tx, operation_id):
            tx.flush()
    assert [row["enabled"] for row in client.get("/api/configs/wg0/peers").json()["items"]] == [False, False, True]
    job = wgfleet("peer", "change", "wg0", "set_job", "total_data", "50GB", "--all-that-match", "--dry-run")
    assert "3 peers" in job.stderr
    assert wgfleet("peer", "change", "wg0", "add_tag", "--all-that-match").returncode == 2
    made(client, "/api/node-groups", name="eu")
    moved = wgfleet("peer", "change", "wg0", "set_group", "eu", "--all-that-match", "--dry-run")
    assert "node group 'eu' from the next rebalance" in moved.stderr
    slowed = wgfleet(
        "peer", "change", "wg0", "set_speeds", "--upload", "5mbit", "--all-that-match", "--yes", "--no-wait"
    )
    assert slowed.returncode == 0, slowed.stderr
    assert "--all-that-match" in wgfleet("peer", "move", "wg0", "--to", "eu", "--yes").stderr
    nowhere = wgfleet("peer", "move", "wg0", "--to", "eu", "--tag", "trial", "--dry-run")
    assert nowhere.returncode != 0
    assert "the nodes of group 'eu' cannot get peers of config 'wg0': none serves it now" in nowhere.stderr
    for command in (("move", "wg0", "--to", "eu"), ("change", "wg0", "disable", "--all-that-match")):
        nobody = wgfleet("peer", *command, "--search", "zzzz", "--yes")
        assert (nobody.returncode == 0, "no peer fits" in nobody.stderr) == (False, True), nobody.stderr
