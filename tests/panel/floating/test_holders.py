"""Floating addresses go from node to node, and no two ever have one at the same time."""

from collections.abc import Mapping
from typing import Any

import pytest

from tests.panel.conftest import one_database
from tests.panel.world import World
from wgfleet.panel import clock
from wgfleet.panel.address_providers.builtin import Layer2
from wgfleet.panel.domain.floating import GIVE_UP_AFTER_S
from wgfleet.panel.domain.health.votes import Health, Standing
from wgfleet.panel.errors import Conflict, Invalid
from wgfleet.panel.reconcile.agents.render_cache import RenderCache
from wgfleet.panel.services import audit, configs, health
from wgfleet.panel.services.fleet import desired, endpoint_groups, nodes
from wgfleet.panel.services.fleet.endpoint_groups import EndpointGroupSpec
from wgfleet.panel.services.fleet.nodes import NodeSpec
from wgfleet.panel.services.floating import holders, isolation, views
from wgfleet.panel.services.floating.settings import FloatingSpec
from wgfleet.panel.store import assignments as assignment_rows
from wgfleet.panel.store import nodes as node_rows
from wgfleet.panel.store.tables import Config, Node
from wgfleet.protocol.desired import LEASE_MARGIN_S

A1, A2 = "203.0.113.1", "203.0.113.2"


def put(
    world: World, config: Config, *addresses: str, provider: str = Layer2.name, options: Mapping[str, Any] | None = None
) -> None:
    spec = EndpointGroupSpec(domain="vpn.example.com", floating=FloatingSpec(addresses, provider, options))
    with world.store.write() as tx:
        endpoint_groups.put(tx, world.vault, "test", configs.get(tx, config.id), spec)


def becomes(
    world: World, config: Config, node: Node, state: Health, *, silent: bool = False, hung: bool = False
) -> None:
    """Have a node's health change; `silent`: nobody hears the machine, `hung`: only its kernel is heard."""
    (world.dead.add if silent else world.dead.discard)(node.id)
    with world.store.write() as tx:
        health.record(
            tx,
            config.id,
            {node.id: Standing(state, clock.now(), "a test says so")},
            silent={node.id} if silent or hung else (),
        )


LAPSED_S = GIVE_UP_AFTER_S + LEASE_MARGIN_S


def look(world: World, config: Config, *, silent: tuple[Node, ...] = (), later_s: float = 0.0) -> bool:
    """Do what the reconciler does when all handovers are so old; True while it waits."""
    with world.store.write() as tx:
        quiet, handovers = {node.id for node in silent}, holders.handovers(tx, config.id)
        unheard = holders.Unheard(
            silent=quiet,
            late=handovers if later_s >= holders.ANSWER_S else (),
            lapsed={each for each in handovers if each[1] in quiet and later_s >= LAPSED_S},
            over={each for each in handovers if each[1] in quiet and later_s >= LAPSED_S},
        )
        waiting = holders.overdue(tx, config.id, unheard)
        holders.reassign(tx, config.id, silent=quiet)
        return waiting


def holder_names(world: World, config: Config) -> dict[str, str | None]:
    with world.store.read() as tx:
        return {view.address: view.holder.name if view.holder else None for view in views.views(tx, config.id)}


def published(world: World, config: Config) -> list[str]:
    with world.store.read() as tx:
        return views.published(tx, config.id)


def carried(world: World, config: Config, *found: Node) -> dict[str, list[str]]:
    """Return which node's kernel has each address."""
    having: dict[str, list[str]] = {}
    for node in found:
        for address in world.has.get((node.id, config.id), ()):
            having.setdefault(address, []).append(node.name)
    return having


@one_database
def test_an_address_goes_to_a_node_that_serves_and_its_agent_has_it(world: World) -> None:
    config = world.config()
    fra1, ams1 = world.serving(config, "fra1", "ams1")
    put(world, config, A1)
    world.sync_all(config, fra1, ams1)
    assert carried(world, config, fra1, ams1) == {A1: ["fra1"]}
    wanted = world.agents[fra1.id, config.id].settings.floating
    assert wanted is not None
    assert wanted.witnesses == ("192.0.2.2:51820",)
    assert published(world, config) == [A1]
    assert world.agents[ams1.id, config.id].settings.floating is None


