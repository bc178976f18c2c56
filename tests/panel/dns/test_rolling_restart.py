"""Twenty nodes are restarted one after the other, on a real Knot that is asked for their name every 50 ms."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import dns.message
import dns.query
import pytest

from tests.panel.dns.desk import Desk
from tests.panel.world import ACTOR
from tests.providers.knot import ADDRESS, Knot, knot
from tests.waiting import eventually
from wgfleet.panel.dns.plugins import DnsPlugins
from wgfleet.panel.dns.providers.rfc2136 import Rfc2136
from wgfleet.panel.domain.dns.states import SyncState
from wgfleet.panel.domain.health.votes import Health
from wgfleet.panel.services import configs
from wgfleet.panel.services.dns.settings import DnsSpec
from wgfleet.panel.services.fleet import endpoint_groups
from wgfleet.panel.services.fleet.endpoint_groups import EndpointGroupSpec
from wgfleet.panel.settings.dns import DnsSettings
from wgfleet.panel.store.tables import Config

pytestmark = pytest.mark.servers
NODES, EVERY_S = 20, 0.05


class Resolver:
    """Asks a server for a name all the time."""

    def __init__(self, server: Knot, name: str) -> None:
        self.answers: list[frozenset[str]] = []
        self._server = server
        self._name = name

    def ask(self) -> frozenset[str]:
        query = dns.message.make_query(self._name, "A", use_edns=0)
        answer = dns.query.udp(query, ADDRESS, 60, self._server.port)
        return frozenset(rdata.address for rrset in answer.answer for rdata in rrset)

    def wait_without(self, address: str) -> None:
        eventually(lambda: address not in self.ask())

    @contextmanager
    def asking(self) -> Iterator[None]:
        ended = threading.Event()

        def run() -> None:
            while not ended.wait(EVERY_S):
                self.answers.append(self.ask())

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()


@pytest.fixture
def server() -> Iterator[Knot]:
    with knot() as running:
        yield running


def test_a_rolling_restart_costs_a_change_a_node_and_the_name_never_lacks_two(
    desk: Desk, wg0: Config, server: Knot
) -> None:
    # Longer than it takes on a slow machine from one node's return to the next one's death.
    desk.rules, desk.plugins = DnsSettings(gather_s=10), DnsPlugins({"rfc2136": Rfc2136})
    desk.restart()
    machines = desk.world.serving(wg0, *(f"node-{number}" for number in range(1, NODES + 1)))
    addresses = [node.endpoint_addresses[0] for node in machines]
    name = f"vpn.{server.zone}"
    options = {"server": ADDRESS, "port": server.port, "key_name": "wgfleet-test", "key_secret": server.secret}
    spec = EndpointGroupSpec(domain=name, min_nodes=NODES - 1, dns=DnsSpec("rfc2136", server.zone, options=options))
    with desk.world.store.write() as tx:
        endpoint_groups.put(tx, desk.world.vault, ACTOR, configs.get(tx, wg0.id), spec, desk.plugins)
    resolver = Resolver(server, name)
    with desk.working():
        eventually(lambda: resolver.ask() == frozenset(addresses))
        eventually(lambda: desk.sync(wg0).state == SyncState.SYNCED)
        before = _writes(desk)
        with resolver.asking():
            for node, address in zip(machines, addresses, strict=True):
                desk.judged(wg0, node, Health.DOWN)
                resolver.wait_without(address)
                time.sleep(EVERY_S)
                desk.judged(wg0, node, Health.SERVING)
            eventually(lambda: resolver.ask() == frozenset(addresses))
        eventually(lambda: desk.sync(wg0).state == SyncState.SYNCED)
    assert min(map(len, resolver.answers)) == NODES - 1
    assert set().union(*resolver.answers) == set(addresses)
    # Each change takes one node out and lists the one before again; the last node comes back alone.
    assert _writes(desk) - before == NODES + 1


def _writes(desk: Desk) -> int:
    (calls,) = [metric for metric in desk.publisher.metrics.collect() if metric.name == "wgfleet_dns_calls"]
    return sum(
        int(sample.value)
        for sample in calls.samples
        if sample.name.endswith("_total") and sample.labels["call"] == "apply"
    )
