"""`wgfleet dns` against a panel that publishes at the Cloudflare stand-in."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner, Result

from tests.panel.conftest import made
from tests.panel.world import World
from tests.providers.cloudflare.environment import SECRET, ZONE_ID, CloudflareEnvironment, cloudflare
from tests.providers.publication import Clock
from tests.providers.publication import Panel as Publishing
from wgfleet.cli import app
from wgfleet.panel.api import Panel
from wgfleet.panel.domain.dns.states import SyncState
from wgfleet.panel.store.tables import Config

Run = Callable[..., Result]
NAME = "vpn.example.com"


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    return sqlite_url


@pytest.fixture
def wgfleet(client: httpx.Client, tmp_path: Path) -> Run:
    key = str(client.headers["Authorization"]).removeprefix("Bearer ")
    environment = {"HOME": str(tmp_path), "WGFLEET_URL": str(client.base_url), "WGFLEET_API_KEY": key}

    def run(*words: str) -> Result:
        return CliRunner().invoke(app, ["dns", *words], env=environment)

    return run


@pytest.fixture
def zone() -> Iterator[CloudflareEnvironment]:
    with cloudflare() as opened:
        yield opened


@pytest.fixture
def publishing(panel: Panel, zone: CloudflareEnvironment) -> Iterator[Publishing]:
    """The workers that a whole panel has beside its API."""
    opened = Publishing(World(panel.store, panel.vault), zone, Clock())
    yield opened
    opened.publisher.close()


@pytest.fixture
def config(client: httpx.Client, publishing: Publishing) -> Config:
    """A config with two nodes that serve, and an endpoint group with options of its own."""
    config = publishing.world.config()
    publishing.world.serving(config, "fra1", "ams1")
    options = {"token": SECRET, "api_url": publishing.at.stand_in.url}
    dns = {"provider": "cloudflare", "zone": ZONE_ID, "options": options}
    made(client, "/api/configs/wg0/endpoint-group", domain=NAME, dns=dns)
    return config


def document(run: Result) -> Any:
    assert run.exit_code == 0, run.stderr
    return json.loads(run.stdout)


def test_a_name_is_planned_published_and_told_of(wgfleet: Run, publishing: Publishing, config: Config) -> None:
    assert [name["state"] for name in document(wgfleet("list", "--json"))] == ["pending"]
    planned = wgfleet("plan", "wg0").stdout
    assert "A 192.0.2.1: wanted, not there" in planned
    assert planned.splitlines()[-1].endswith(f"for {NAME}: 2 create, 0 update, 0 delete, 0 keep")
    assert publishing.converge(config) == SyncState.SYNCED
    shown = wgfleet("show", "wg0").stdout
    assert "synced" in shown
    assert "192.0.2.1, 192.0.2.2" in shown
    assert "0 create, 0 update, 0 delete, 2 keep" in wgfleet("plan", "wg0").stdout
    assert [entry["action"] for entry in document(wgfleet("history", "wg0", "--json"))] == ["dns_updated"]


def test_a_conflict_is_shown_and_adopted(
    wgfleet: Run, publishing: Publishing, zone: CloudflareEnvironment, config: Config
) -> None:
    zone.plant(NAME, "A", "192.0.2.1")
    publishing.cycle(config)
    assert document(wgfleet("show", "wg0", "--json"))["current"]["state"] == "conflict"
    told = wgfleet("plan", "wg0").stdout
    assert told.startswith("conflict: ")
    assert "see the conflicts" in told
    assert wgfleet("adopt", "wg0", "0" * 16).exit_code == 1
    plan = document(wgfleet("plan", "wg0", "--adopt", "--json"))["id"]
    assert wgfleet("adopt", "wg0", plan).exit_code == 0
    assert publishing.converge(config) == SyncState.SYNCED
    assert {address for _, address, _ in publishing.listed(config)} == {"192.0.2.1", "192.0.2.2"}


def test_a_name_is_left_alone_until_it_is_tried_again(wgfleet: Run, publishing: Publishing, config: Config) -> None:
    assert "cancelled" in wgfleet("cancel", "wg0").stdout
    assert not publishing.cycle(config)
    assert wgfleet("approve", "wg0", "0" * 16).exit_code == 1
    assert document(wgfleet("retry", "wg0", "--json"))["current"]["state"] == "pending"
    assert publishing.converge(config) == SyncState.SYNCED
    assert len(document(wgfleet("list", "--state", "synced", "--json"))) == 1


def test_a_check_ends_with_1_where_the_token_is_refused(
    wgfleet: Run, zone: CloudflareEnvironment, config: Config
) -> None:
    assert config.name == "wg0"
    good = wgfleet("check", "wg0")
    assert good.exit_code == 0, good.stderr
    assert "it is 'example.com', which 'vpn.example.com' is in" in good.stdout
    zone.token.status = "disabled"
    bad = wgfleet("check", "wg0")
    assert bad.exit_code == 1
    assert "Invalid access token" in bad.stdout
    assert SECRET not in bad.stdout + bad.stderr
    assert wgfleet("check", "nowhere").exit_code == 4
