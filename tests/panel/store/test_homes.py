"""Counts of homes are those of the rows, whatever becomes of peers."""

from collections import Counter

from sqlalchemy import select

from tests.panel.store.plans import explained
from tests.panel.world import ACTOR, World
from wgfleet.panel.services import configs
from wgfleet.panel.services.fleet import peers
from wgfleet.panel.store import Tx, homes
from wgfleet.panel.store import peers as peer_rows
from wgfleet.panel.store.tables import Peer
from wgfleet.protocol.ids import NodeId, PeerId


def assert_counted_right(tx: Tx, nodes: list[str], config_ids: list[str]) -> None:
    rows = tx.session.execute(select(Peer.config_id, Peer.home_node_id)).all()
    by_node = Counter(home for _, home in rows if home)
    by_config = Counter(config for config, _ in rows)
    assert homes.of_nodes(tx, nodes) == dict(by_node)
    assert homes.of_configs(tx, config_ids) == dict(by_config)
    assert homes.of_all(tx) == len(rows)
    for config_id in config_ids:
        assert homes.in_config(tx, config_id) == dict(Counter(h for config, h in rows if config == config_id and h))


def test_counts_follow_every_change(world: World) -> None:
    first, second = world.config("wg0"), world.config("wg1", pools=("10.9.0.0/24",))
    homeless = world.peers(second, "x1", "x2", "x3")
    one, two = (node.id for node in world.serving(first, "one", "two"))
    made = world.peers(first, *(f"p{number}" for number in range(7)))
    nodes, config_ids = [one, two], [first.id, second.id]

    def check() -> None:
        with world.store.read() as tx:
            assert_counted_right(tx, nodes, config_ids)

    check()
    with world.store.write() as tx:
        peer_rows.rehome(tx, {PeerId(peer.id): NodeId(two) for peer in made[:4]})
        peers.get(tx, made[5].id).home_node_id = None
    check()
    with world.store.write() as tx:
        peer_rows.rehome(tx, dict.fromkeys([PeerId(made[6].id)]))
        peers.delete(tx, ACTOR, configs.get(tx, first.id), [made[0].id, made[1].id])
        peers.update(tx, world.vault, ACTOR, peers.get(tx, made[2].id), {"enabled": False})
    check()
    assert len(homeless) == 3
    with world.store.write() as tx:
        configs.delete(tx, ACTOR, configs.get(tx, second.id))
    check()
    with world.store.write() as tx:
        peer_rows.remove(tx, [peer.id for peer in made])
    check()


def test_on_sqlite_nothing_is_counted_when_it_is_asked_for(world: World) -> None:
    config = world.config()
    nodes = [node.id for node in world.serving(config, "one")]
    world.peers(config, "anna")
    with explained(world.store.engine) as plans, world.store.read() as tx:
        homes.of_nodes(tx, nodes)
        homes.of_configs(tx, [config.id])
        homes.in_config(tx, config.id)
        homes.of_all(tx)
    used = {index for index in plans.indexes() if "peers" in index}
    if world.store.engine.dialect.name == "sqlite":
        assert used == set()
    else:  # in an index alone, and of one config or node where that is asked for
        assert "ix_peers_home_node_id_config_id" in used
    assert plans.scans() == []
