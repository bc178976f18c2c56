"""Published names of a world: the rows, a zone in memory, and its syncs, one cycle at a time or by a worker."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from tests.panel.dns.zone import Scripted, Zone
from tests.panel.world import ACTOR, World
from wgfleet.panel import clock
from wgfleet.panel.dns.metrics import DnsMetrics
from wgfleet.panel.dns.plugins import DnsPlugins
from wgfleet.panel.dns.providers import ProviderType
from wgfleet.panel.dns.publisher import Publisher
from wgfleet.panel.dns.rate_limits import Limiter
from wgfleet.panel.domain.dns.listing import DnsMode, OnDrift
from wgfleet.panel.domain.dns.records import mark
from wgfleet.panel.domain.health.votes import Health, Standing
from wgfleet.panel.reconcile.agents.connections import Connections
from wgfleet.panel.reconcile.dispatcher import Dispatcher
from wgfleet.panel.reconcile.dns import DnsWorker
from wgfleet.panel.reconcile.engine.keyed_runner import Key, Runner
from wgfleet.panel.reconcile.engine.tasks import BackgroundTasks
from wgfleet.panel.services import audit, configs, health
from wgfleet.panel.services.dns.settings import DnsSpec
from wgfleet.panel.services.fleet import endpoint_groups
from wgfleet.panel.services.fleet.endpoint_groups import EndpointGroupSpec
from wgfleet.panel.settings.dns import DnsSettings
from wgfleet.panel.store import dns as dns_rows
from wgfleet.panel.store.tables import AuditEntry, Config, DnsSync, Node
from wgfleet.panel.store.wakes import Topic

NAME = "vpn.example.com"


@dataclass
class Desk:
    world: World
    zone: Zone = field(default_factory=Zone)
    rules: DnsSettings = field(default_factory=lambda: DnsSettings(gather_s=0, approval_records=2))

    def __post_init__(self) -> None:
        kind: ProviderType = Scripted(self.zone)
        self.plugins = DnsPlugins({"scripted": kind})
        self.restart()

    def restart(self) -> None:
        """Forget all that is not in rows."""
        self.publisher = Publisher(self.plugins, Limiter(self.world.store, self.world.vault), DnsMetrics())
        self.worker = DnsWorker(self.world.store, self.world.vault, self.publisher, self.rules)

    def mark(self, config: Config) -> str:
        with self.world.store.read() as tx:
            return mark(dns_rows.panel_id(tx) or "panel", config.id)

    def publish(self, config: Config, **values: Any) -> None:
        """Save the config's endpoint group. `mode` and `drift` are those of its name."""
        dns = DnsSpec(
            "scripted",
            values.pop("zone", "example.com"),
            mode=DnsMode(values.pop("mode", "sync")),
            drift=OnDrift(values.pop("drift", "repair")),
            options=values.pop("options", None),
        )
        spec = EndpointGroupSpec(**{"domain": NAME, "dns": dns, **values})
        with self.world.store.write() as tx:
            fresh = configs.get(tx, config.id)
            endpoint_groups.put(tx, self.world.vault, ACTOR, fresh, spec, self.plugins)

    def unpublish(self, config: Config) -> None:
        with self.world.store.write() as tx:
            endpoint_groups.delete(tx, self.world.vault, ACTOR, configs.get(tx, config.id))

    def cycle(self) -> None:
        """Consider every name once."""
        with self.world.store.read() as tx:
            found = dns_rows.ids(tx)
        for sync_id in found:
            asyncio.run(self.worker.reconcile(sync_id))

    def sync(self, config: Config) -> DnsSync:
        with self.world.store.read() as tx:
            [sync] = dns_rows.of_config(tx, config.id)
            return sync

    def syncs(self, config: Config) -> list[DnsSync]:
        with self.world.store.read() as tx:
            return dns_rows.of_config(tx, config.id)

    def judged(self, config: Config, node: Node, state: Health) -> None:
        """Record a node's health."""
        with self.world.store.write() as tx:
            health.record(tx, config.id, {node.id: Standing(state, clock.now(), "as the test says", ())})

    def history(self, config: Config, action: str | None = None) -> list[AuditEntry]:
        """Return the audit entries about the config's names, oldest first."""
        with self.world.store.read() as tx:
            found, _ = dns_rows.history(tx, config.id, 1000, 0)
        return [entry for entry in reversed(found) if action in {None, entry.action}]

    def audited(self, action: str) -> list[AuditEntry]:
        with self.world.store.read() as tx:
            return list(audit.page(tx, action=action, limit=1000)[0])

    @contextmanager
    def working(self) -> Iterator[None]:
        """Have a worker sync the names, as a panel does, while the block runs."""
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever)
        thread.start()
        worker = DnsWorker(self.world.store, self.world.vault, self.publisher, self.rules)

        async def reconcile(key: Key) -> float | None:
            return await worker.reconcile(key.id) if key.kind == Topic.DNS else None

        runner, tasks, nobody = Runner(reconcile), BackgroundTasks(), cast("Connections", {})
        dispatcher = Dispatcher(self.world.store, runner, nobody, worker)

        async def start() -> None:
            dispatcher.listen()
            tasks.start("dispatch", dispatcher.run)
            tasks.start("resync", dispatcher.resync)

        async def end() -> None:
            await tasks.close()
            await runner.close()
            worker.close()
            assert not tasks.deaths["dispatch"] + tasks.deaths["resync"]

        asyncio.run_coroutine_threadsafe(start(), loop).result()
        try:
            yield
        finally:
            asyncio.run_coroutine_threadsafe(end(), loop).result()
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()


class Hands:
    """Moves the panel's clock, which stands still meanwhile: a slow machine changes nothing."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._now = clock.now()
        monkeypatch.setattr(clock, "now", lambda: self._now)

    def move(self, seconds: float) -> None:
        self._now += seconds
