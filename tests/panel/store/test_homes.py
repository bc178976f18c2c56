"""Counts of homes are those of the rows, whatever becomes of peers."""

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor, wait

from sqlalchemy import select

from tests.panel.store.plans import explained
from tests.panel.world import ACTOR, World
from wgfleet.panel.services import configs
from wgfleet.panel.services.fleet import peers
from wgfleet.panel.store import Tx, homes
from wgfleet.panel.store import peers as peer_rows
from wgfleet.panel.store.tables import Assignment, Peer
from wgfleet.protocol.ids import NodeId, PeerId


def assert_counted_right(tx: Tx, nodes: list[str], config_ids: list[str]) -> None:
    rows = tx.session.execute(select(Peer.config_id, Peer.home_node_id)).all()
    by_node = Counter(home for _, home in rows if home)
    by_config = Counter(config for config, _ in rows)
    assert homes.of_nodes(tx, nodes) == dict(by_node)
    assert homes.of_configs(tx, config_ids) == dict(by_config)
    assert homes.of_all(tx) == len(rows)
    for node_id in nodes:
        configs_of = set(tx.session.scalars(select(Assignment.config_id).where(Assignment.node_id == node_id)))
        assert homes.carried(tx, node_id) == sum(by_config[config_id] for config_id in configs_of)
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
        homes.sum_up(world.store)
        with world.store.read() as tx:
            assert_counted_right(tx, nodes, config_ids)
            counted = tx.connection.exec_driver_sql("SELECT node_id, config_id, peers FROM peer_homes").all()
            assert len({row[:2] for row in counted}) == len(counted)
            assert all(row.peers > 0 for row in counted)

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


def test_nothing_is_counted_when_it_is_asked_for(world: World) -> None:
    config = world.config()
    nodes = [node.id for node in world.serving(config, "one")]
    world.peers(config, "anna")
    with explained(world.store.engine) as plans, world.store.read() as tx:
        homes.of_nodes(tx, nodes)
        homes.of_configs(tx, [config.id])
        homes.in_config(tx, config.id)
        homes.carried(tx, nodes[0])
        homes.of_all(tx)
    assert {index for index in plans.indexes() if "ix_peers" in index} == set()
    assert plans.scans() == []


def test_writers_at_once_are_all_counted_while_rows_are_summed_up(world: World) -> None:
    """Each gives one peer a home and takes it away again, then gives it: no two wait in a circle, none is lost."""
    config = world.config()
    one, two = (NodeId(node.id) for node in world.serving(config, "one", "two"))
    made = world.peers(config, *(f"p{number}" for number in range(8)))
    ended = threading.Event()

    def write(number: int) -> None:
        for turn in range(10):
            with world.store.write() as tx:
                ids = (
                    [PeerId(made[(number + step) % 8].id) for step in (0, 1)] if turn % 2 else [PeerId(made[number].id)]
                )
                peer_rows.rehome(tx, dict.fromkeys(sorted(ids), (one, two)[turn % 2]))

    def sum_up() -> None:
        while not ended.is_set():
            homes.sum_up(world.store)

    with ThreadPoolExecutor() as pool:
        summing = pool.submit(sum_up)
        writing = [pool.submit(write, number) for number in range(8)]
        wait(writing)
        ended.set()
        summing.result()
        for each in writing:
            each.result()
    with world.store.read() as tx:
        assert_counted_right(tx, [one, two], [config.id])