def test_an_address_of_a_config_without_nodes_waits_for_the_first_that_serves(world: World) -> None:
    config = world.config()
    put(world, config, A1)
    assert holder_names(world, config) == {A1: None}
    assert published(world, config) == []
    (fra1,) = world.serving(config, "fra1")
    world.sync(config, fra1)
    assert carried(world, config, fra1) == {A1: ["fra1"]}


@one_database
def test_several_addresses_are_spread_over_the_nodes(world: World) -> None:
    config = world.config()
    fra1, ams1 = world.serving(config, "fra1", "ams1")
    put(world, config, A1, A2)
    world.sync_all(config, fra1, ams1)
    assert carried(world, config, fra1, ams1) == {A1: ["fra1"], A2: ["ams1"]}


@one_database
def test_a_dead_node_s_address_is_with_another_in_the_transaction_that_says_so(world: World) -> None:
    config = world.config()
    fra1, ams1, par1 = world.serving(config, "fra1", "ams1", "par1")
    put(world, config, A1)
    world.sync_all(config, fra1, ams1, par1)
    becomes(world, config, fra1, Health.DOWN, silent=True)
    world.sync_all(config, ams1, par1)
    assert carried(world, config, ams1, par1) == {A1: ["ams1"]}
    assert published(world, config) == [A1]


def test_an_address_goes_to_a_node_with_a_wrong_clock_only_where_there_is_no_other(world: World) -> None:
    config = world.config()
    fra1, ams1, par1 = world.serving(config, "fra1", "ams1", "par1")
    put(world, config, A1)
    with world.store.write() as tx:
        node_rows.set_heard(tx, {fra1.id: (1.0, 0.2), ams1.id: (1.0, -300.0), par1.id: (1.0, 0.0)})
    becomes(world, config, fra1, Health.DOWN, silent=True)
    assert holder_names(world, config) == {A1: "par1"}
    becomes(world, config, par1, Health.DOWN, silent=True)
    assert holder_names(world, config) == {A1: "ams1"}
    becomes(world, config, par1, Health.SERVING)
    assert holder_names(world, config) == {A1: "ams1"}


@one_database
def test_a_dead_node_whose_agent_speaks_gives_the_address_up_before_another_gets_it(world: World) -> None:
    config = world.config()
    fra1, ams1 = world.serving(config, "fra1", "ams1")
    put(world, config, A1)
    world.sync_all(config, fra1, ams1)
    becomes(world, config, fra1, Health.DOWN)
    world.sync(config, ams1)  # it asks on the link, and fra1 answers
    assert carried(world, config, fra1, ams1) == {A1: ["fra1"]}
    world.sync(config, fra1)
    world.sync(config, ams1)
    assert carried(world, config, fra1, ams1) == {A1: ["ams1"]}
    assert not look(world, config)


@one_database
def test_a_node_that_returns_gets_nothing_back(world: World) -> None:
    config = world.config()
    fra1, ams1 = world.serving(config, "fra1", "ams1")
    put(world, config, A1)
    world.sync_all(config, fra1, ams1)
    becomes(world, config, fra1, Health.DOWN, silent=True)
    world.sync_all(config, ams1, fra1)
    becomes(world, config, fra1, Health.RECOVERING)
    becomes(world, config, fra1, Health.SERVING)
    look(world, config)
    world.sync_all(config, fra1, ams1)
    assert carried(world, config, fra1, ams1) == {A1: ["ams1"]}


