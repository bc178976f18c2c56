"""The plugin that the documentation shows is loaded as one would be, and moves an address of a small cloud."""

import asyncio
import json
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.panel.world import World
from tests.providers.documented import install_package, write_package
from wgfleet.panel import clock
from wgfleet.panel.address_providers import NONE, plugins
from wgfleet.panel.address_providers.builtin import Layer2
from wgfleet.panel.address_providers.plugins import AddressPlugins
from wgfleet.panel.domain.health.votes import Health, Standing
from wgfleet.panel.errors import Invalid, PermanentError
from wgfleet.panel.reconcile.floating import FloatingReconciler
from wgfleet.panel.services import audit, configs, health
from wgfleet.panel.services.fleet import endpoint_groups
from wgfleet.panel.services.fleet.endpoint_groups import EndpointGroupSpec
from wgfleet.panel.services.floating import attempts, views
from wgfleet.panel.services.floating import settings as floating_settings
from wgfleet.panel.services.floating.settings import FloatingSpec
from wgfleet.panel.services.floating.views import AddressView
from wgfleet.panel.store.tables import Config

ADDRESS, OTHER = "203.0.113.10", "203.0.113.11"
TOKEN = "very-secret"  # noqa: S105 - of a cloud that runs in this test


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    """One database will do: what is kept is tested on both."""
    return sqlite_url


@dataclass
class Cloud:
    """Where each address is, and what was asked for; `trouble` is answered to the next calls, as (status, seconds)."""

    url: str = ""
    servers: dict[str, str] = field(default_factory=dict)
    changes: list[tuple[str, str]] = field(default_factory=list)
    trouble: tuple[int, str] | None = None


