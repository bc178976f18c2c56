"""Published names of a world: the rows, a zone in memory, and the looks at it, one at a time or by themselves."""

import asyncio
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.panel.dns.zone import Scripted, Zone
from tests.panel.world import ACTOR, World
from wgfleet.panel import clock
from wgfleet.panel.dns.metrics import Meters
from wgfleet.panel.dns.plugins import Registry
from wgfleet.panel.dns.providers import ProviderType
from wgfleet.panel.dns.publisher import Publisher
from wgfleet.panel.dns.rate_limits import Limiter
from wgfleet.panel.domain.dns.listing import Mode, OnDrift
from wgfleet.panel.domain.dns.records import mark
from wgfleet.panel.domain.health.votes import Health, Standing
from wgfleet.panel.reconcile.dns import Zones
from wgfleet.panel.reconcile.engine.keyed_runner import Key
from wgfleet.panel.services import audit, configs, health
from wgfleet.panel.services.dns.settings import DnsSpec
from wgfleet.panel.services.fleet import endpoint_groups
from wgfleet.panel.services.fleet.endpoint_groups import EndpointGroupSpec
from wgfleet.panel.settings.model import Dns
from wgfleet.panel.store import dns as dns_rows
from wgfleet.panel.store.tables import AuditEntry, Config, DnsSync, Node
from wgfleet.panel.store.wakes import Topic, Wake

NAME = "vpn.example.com"


@dataclass
class Desk:
    world: World
    zone: Zone = field(default_factory=Zone)
    rules: Dns = field(default_factory=lambda: Dns(gather_s=0, approval_records=2))

    def __post_init__(self) -> None:
        kind: ProviderType = Scripted(self.zone)
        self.registry = Registry({"scripted": kind})
        self.restart()

    def restart(self) -> None:
        """Forget all that is not in rows."""
        self.publisher = Publisher(self.registry, Limiter(self.world.store), Meters())
        self.zones = Zones(self.world.store, self.world.vault, self.publisher, self.rules)

    def mark(self, config: Config) -> str:
        with self.world.store.read() as tx:
            return mark(dns_rows.panel_id(tx) or "panel", config.id)

    def publish(self, config: Config, **values: Any) -> None:
        """Save the config's endpoint group. `mode` and `drift` are those of its name."""
        dns = DnsSpec(
            "scripted",
            values.pop("zone", "example.com"),
            mode=Mode(values.pop("mode", "sync")),
            drift=OnDrift(values.pop("drift", "repair")),
            options=values.pop("options", None),
        )
        spec = EndpointGroupSpec(**{"domain": NAME, "dns": dns, **values})
        with self.world.store.write() as tx:
            fresh = configs.get(tx, config.id)
            endpoint_groups.put(tx, self.world.vault, ACTOR, fresh, spec, self.registry)

    def unpublish(self, config: Config) -> None:
        with self.world.store.write() as tx:
            endpoint_groups.delete(tx, self.world.vault, ACTOR, configs.get(tx, config.id))

    def cycle(self) -> None:
        """Consider every name once."""
        with self.world.store.read() as tx:
            found = dns_rows.ids(tx)
        for sync_id in found:
            asyncio.run(self.zones.reconcile(Key("dns", sync_id)))

    def sync(self, config: Config) -> DnsSync:
        with self.world.store.read() as tx:
            [sync] = dns_rows.of_config(tx, config.id)
            return sync

    def syncs(self, config: Config) -> list[DnsSync]:
        with self.world.store.read() as tx:
            return dns_rows.of_config(tx, config.id)

    def judged(self, config: Config, node: Node, state: Health) -> None:
        """Have a node's health decided."""
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
        """Have names looked at by themselves, as a panel does, while the block runs."""
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever)
        thread.start()
        zones = Zones(self.world.store, self.world.vault, self.publisher, self.rules)
        tasks: set[asyncio.Task[None]] = set()
        ended = asyncio.Event()  # the store keeps its listeners, and tells of what is written after the block too

        def hear(wakes: list[Wake]) -> None:
            if loop.is_closed():
                return
            topics: dict[Topic, list[str]] = defaultdict(list)
            for each in wakes:
                topics[each.topic].append(each.id)
            loop.call_soon_threadsafe(wake, topics)

        def wake(topics: dict[Topic, list[str]]) -> None:
            if ended.is_set():
                return
            woken = zones.wake(
                syncs=topics[Topic.DNS],
                configs=topics[Topic.CONFIG],
                assignments=topics[Topic.ASSIGNMENT],
                nodes=topics[Topic.NODE],
            )
            tasks.add(loop.create_task(woken))

        async def end() -> None:
            ended.set()
            await zones.close()
            await asyncio.gather(*tasks)

        self.world.store.listen(hear)
        asyncio.run_coroutine_threadsafe(zones.wake_all(), loop).result()
        try:
            yield
        finally:
            asyncio.run_coroutine_threadsafe(end(), loop).result()
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()


class Hands:
    """Moves the panel's clock."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ahead_s = 0.0
        real = clock.now
        monkeypatch.setattr(clock, "now", lambda: real() + self.ahead_s)

    def move(self, seconds: float) -> None:
        self.ahead_s += seconds