@one_database
def test_when_the_next_one_dies_before_it_got_the_address_a_third_gets_it_from_the_first(world: World) -> None:
    config = world.config()
    fra1, ams1, par1 = world.serving(config, "fra1", "ams1", "par1")
    put(world, config, A1)
    world.sync_all(config, fra1, ams1, par1)
    world.cordon(fra1)
    with world.store.write() as tx:
        holders.empty(tx, config.id, fra1.id)
    becomes(world, config, ams1, Health.DOWN, silent=True)
    world.sync_all(config, ams1, par1)
    assert carried(world, config, fra1, ams1, par1) == {A1: ["fra1"]}
    world.sync_all(config, fra1, ams1, par1)
    assert carried(world, config, fra1, ams1, par1) == {A1: ["par1"]}


@one_database
def test_an_address_taken_off_the_list_is_taken_from_its_holder_first(world: World) -> None:
    config, other = world.config(), world.config("wg1", pools=("10.9.0.0/24",))
    fra1, ams1 = world.serving(config, "fra1", "ams1")
    put(world, config, A1, A2)
    world.sync_all(config, fra1, ams1)
    put(world, config, A2)
    assert holder_names(world, config) == {A2: "ams1"}
    with pytest.raises(Conflict, match="has not been released"):
        put(world, other, A1)
    world.sync_all(config, fra1, ams1)
    assert carried(world, config, fra1, ams1) == {A2: ["ams1"]}
    put(world, other, A1)
    assert holder_names(world, other) == {A1: None}


def test_an_address_put_back_on_the_list_before_it_was_given_up_stays_one(world: World) -> None:
    config = world.config()
    fra1, ams1 = world.serving(config, "fra1", "ams1")
    put(world, config, A1)
    world.sync_all(config, fra1, ams1)
    put(world, config)
    put(world, config, A1)
    assert len(carried(world, config, fra1, ams1)[A1]) == 1
    world.sync_all(config, fra1, ams1, fra1, ams1)
    assert len(carried(world, config, fra1, ams1)[A1]) == 1


def test_without_an_endpoint_group_nobody_has_an_address(world: World) -> None:
    config = world.config()
    (fra1,) = world.serving(config, "fra1")
    put(world, config, A1)
    world.sync(config, fra1)
    with world.store.write() as tx:
        endpoint_groups.delete(tx, world.vault, "test", configs.get(tx, config.id))
    world.sync(config, fra1)
    assert carried(world, config, fra1) == {}
    assert holder_names(world, config) == {}


@one_database
def test_a_removed_node_s_address_is_with_another_before_its_interface_goes(world: World) -> None:
    config = world.config()
    fra1, ams1 = world.serving(config, "fra1", "ams1")
    put(world, config, A1)
    world.sync_all(config, fra1, ams1)
    (peer,) = world.peers(config, "anna")
    world.sync_all(config, fra1, ams1)
    world.seen(config, fra1, {peer.public_key: "198.51.100.7:1000"})
    operation = world.remove(config, fra1)
    seen = []
    for _ in range(12):
        world.step(operation)
        world.sync_all(config, fra1, ams1)
        seen.append(carried(world, config, fra1, ams1).get(A1, []))
    assert all(len(names) <= 1 for names in seen)
    assert seen[-1] == ["ams1"]


@one_database
def test_other_nodes_are_told_of_a_new_witness(world: World) -> None:
    config = world.config()
    (fra1,) = world.serving(config, "fra1")
    put(world, config, A1)
    world.sync(config, fra1)
    (ams1,) = world.serving(config, "ams1")
    world.sync(config, fra1)
    wanted = world.agents[fra1.id, config.id].settings.floating
    assert wanted is not None
    assert wanted.witnesses == ("192.0.2.2:51820",)
    with world.store.write() as tx:
        nodes.update(tx, "test", nodes.get(tx, ams1.id), {"endpoint_addresses": ["192.0.2.77"]}, force=True)
    world.sync(config, fra1)
    wanted = world.agents[fra1.id, config.id].settings.floating
    assert wanted is not None
    assert wanted.witnesses == ("192.0.2.77:51820",)


