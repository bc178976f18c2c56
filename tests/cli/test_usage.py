"""What was used, with commands."""

import pytest

from tests.cli.conftest import Run
from tests.panel.usage.test_usage_api import Used
from tests.panel.world import World
from wgfleet.panel.api.panel import Panel

pytestmark = pytest.mark.slow


def test_usage_is_shown_by_peer_and_month_and_with_the_peer(panel: Panel, wgfleet: Run) -> None:
    Used(World(panel.store, panel.vault)).fill()
    totals = wgfleet("usage", "--sort", "traffic", COLUMNS="80").stdout.splitlines()
    assert [line.split()[1:4] for line in totals[1:]] == [["alice", "407", "B"], ["=bob", "0", "B"]]
    months = wgfleet("usage", "--per", "month", "--by", "config", "--config", "wg0").stdout
    assert "2026-06-01" in months
    assert "2026-07-01" in months
    assert "407 B from it" in wgfleet("peer", "show", "wg0/alice").stdout
    refused = wgfleet("usage", "--per", "year")
    assert (refused.returncode, refused.stderr) == (
        1,
        "error: --per: must be 'hour', 'day', 'month' or 'total'\n",
    )
