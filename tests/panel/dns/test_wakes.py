"""Which changes have a DNS name considered: all that its addresses follow from, and none of the many others."""

import asyncio
from collections.abc import Callable
from typing import cast

from tests.panel.dns.desk import Desk
from tests.panel.world import ACTOR
from wgfleet.panel.domain.health.votes import Health
from wgfleet.panel.reconcile.agents.connections import Connections
from wgfleet.panel.reconcile.dispatcher import Dispatcher
from wgfleet.panel.reconcile.engine.keyed_runner import Key, Runner
from wgfleet.panel.services import configs
from wgfleet.panel.services.fleet import cordons, nodes, peers
from wgfleet.panel.services.moves import rebalance
from wgfleet.panel.store import operations as operation_rows
from wgfleet.panel.store.tables import Config


class Keys:
    """Stands in for the runner: lists the keys that were woken."""

    def __init__(self) -> None:
        self.woken: set[Key] = set()

    def wake(self, key: Key) -> None:
        self.woken.add(key)


def woken(desk: Desk, change: Callable[[], object]) -> set[Key]:
    """Make a change and return the keys that it wakes."""
    keys, nobody = Keys(), cast("Connections", {})
    dispatcher = Dispatcher(desk.world.store, cast("Runner", keys), nobody, desk.worker)
    desk.world.wakes.clear()
    change()
    dispatcher.hear(list(desk.world.wakes))
    asyncio.run(dispatcher.dispatch(list(desk.world.wakes)))
    return keys.woken


def test_changes_of_peers_have_nodes_reconciled_and_no_name_considered(desk: Desk, wg0: Config) -> None:
    found = desk.world.serving(wg0, "fra1", "ams1")
    desk.publish(wg0)
    carriers = {Key("node", node.id) for node in found}
    assert woken(desk, lambda: desk.world.peers(wg0, "p1", "p2")) == carriers

    def disable() -> None:
        with desk.world.store.write() as tx:
            [peer, _] = peers.page(tx, wg0.id)
            peers.update(tx, desk.world.vault, ACTOR, peers.get(tx, peer.id), {"enabled": False})

    def delete() -> None:
        with desk.world.store.write() as tx:
            peers.delete(tx, ACTOR, configs.get(tx, wg0.id), [peer.id for peer in peers.page(tx, wg0.id)])

    assert woken(desk, disable) == carriers
    assert woken(desk, delete) == carriers


def test_whatever_changes_its_addresses_has_a_name_considered(desk: Desk, wg0: Config) -> None:
    fra1, _ = desk.world.serving(wg0, "fra1", "ams1")
    desk.publish(wg0)
    name = Key("dns", desk.sync(wg0).id)

    def cordon() -> None:
        with desk.world.store.write() as tx:
            cordons.cordon(tx, ACTOR, nodes.get(tx, fra1.id))

    def readdress() -> None:
        with desk.world.store.write() as tx:
            nodes.update(tx, ACTOR, nodes.get(tx, fra1.id), {"endpoint_addresses": ["192.0.2.99"]})

    assert name in woken(desk, cordon)
    assert name in woken(desk, readdress)
    assert name in woken(desk, lambda: desk.judged(wg0, fra1, Health.DOWN))
    assert name in woken(desk, lambda: desk.publish(wg0, min_nodes=2))
    assert name in woken(desk, lambda: desk.world.serving(wg0, "par1"))


def test_an_operation_is_a_key_of_its_own_kind(desk: Desk, wg0: Config) -> None:
    desk.world.serving(wg0, "fra1", "ams1")

    def begin() -> None:
        with desk.world.store.write() as tx:
            rebalance.start(tx, ACTOR, configs.get(tx, wg0.id), grace_s=1.0)

    keys = woken(desk, begin)
    with desk.world.store.read() as tx:
        [active] = operation_rows.active(tx)
    assert active[0] == "rebalance"
    assert Key(*active) in keys
