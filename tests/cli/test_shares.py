"""`wgfleet peer share` and `shares`: how long a link may last, and which still work."""

import httpx
import pytest

from tests.cli.conftest import Run
from tests.panel.conftest import made
from wgfleet.panel.api import Panel
from wgfleet.panel.store import share_links as share_link_rows

pytestmark = pytest.mark.slow


@pytest.mark.usefixtures("wg0")
def test_links_say_how_long_they_may_last_and_whether_they_work(
    wgfleet: Run, client: httpx.Client, panel: Panel
) -> None:
    peer = made(client, "/api/configs/wg0/peers", name="anna")
    for lasts in ("59s", "91d"):
        refused = wgfleet("peer", "share", "wg0/anna", "--lasts", lasts)
        assert (refused.returncode, refused.stderr) == (
            2, f"error: --lasts: a link lasts 1 minute to 90 days, not {lasts}\n",
        )  # fmt: skip
    for options in (("--lasts", "1m"), ("--lasts", "90d", "--many-times"), ("--lasts", "60d")):
        assert wgfleet("peer", "share", "wg0/anna", *options).returncode == 0
    with panel.store.write() as tx:
        links = sorted(share_link_rows.of_peer(tx, peer["id"]), key=lambda each: each.expires_at)
        links[0].expires_at, links[1].uses = 1.0, 1
    shown = wgfleet("peer", "shares", "wg0/anna", COLUMNS="80").stdout.splitlines()
    assert {line.split()[1] for line in shown} >= {"expired", "used", "works"}
