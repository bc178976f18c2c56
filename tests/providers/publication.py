"""A panel's database whose configs publish their names at the Cloudflare stand-in, by the panel's own publisher.

Time is the panel's clock moved on: nobody waits for a retry or for the end of a block.
"""

import itertools
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

from tests.migrated import migrated_at
from tests.panel.world import World, opened
from tests.providers.cloudflare.environment import SECRET, ZONE, ZONE_ID, CloudflareEnvironment, cloudflare
from tests.providers.cloudflare.models import Stored
from wgfleet.panel import clock, faultpoints
from wgfleet.panel.dns.metrics import DnsMetrics
from wgfleet.panel.dns.plugins import DnsPlugins
from wgfleet.panel.dns.providers.cloudflare import Cloudflare
from wgfleet.panel.dns.publisher import Publisher
from wgfleet.panel.dns.rate_limits import Limiter
from wgfleet.panel.domain.dns.states import SyncState
from wgfleet.panel.errors import PanelError, PermanentError, TransientError
from wgfleet.panel.services import configs
from wgfleet.panel.services.dns import desired, results
from wgfleet.panel.services.fleet import endpoint_groups, nodes
from wgfleet.panel.services.fleet.endpoint_groups import EndpointGroupSpec
from wgfleet.panel.services.fleet.nodes import NodeSpec
from wgfleet.panel.settings.dns import DnsSettings
from wgfleet.panel.store import dns as dns_rows
from wgfleet.panel.store.tables import Config, DnsSync, Node

# A machine that is busy has answers lost that nobody meant to lose.
PATIENCE_S = 60.0
LITTLE_PATIENCE_S = 2.0  # where an answer is meant to be lost
MAX_CYCLES = 40  # of one name until it is as desired; more means that it never will be
ACTOR = "test"


@dataclass(frozen=True)
class Calls:
    """What the stand-in's log has of some time: calls that read, calls that write, and s by the panel's clock."""

    reads: int
    writes: int
    seconds: float


class Killed(BaseException):
    """The panel ends here, without a word."""


