"""`wgfleet peer change`: it says to whom, and does nothing to anybody who was not named."""

from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.cli.conftest import Run
from tests.panel.conftest import made
from tests.waiting import eventually
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
    assert "--all-that-match" in wgfleet("peer", "change", "wg0", "disable", "--yes").stderr
    for more in ((), ("--all-that-match",)):
        looked = wgfleet(*chosen, *more, "--dry-run")
        assert "2 peers are cut off" in looked.stderr
        assert "p0, p1" in looked.stderr
        assert "--yes" in wgfleet(*chosen, *more).stderr
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


@pytest.mark.usefixtures("wg0")
def test_one_peer_is_chosen_by_its_name(wgfleet: Run, client: httpx.Client) -> None:
    """Every other command takes CONFIG/NAME, and who moves one peer thinks of nothing else."""
    made(client, "/api/configs/wg0/peers/batch", peers=[{"name": "anna"}, {"name": "anna 2"}])
    looked = wgfleet("peer", "change", "wg0/anna", "disable", "--dry-run")
    assert "disable: 1 peer, 0 of them" in looked.stderr, looked.stderr
    assert "anna 2" not in looked.stderr
    nowhere = wgfleet("peer", "move", "wg0/anna", "--to", "eu", "--yes")
    assert "'eu'" in nowhere.stderr, nowhere.stderr
    for clumsy, words in (
        (("wg0/bob",), "there is no peer 'bob' in 'wg0'"),
        (("wg0/",), "there is no peer ''"),
        (("wg0/anna", "--tag", "x"), "is one peer already"),
        (("wg0",), "CONFIG/NAME"),
    ):
        refused = wgfleet("peer", "move", *clumsy, "--to", "eu", "--yes")
        assert (refused.returncode != 0, words in refused.stderr) == (True, True), refused.stderr


@pytest.mark.usefixtures("wg0")
def test_who_cancels_hears_that_it_is_cancelled_and_not_of_a_failure(
    wgfleet: Run, client: httpx.Client, panel: Panel
) -> None:
    made(client, "/api/configs/wg0/peers/batch", peers=[{"name": "anna"}])
    begun = wgfleet("peer", "change", "wg0", "disable", "--all-that-match", "--yes", "--no-wait")
    assert begun.returncode == 0, begun.stderr
    with panel.store.read() as tx:
        ((_, operation_id),) = operations.active(tx)

    def carry_out() -> None:
        eventually(lambda: client.get(f"/api/operations/{operation_id}").json()["cancelled_by"])
        with panel.store.write() as tx:
            while peer_changes.step(tx, operation_id):
                tx.flush()

    with ThreadPoolExecutor(1) as worker:
        done = worker.submit(carry_out)
        cancelled = wgfleet("operation", "cancel", operation_id)
        done.result()
    assert (cancelled.returncode, cancelled.stderr) == (0, "")
    assert "cancelled by key:" in cancelled.stdout
    waited = wgfleet("operation", "wait", operation_id)  # who did not cancel it, and waits for it
    assert (waited.returncode, "cancelled by" in waited.stderr) == (1, True)


@pytest.mark.usefixtures("wg0")
def test_a_slash_in_a_name_is_as_good_in_names_with_numbers(wgfleet: Run) -> None:
    assert wgfleet("peer", "create", "wg0", "hq/anna").returncode == 0
    assert (
        "hq/floor-1 to hq/floor-2" in wgfleet("peer", "create", "wg0", "--count", "2", "--prefix", "hq/floor-").stdout
    )
    for name in ("hq/anna", "hq/floor-1", "hq/floor-2"):
        shown = wgfleet("peer", "show", f"wg0/{name}")
        assert (shown.returncode, shown.stdout.split()[:2]) == (0, ["name", name]), shown
    assert wgfleet("peer", "delete", "wg0/hq/floor-1", "--yes").returncode == 0
    assert "hq/floor-1" not in wgfleet("peer", "list", "wg0").stdout
