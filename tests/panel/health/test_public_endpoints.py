"""Each public address and port of a node: one that answers keeps it in use, and one that does not is said."""

import asyncio
from dataclasses import dataclass, field

import pytest

from tests.panel.health.test_monitor import Network, monitor_on, on_paper, state, until
from tests.panel.world import ACTOR, World
from wgfleet.panel.dns.plugins import DnsPlugins
from wgfleet.panel.domain.health import public_endpoints
from wgfleet.panel.domain.health.public_endpoints import PublicEndpoints
from wgfleet.panel.domain.health.votes import Health
from wgfleet.panel.reconcile import new_addresses, probes
from wgfleet.panel.services import configs
from wgfleet.panel.services import health as health_service
from wgfleet.panel.services.dns import serving_nodes
from wgfleet.panel.services.fleet import endpoint_groups, nodes
from wgfleet.panel.services.fleet.endpoint_groups import EndpointGroupSpec
from wgfleet.panel.store import assignments as assignment_rows
from wgfleet.panel.store import nodes as node_rows
from wgfleet.panel.store.tables import Config, Node
from wgfleet.probing.prober import ProbeOutcome
from wgfleet.protocol.messages import ProbeRequest, ProbeResult, ProbeTarget

FIRST, SECOND = "192.0.2.1:51820", "[2001:db8::1]:51820"


@dataclass
class NotedNetwork(Network):
    """Notes where the panel probes."""

    asked: list[str] = field(default_factory=list)

    async def probe(
        self, asked: ProbeRequest | ProbeTarget, _timeout_s: float = 0.0, _notices: object = (), **_beside: str
    ) -> ProbeResult | ProbeOutcome:
        self.asked += [asked.endpoint] if isinstance(asked, ProbeTarget) else []
        return await super().probe(asked)


def reason(world: World, config: Config, node: Node) -> str:
    with world.store.read() as tx:
        found = assignment_rows.get(tx, config.id, node.id)
    assert found is not None
    return found.health_reason


def test_a_node_with_an_address_that_answers_serves_and_the_silent_one_is_said(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probes, "SURVEY_S", 0.2)
    monkeypatch.setattr(probes, "SURVEY_LOOK_S", 0.05)
    config = world.config()
    found = world.serving(config, "fra1", "ams1", "par1")
    with world.store.write() as tx:
        node = node_rows.find(tx, found[0].id)
        assert node is not None
        node.endpoint_addresses = ["192.0.2.1", "2001:db8::1"]
    network = NotedNetwork()
    monitor = monitor_on(network, world, found, monkeypatch)

    async def watched() -> None:
        watching_them = monitor.start()
        try:
            # Each is heard before one falls silent: of what was never heard, other things are said.
            await until(lambda: {FIRST, SECOND} <= set(network.asked))
            await asyncio.sleep(0.5)
            network.dead = {FIRST}
            said = f"no answer at {FIRST}; it answers at {SECOND}"
            await until(lambda: reason(world, config, found[0]) == said)
            assert state(world, config, found[0]) is Health.SERVING
            network.dead = set()
            await until(lambda: reason(world, config, found[0]) == "answers")
            network.dead = {FIRST, SECOND}
            await until(lambda: state(world, config, found[0]) is Health.DOWN)
        finally:
            await watching_them.stop()

    on_paper(monkeypatch, watched)
    with world.store.read() as tx:
        changes = health_service.history(tx, config.id)
    assert [(change.before, change.after) for change in changes] == [("serving", "down")]


def test_an_address_that_stays_silent_is_published_no_more_until_it_answers(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probes, "SURVEY_S", 0.1)
    monkeypatch.setattr(probes, "SURVEY_LOOK_S", 0.05)
    monkeypatch.setattr(public_endpoints, "SILENT_S", 0.3)
    config = world.config()
    found = world.serving(config, "fra1", "ams1")
    with world.store.write() as tx:
        for number, each in enumerate(found, 1):
            node = node_rows.find(tx, each.id)
            assert node is not None
            node.endpoint_addresses = [f"192.0.2.{number}", f"2001:db8::{number}"]
    network = Network()
    monitor = monitor_on(network, world, found, monkeypatch)

    def published() -> set[str]:
        with world.store.read() as tx:
            return {address for each in serving_nodes.of_config(tx, config.id) for address in each.addresses}

    everything = {"192.0.2.1", "2001:db8::1", "192.0.2.2", "2001:db8::2"}

    async def watched() -> None:
        watching_them = monitor.start()
        try:
            network.dead = {SECOND}
            await until(lambda: published() == everything - {"2001:db8::1"})
            with world.store.read() as tx:
                reason, _ = serving_nodes.change_reason(tx, config.id, everything, published())
                assert reason == "node fra1 does not answer at 2001:db8::1"
                assert "2001:db8::1" not in serving_nodes.removed_by_operators(tx, config.id)
            network.dead = set()
            await until(lambda: published() == everything)
        finally:
            await watching_them.stop()

    on_paper(monkeypatch, watched)


