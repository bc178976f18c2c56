"""What was used, with commands."""

import contextlib
from pathlib import Path

import httpx
import pytest

from tests.cli.conftest import Run
from tests.panel.usage.test_usage_api import Used
from tests.panel.world import World
from wgfleet.cli import client as cli_client
from wgfleet.cli.client import Client
from wgfleet.cli.connection import PanelAccess
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


def test_usage_is_csv_as_the_api_has_it_with_the_same_filters(
    panel: Panel, wgfleet: Run, client: httpx.Client, tmp_path: Path
) -> None:
    alice, *_ = Used(World(panel.store, panel.vault)).fill()

    def of_api(**query: str) -> str:
        return client.get("/api/usage", params={"format": "csv", "limit": "1000", **query}).text

    whole = wgfleet("usage", "--csv")
    assert (whole.returncode, whole.stdout.splitlines()) == (0, of_api(per="total").splitlines()), whole
    hours = ("--per", "hour", "--by", "peer", "--config", "wg0", "--node", "ams1", "--peer", "wg0/alice")
    within = ("--from", "2026-06-30T23:00:00Z", "--to", "2026-07-01T01:00:00Z")
    file = tmp_path / "usage.csv"
    assert wgfleet("usage", "--csv", "-o", str(file), *hours, *within).stdout == ""
    assert file.read_bytes().decode() == of_api(
        per="hour",
        config="wg0",
        node="ams1",
        peer=alice.id,
        **{"from": "2026-06-30T23:00:00Z", "to": "2026-07-01T01:00:00Z"},
    )
    assert "'=bob" in whole.stdout
    assert len(file.read_text().splitlines()) == 3
    for wrong in (("--csv", "--json"), ("--csv", "--sort", "traffic"), ("-o", str(tmp_path / "other"))):
        assert wgfleet("usage", *wrong).returncode == 2, wrong
    assert not (tmp_path / "other").exists()


def test_pages_of_csv_become_one_table(panel: Panel, client: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    Used(World(panel.store, panel.vault)).fill()
    monkeypatch.setattr(cli_client, "PAGE", 3)
    key = client.headers["Authorization"].removeprefix("Bearer ")
    with contextlib.closing(Client(PanelAccess(str(client.base_url), key, None))) as of_panel:
        pages = list(of_panel.table("/api/usage", per="hour"))
    assert [page.count(b"\n") for page in pages] == [4, 3, 2]
    assert b"".join(pages).decode() == client.get("/api/usage", params={"per": "hour", "format": "csv"}).text