def handler(cloud: Cloud) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(None)

        def do_PUT(self) -> None:
            self._answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

        def _answer(self, body: dict[str, str] | None) -> None:
            address = self.path.rpartition("/")[2]
            status, wait = cloud.trouble or (200, "")
            if self.headers["Authorization"] != f"Bearer {TOKEN}":
                status = 401
            if status == 200 and body is not None:
                cloud.servers[address] = body["server"]
                cloud.changes.append((address, body["server"]))
            content = json.dumps({"server": cloud.servers.get(address, "")}).encode()
            self.send_response(status)
            if wait:
                self.send_header("Retry-After", wait)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name in the standard library
            """Say nothing."""

    return Handler


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    made = Cloud()
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler(made))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    made.url = f"http://127.0.0.1:{server.server_address[1]}"
    yield made
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The documented module and its entry point, as an installed package has them."""
    write_package("floating.md", tmp_path)
    install_package(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    plugins.allow(["127.0.0.1"])  # where the stand-in is
    yield
    plugins.allow([])
    sys.modules.pop("example_cloud", None)


def put(world: World, config: Config, cloud: Cloud, options: dict[str, Any] | None = None, *more: str) -> None:
    given = {"token": TOKEN, "url": cloud.url, "servers": {"fra1": "srv-1", "ams1": "srv-2"}}
    floats = FloatingSpec([ADDRESS, *more], "example-cloud", given if options is None else options)
    with world.store.write() as tx:
        spec = EndpointGroupSpec(domain="vpn.example.com", floating=floats)
        endpoint_groups.put(tx, world.vault, "test", configs.get(tx, config.id), spec)


def reconcile(world: World, config: Config) -> float | None:
    return asyncio.run(FloatingReconciler(world.store, world.vault, {}).reconcile(config.id))


@pytest.mark.usefixtures("plugin")
def test_an_address_of_a_cloud_goes_where_the_rows_say(world: World, cloud: Cloud) -> None:
    config = world.config()
    fra1, ams1 = world.serving(config, "fra1", "ams1")
    put(world, config, cloud)
    reconcile(world, config)
    assert cloud.servers == {ADDRESS: "srv-1"}
    with world.store.write() as tx:
        health.record(tx, config.id, {fra1.id: Standing(Health.DOWN, clock.now(), "a test says so")})
    reconcile(world, config)
    assert cloud.servers == {ADDRESS: "srv-2"}
    cloud.servers[ADDRESS] = "somebody else's"
    reconcile(world, config)
    reconcile(world, config)
    assert cloud.changes == [(ADDRESS, "srv-1"), (ADDRESS, "srv-2"), (ADDRESS, "srv-2")]
    world.sync(config, ams1)
    assert world.agents[ams1.id, config.id].settings.floating is None


def shown(world: World, config: Config, address: str = ADDRESS) -> AddressView:
    with world.store.read() as tx:
        return views.view(tx, config, address)


def told(world: World, action: str) -> list[dict[str, Any]]:
    with world.store.read() as tx:
        return [entry.details for entry in audit.page(tx, entity_type="floating_address", action=action)[0]]


@pytest.mark.usefixtures("plugin")
def test_a_cloud_s_failure_is_kept_with_the_address_and_told_once(
    world: World, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = world.config()
    world.serving(config, "fra1")
    put(world, config, cloud)
    cloud.trouble = (503, "7")
    begun = clock.now()
    assert reconcile(world, config) == 7
    first = shown(world, config)
    assert (first.error, first.attempts) == (f"Example Cloud: 503 for {ADDRESS}", 1)
    assert first.failing_since is not None
    assert first.failing_since >= begun
    cloud.trouble = None
    assert (reconcile(world, config) or 0) > 0, "another panel than the one that failed waits as well"
    assert cloud.changes == []
    cloud.trouble = (503, "7")
    monkeypatch.setattr(clock, "now", lambda: begun + 60)
    reconcile(world, config)
    second = shown(world, config)
    assert (second.attempts, second.failing_since, second.next_try_at) == (2, first.failing_since, begun + 67)
    cloud.trouble = None
    monkeypatch.setattr(clock, "now", lambda: begun + 68)
    assert reconcile(world, config) is None
    assert cloud.servers == {ADDRESS: "srv-1"}
    mended = shown(world, config)
    assert (mended.error, mended.attempts, mended.failing_since, mended.next_try_at) == (None, 0, None, None)
    assert [details["error"] for details in told(world, "failing")] == [first.error]
    assert [details["attempts"] for details in told(world, "recovered")] == [2]


@pytest.mark.usefixtures("plugin")
def test_a_clock_that_is_set_back_has_nobody_wait_for_it(
    world: World, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = world.config()
    world.serving(config, "fra1")
    put(world, config, cloud)
    cloud.trouble = (503, "30")
    reconcile(world, config)
    cloud.trouble, now = None, clock.now()
    monkeypatch.setattr(clock, "now", lambda: now - 3600)
    reconcile(world, config)
    assert cloud.servers == {ADDRESS: "srv-1"}


@pytest.mark.usefixtures("plugin")
def test_what_only_people_can_mend_is_tried_again_when_they_save_it(world: World, cloud: Cloud) -> None:
    config = world.config()
    world.serving(config, "fra1")
    put(world, config, cloud, {"token": "wrong", "url": cloud.url, "servers": {"fra1": "srv-1"}})
    assert reconcile(world, config) == attempts.LONGEST_DELAY_S
    assert "401" in (shown(world, config).error or "")
    put(world, config, cloud, {"token": TOKEN, "url": cloud.url, "servers": {}})
    reconcile(world, config)
    assert "no id for node 'fra1'" in (shown(world, config).error or "")
    put(world, config, cloud)
    reconcile(world, config)
    assert shown(world, config).error is None


@pytest.mark.usefixtures("plugin")
def test_an_address_that_cannot_be_had_holds_up_neither_another_nor_its_next_holder(world: World, cloud: Cloud) -> None:
    config = world.config()
    fra1, _ = world.serving(config, "fra1", "ams1")
    put(world, config, cloud, {"token": TOKEN, "url": cloud.url, "servers": {"ams1": "srv-2"}}, OTHER)
    reconcile(world, config)
    assert cloud.servers == {OTHER: "srv-2"}
    assert shown(world, config).error is not None
    with world.store.write() as tx:
        health.record(tx, config.id, {fra1.id: Standing(Health.DOWN, clock.now(), "a test says so")})
    reconcile(world, config)
    assert cloud.servers == {OTHER: "srv-2", ADDRESS: "srv-2"}


@pytest.mark.usefixtures("plugin")
def test_a_plugin_that_is_gone_is_said_of_its_addresses(
    world: World, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = world.config()
    world.serving(config, "fra1")
    put(world, config, cloud)
    without = AddressPlugins(
        {name: kind for name, kind in plugins.installed().types.items() if name != "example-cloud"}
    )
    with monkeypatch.context() as uninstalled:
        uninstalled.setattr(plugins, "installed", lambda: without)
        assert reconcile(world, config) == attempts.LONGEST_DELAY_S
    names = ", ".join(without.names)
    assert shown(world, config).error == f"there is no address provider 'example-cloud'; installed: {names}"


@pytest.mark.usefixtures("plugin")
def test_a_provider_s_secrets_are_sealed_and_not_shown(world: World, cloud: Cloud) -> None:
    config = world.config()
    put(world, config, cloud)
    with world.store.read() as tx:
        group = endpoint_groups.get(tx, configs.get(tx, config.id))
    assert TOKEN.encode() not in (group.address_options_sealed or b"")
    shown = floating_settings.shown(world.vault, group)
    assert shown == {"token": "(set)", "url": cloud.url, "servers": {"fra1": "srv-1", "ams1": "srv-2"}}
    world.serving(config, "fra1")
    put(world, config, cloud, shown)
    reconcile(world, config)
    assert cloud.servers == {ADDRESS: "srv-1"}, "the cloud would refuse another token than the one that was kept"
    with pytest.raises(
        Invalid, match="re-enter this secret: it is kept only if provider and all other options"
    ) as refusal:
        put(world, config, cloud, {**shown, "url": "http://127.0.0.1:1"})
    assert refusal.value.field == "address_options.token"
    with pytest.raises(Invalid) as refusal:
        put(world, config, cloud, {"token": TOKEN, "servers": {"fra1": 1}})
    assert refusal.value.field == "address_options.servers.fra1"


def test_the_providers_of_the_panel_are_installed() -> None:
    found = plugins.installed()
    assert {NONE, Layer2.name} <= set(found.names)
    assert not found.find(NONE).on_agent
    assert found.find(Layer2.name).on_agent
    with pytest.raises(PermanentError, match="no address provider 'nothing'; installed: "):
        found.find("nothing")
