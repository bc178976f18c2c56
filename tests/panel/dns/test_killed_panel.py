"""A panel's own process that is killed once the provider has taken a change, and started again."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.panel.world import ACTOR, World
from tests.providers.cloudflare.environment import SECRET, ZONE, ZONE_ID, CloudflareEnvironment, cloudflare
from tests.waiting import eventually
from wgfleet.panel import faultpoints
from wgfleet.panel.dns.plugins import DnsPlugins
from wgfleet.panel.domain.dns.states import SyncState
from wgfleet.panel.services import configs
from wgfleet.panel.services.dns.settings import DnsSpec
from wgfleet.panel.services.fleet import endpoint_groups
from wgfleet.panel.services.fleet.endpoint_groups import EndpointGroupSpec
from wgfleet.panel.store import Store
from wgfleet.panel.store import dns as dns_rows
from wgfleet.panel.store.schema import migrate
from wgfleet.panel.store.tables import DnsSync
from wgfleet.panel.vault import load_vault

pytestmark = pytest.mark.slow

NAME = f"vpn.{ZONE}"
WGFLEET = str(Path(sys.executable).parent / "wgfleet")


@pytest.fixture
def provider() -> Iterator[CloudflareEnvironment]:
    with cloudflare() as opened:
        yield opened


@contextmanager
def panel(data_dir: Path, environment: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    command = [WGFLEET, "panel", "run", "--data-dir", str(data_dir), "--no-panel-node", "--listen", "127.0.0.1:0"]
    inside = {"WGFLEET_DNS__ALLOWED_SERVERS": "127.0.0.1"}  # where the stand-in is
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, env={**os.environ, **inside, **environment}) as process:
        try:
            yield process
        finally:
            process.kill()


def test_what_was_written_before_the_panel_was_killed_is_found_and_not_written_again(
    provider: CloudflareEnvironment, tmp_path: Path
) -> None:
    tmp_path.chmod(0o700)
    url = f"sqlite:///{tmp_path / 'panel.sqlite'}"
    world = World(Store(url), load_vault(tmp_path, {}))
    migrate(world.store)
    config = world.config()
    addresses = {node.endpoint_addresses[0] for node in world.serving(config, "fra1", "ams1")}
    options = {"token": SECRET, "api_url": provider.stand_in.url}
    spec = EndpointGroupSpec(domain=NAME, dns=DnsSpec("cloudflare", ZONE_ID, options=options))
    with world.store.write() as tx:
        fresh = configs.get(tx, config.id)
        endpoint_groups.put(tx, world.vault, ACTOR, fresh, spec, DnsPlugins.installed())

    def sync() -> DnsSync:
        with world.store.read() as tx:
            (found,) = dns_rows.of_config(tx, config.id)
            return found

    def listed() -> set[str]:
        return {content for _, content, _ in provider.records(NAME)}

    with panel(tmp_path, {faultpoints.VARIABLE: "dns.applied"}) as process:
        assert process.wait(120) == -signal.SIGKILL
    assert (listed(), sync().state, sync().published) == (addresses, SyncState.PENDING, [])
    before = len(provider.stand_in.writes)
    with panel(tmp_path, {}):
        eventually(lambda: sync().state == SyncState.SYNCED, 120)
    assert (listed(), set(sync().published)) == (addresses, addresses)
    assert (len(provider.records(NAME)), len(provider.stand_in.writes)) == (2, before)
    with world.store.read() as tx:
        history, _ = dns_rows.history(tx, config.id, 100, 0)
    assert [set(entry.details["added"]) for entry in history if entry.action == "dns_updated"] == [addresses]
    world.store.close()