def test_a_new_address_is_used_once_the_node_answers_there_and_the_old_one_stays_until_then(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probes, "SURVEY_S", 0.1)
    monkeypatch.setattr(probes, "SURVEY_LOOK_S", 0.05)
    monkeypatch.setattr(new_addresses, "LOOK_S", 0.05)
    config = world.config()
    fra1, ams1 = found = world.serving(config, "fra1", "ams1")
    network = NotedNetwork(dead={"192.0.2.7:51820", "192.0.2.8:51820"})

    def ask(addresses: list[str], *, force: bool = False) -> None:
        with world.store.write() as tx:
            nodes.update(tx, ACTOR, nodes.get(tx, fra1.id), {"endpoint_addresses": addresses}, force=force)

    def addresses() -> tuple[list[str], list[str]]:
        with world.store.read() as tx:
            node = nodes.get(tx, fra1.id)
            assert {*node.endpoint_addresses} < {
                each for of in serving_nodes.of_config(tx, config.id) for each in of.addresses
            }
            return node.endpoint_addresses, node.next_endpoint_addresses

    monitor = monitor_on(network, world, found, monkeypatch)

    async def watched() -> None:
        watching_them = monitor.start()
        try:
            ask(["192.0.2.7"])
            await until(lambda: network.asked.count("192.0.2.7:51820") > 2)
            assert addresses() == (["192.0.2.1"], ["192.0.2.7"])
            assert state(world, config, fra1) is Health.SERVING
            network.dead = {"192.0.2.8:51820"}
            await until(lambda: addresses() == (["192.0.2.7"], []))
        finally:
            await watching_them.stop()

    on_paper(monkeypatch, watched)
    ask(["192.0.2.8"])
    ask(["192.0.2.7"])
    assert addresses() == (["192.0.2.7"], []), "the addresses that it has, asked for again, end the wait"
    ask(["192.0.2.8"])
    ask(["192.0.2.8"], force=True)
    assert addresses() == (["192.0.2.8"], [])
    ask(["192.0.2.9"])
    with world.store.write() as tx:
        nodes.update(tx, ACTOR, nodes.get(tx, ams1.id), {"endpoint_addresses": ["192.0.2.9"]}, force=True)
        nodes.use_answering(tx, fra1.id, {"192.0.2.9"})
    assert addresses() == (["192.0.2.8"], []), "another node has taken it meanwhile"


@pytest.mark.parametrize(
    ("answered", "missed", "reached", "silent"),
    [
        ({FIRST}, {SECOND}, {4, 6}, ("2001:db8::1",)),
        ({FIRST}, {SECOND}, {4}, None),  # it may be this machine that IPv6 does not work for
        ({FIRST, SECOND}, set(), {4, 6}, ()),
        (set(), {FIRST, SECOND}, {4, 6}, None),
    ],
)
def test_what_may_be_published_no_more(
    answered: set[str], missed: set[str], reached: set[int], silent: tuple[str, ...] | None
) -> None:
    endpoints = PublicEndpoints((FIRST, SECOND), frozenset({FIRST, SECOND}), FIRST)
    for seconds in (0.0, 0.1, 0.2, 10.0):  # looks that follow each other are about one moment
        endpoints.looked_at = 1000.0 + seconds
        endpoints.take(answered, missed)
        assert endpoints.silent_addresses(reached) is None
    endpoints.looked_at = 1000.0 + public_endpoints.SILENT_S
    endpoints.take(answered, missed)
    assert endpoints.silent_addresses(reached) == silent


def test_the_port_of_clients_files_is_looked_at_as_well_as_the_one_where_the_node_listens(world: World) -> None:
    config = world.config()
    world.serving(config, "fra1")
    with world.store.write() as tx:
        spec = EndpointGroupSpec("vpn.example.com", port=443)
        endpoint_groups.put(tx, world.vault, ACTOR, configs.get(tx, config.id), spec, DnsPlugins({}))
    with world.store.read() as tx:
        (probed,) = health_service.watched(tx, world.vault, lambda *_: None)
    assert probed.endpoints == ("192.0.2.1:51820", "192.0.2.1:443")
    assert probed.client_endpoints == ("192.0.2.1:443",)


def test_only_what_clients_use_is_said_and_a_dead_node_is_no_matter_of_an_address() -> None:
    endpoints = PublicEndpoints(("a:51820", "a:443"), frozenset({"a:443"}), "a:51820")
    for _ in range(3):
        endpoints.take({"a:443"}, {"a:51820"})
    assert (endpoints.used, endpoints.trouble) == ("a:443", "")
    for _ in range(2):
        assert endpoints.trouble == ""
        endpoints.take({"a:51820"}, {"a:443"})
    assert (endpoints.used, endpoints.trouble) == ("a:51820", "no answer at a:443; it answers at a:51820")
    endpoints.take(set(), {"a:51820", "a:443"})
    endpoints.take(set(), {"a:51820", "a:443"})
    assert endpoints.trouble == ""