class Clock:
    """The wall clock, moved on by hand."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def now(self) -> float:
        return time.time() + self.ahead_s


class Panel:
    """Configs, nodes, and the publisher of their names."""

    def __init__(self, world: World, at: CloudflareEnvironment, moved: Clock) -> None:
        self.world = world
        self.at = at
        self.clock = moved
        self.rules = DnsSettings()
        self._numbers = itertools.count(1)
        self._hosts = itertools.count()
        self._patience_s = PATIENCE_S
        self.publisher = self._publisher()

    def _publisher(self) -> Publisher:
        defaults = {"token": SECRET, "api_url": self.at.stand_in.url, "timeout_s": self._patience_s}
        registry = DnsPlugins({"cloudflare": Cloudflare}, {"cloudflare": defaults})
        return Publisher(registry, Limiter(self.world.store, self.world.vault), DnsMetrics())

    def restart(self) -> None:
        """Forget all that is not in rows."""
        self.publisher.close()
        self.publisher = self._publisher()

    @contextmanager
    def little_patience(self) -> Iterator[None]:
        """Wait for answers only as long as for those that never come."""
        self._patience_s = LITTLE_PATIENCE_S
        self.restart()
        yield
        self._patience_s = PATIENCE_S
        self.restart()

    def node(self, name: str) -> Node:
        """Make a node with an address that no other has."""
        number = next(self._hosts)
        with self.world.store.write() as tx:
            return nodes.create(tx, ACTOR, NodeSpec(name, [f"198.51.{100 + number // 250}.{1 + number % 250}"]))

    def publish(self, *served: Node, ttl: int = 300) -> Config:
        """Make a config that these nodes serve, and have its name published; none of it is done yet."""
        number = next(self._numbers)
        config = self.world.config(f"wg{number}", pools=(f"10.{number}.0.0/16",))
        for node in served:
            self.serve(config, node)
        self._save(config, f"vpn{number}.{ZONE}", ttl)
        return config

    def _save(self, config: Config, domain: str, ttl: int) -> None:
        spec = EndpointGroupSpec(domain=domain, ttl=ttl, cloudflare_zone_id=ZONE_ID)
        with self.world.store.write() as tx:
            fresh = configs.get(tx, config.id)
            endpoint_groups.put(tx, self.world.vault, ACTOR, fresh, spec, self.publisher.plugins)

    def serve(self, config: Config, node: Node) -> None:
        self.world.assign(config, node)
        self.world.sync(config, node)

    def set_ttl(self, config: Config, ttl: int) -> None:
        self._save(config, self.name(config), ttl)

    def name(self, config: Config) -> str:
        return self._sync(config).name

    def _sync(self, config: Config) -> DnsSync:
        with self.world.store.read() as tx:
            (sync,) = dns_rows.of_config(tx, config.id)
            return sync

    def die_after_the_call(self, config: Config) -> None:
        """Sync, end as a panel does that is killed once the provider has taken the changes, and start again."""

        def killed(_point: str) -> None:
            raise Killed

        with patch.object(faultpoints, "reached", killed), suppress(Killed):
            self.cycle(config)
        self.restart()

    def cycle(self, config: Config) -> bool:
        """Do what the panel's worker does next for the config's name; False where it only waits."""
        sync_id = self._sync(config).id
        with self.world.store.write() as tx:
            schedule = desired.waiting(tx, sync_id, self.rules)
            if schedule is None:
                schedule = desired.record_desired(tx, self.world.vault, sync_id, self.rules)
        if schedule.due is None:
            if schedule.wait_s is not None:
                self.clock.ahead_s += schedule.wait_s + 0.001
            return False
        try:
            result = self.publisher.sync(schedule.due.target)
        except (TransientError, PermanentError, PanelError) as error:
            with self.world.store.write() as tx:
                results.record_failure(tx, schedule.due, error, self.rules)
        else:
            with self.world.store.write() as tx:
                results.record_result(tx, schedule.due, result, self.rules)
        return True

    def converge(self, config: Config) -> SyncState:
        """Sync until the name is as desired; return its last state. Waits are skipped."""
        for _ in range(MAX_CYCLES):
            if self.cycle(config):
                sync = self._sync(config)
                if sync.state is SyncState.SYNCED and (sync.published_at or 0) >= sync.decided_at:
                    break
        return self._sync(config).state

    @contextmanager
    def counted(self) -> Iterator[list[Calls]]:
        """Count calls by the stand-in's log; the result is in the list at the end."""
        found: list[Calls] = []
        before, since = len(self.at.stand_in.exchanges), self.clock.now()
        yield found
        done = self.at.stand_in.exchanges[before:]
        writes = sum(exchange["method"] != "GET" for exchange in done)
        found.append(Calls(len(done) - writes, writes, round(self.clock.now() - since, 1)))

    def listed(self, config: Config) -> set[tuple[str, str, int]]:
        """Return what the zone lists as ours at the config's name."""
        name = self.name(config)
        return {
            (row.type, row.content, row.ttl)
            for row in self.at.rows.records.values()
            if row.name == name and (row.comment or "").endswith(f"/{config.id}") and not row.proxied
        }

    def others(self, config: Config) -> dict[str, Stored]:
        """Return all records of the zone that are not the config's, as they are to the last field."""
        mine = f"/{config.id}"
        return {id_: row for id_, row in self.at.rows.records.items() if not (row.comment or "").endswith(mine)}


@contextmanager
def panel(folder: Path) -> Iterator[Panel]:
    """Open a panel on a new database in the folder, and a stand-in."""
    moved = Clock()
    with ExitStack() as stack:
        stack.enter_context(patch.object(clock, "now", moved.now))
        at = stack.enter_context(cloudflare())
        at.stand_in.limit = type(at.stand_in.limit)(now=moved.now)
        world = stack.enter_context(opened(migrated_at(folder / "panel.sqlite")))
        made = Panel(world, at, moved)
        yield made
        made.publisher.close()