@one_database
def test_each_move_is_in_the_audit_log(world: World) -> None:
    config = world.config()
    fra1, ams1 = world.serving(config, "fra1", "ams1")
    put(world, config, A1)
    world.sync_all(config, fra1, ams1)
    becomes(world, config, fra1, Health.DOWN, silent=True)
    with world.store.read() as tx:
        entries, _ = audit.page(tx, entity_type="floating_address", entity_id=A1)
    assert [(entry.details["from_node"], entry.details["to_node"]) for entry in entries] == [
        (fra1.id, ams1.id),
        (None, fra1.id),
    ]


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("127.0.0.1", "where no client reaches it"),
        ("fe80::1", "where no client reaches it"),
        ("192.0.2.1", "an address of node 'fra1' itself"),
        ("10.8.0.77", "inside the tunnel"),
        (A2, "is used by config 'wg1'"),
    ],
)
@one_database
def test_an_address_that_cannot_float_is_refused(world: World, address: str, reason: str) -> None:
    config, other = world.config(), world.config("wg1", pools=("10.9.0.0/24",))
    world.node("fra1")
    put(world, other, A2)
    with pytest.raises((Invalid, Conflict)) as refusal:
        put(world, config, A1, address)
    assert reason in refusal.value.detail
    assert refusal.value.field == "floating_addresses[1]"


def test_addresses_without_a_provider_are_refused(world: World) -> None:
    with pytest.raises(Invalid, match=r"need a provider: .*\bl2\b"):
        put(world, world.config(), A1, provider="none")
    with pytest.raises(Invalid, match="there is no address provider 'cloud'"):
        put(world, world.config("wg1", pools=("10.9.0.0/24",)), A1, provider="cloud")


def test_a_floating_address_is_nobody_s_own(world: World) -> None:
    put(world, world.config(), A1)
    with world.store.write() as tx, pytest.raises(Conflict, match="is a floating address"):
        nodes.create(tx, "test", NodeSpec("fra1", [A1]))
    with pytest.raises(Conflict, match="a floating address"):
        world.config("wg1", pools=("203.0.113.0/24",))


@one_database
def test_each_node_gets_settings_of_its_own(world: World) -> None:
    config = world.config()
    fra1, ams1, par1 = world.serving(config, "fra1", "ams1", "par1")
    put(world, config, A1)
    world.sync_all(config, fra1, ams1, par1)
    with world.store.read() as tx:
        base = configs.get(tx, config.id).generation
    put(world, config, A1, A2)
    with world.store.read() as tx:
        fresh = configs.get(tx, config.id)
        found = {node.name: assignment for assignment, node in assignment_rows.of_config(tx, config.id)}
        kept = RenderCache()
        deltas = [desired.since(tx, world.vault, fresh, found[name], base, kept) for name in ("ams1", "par1")]
    assert [delta.settings is not None and delta.settings.floating is not None for delta in deltas] == [True, False]


@one_database
def test_a_new_time_after_which_to_give_up_is_told_once_to_those_whom_it_concerns(world: World) -> None:
    config, other = world.config(), world.config("wg1", pools=("10.9.0.0/24",))
    (fra1,) = world.serving(config, "fra1")
    put(world, config, A1)
    world.sync(config, fra1)
    generations = []
    for seconds in (3.0, 3.0, 5.0, 5.0):
        with world.store.write() as tx:
            isolation.set_give_up_after(tx, seconds)
        with world.store.read() as tx:
            fresh, assignment = configs.get(tx, config.id), assignment_rows.get(tx, config.id, fra1.id)
            assert assignment is not None
            base = world.agents[fra1.id, config.id].generation
            delta = desired.since(tx, world.vault, fresh, assignment, base)
            generations.append((fresh.generation, configs.get(tx, other.id).generation))
        assert delta.settings is not None
        assert delta.settings.floating is not None
        assert delta.settings.floating.give_up_after_s == seconds
    before = world.agents[fra1.id, config.id].generation
    assert generations == [(before + 1, 1), (before + 1, 1), (before + 2, 1), (before + 2, 1)]
