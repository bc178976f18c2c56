"""Every hot query uses an index: its cost must not grow with what it is not about."""

from collections.abc import Callable

import pytest

from tests.panel.store.plans import explained
from tests.panel.world import ACTOR, LIVE_S, World
from wgfleet.panel import clock
from wgfleet.panel.api.configs import views as config_views
from wgfleet.panel.api.nodes import views as node_views
from wgfleet.panel.domain.operations import OperationKind, OperationState
from wgfleet.panel.services import audit, configs, generations, health
from wgfleet.panel.services import usage as usages
from wgfleet.panel.services.fleet import assignments, capacity, counts, desired, nodes, peers, placement
from wgfleet.panel.services.usage import By, NodeBatch, Per, UsageQuestion
from wgfleet.panel.store import Tx, given_up, jobs, listed_peers, operations, peer_search, sessions, usage, visits
from wgfleet.panel.store import assignments as assignment_rows
from wgfleet.panel.store import peers as peer_rows
from wgfleet.panel.store.listed_peers import PeerFilter, PeerOrder, Place
from wgfleet.panel.store.sessions import NodeSessions
from wgfleet.panel.store.tables import Assignment, Config, Node, Peer
from wgfleet.protocol.ids import ConfigId
from wgfleet.protocol.keys import PublicKey
from wgfleet.protocol.observed import PeerStats
from wgfleet.protocol.usage import UsageBatch, UsageRow


class Filled:
    """A config that two nodes serve, and some peers with sessions."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.config: Config = world.config()
        self.nodes: list[Node] = world.serving(self.config, "one", "two")
        self.peers: list[Peer] = world.peers(self.config, "anna", "bert", "carl")
        self.ids = [peer.id for peer in self.peers]
        self.stats = {
            peer.public_key: PeerStats(endpoint="192.0.2.9:1", latest_handshake=int(clock.now()), rx=1, tx=1)
            for peer in self.peers
        }

    @property
    def node_id(self) -> str:
        return self.nodes[0].id

    @property
    def used(self) -> NodeBatch:
        rows = tuple(UsageRow(PublicKey(key), 1, int(clock.now()), 7, 7) for key in self.stats)
        return NodeBatch(self.node_id, UsageBatch("e", 1, clock.now(), {ConfigId(self.config.id): rows}))

    def assignment(self, tx: Tx) -> Assignment:
        found = assignment_rows.get(tx, self.config.id, self.node_id)
        assert found is not None
        return found

    def fresh(self, tx: Tx) -> Config:
        return configs.get(tx, self.config.id)


Query = Callable[[Tx, Filled], object]


def by_name(tx: Tx, it: Filled, after: Place | None) -> object:
    wanted = PeerFilter(config_ids=[it.config.id], live_since=clock.steady())
    return listed_peers.page(tx, wanted, PeerOrder.NAME, after, 101)


READS: dict[str, Query] = {
    "peers of a config, from the middle": lambda tx, it: peers.page(tx, it.config.id, it.ids[0], 101),
    "peers by part of a name": lambda tx, it: peers.search(tx, it.config.id, "ann", it.ids[0]),
    "peers by letters of a name": lambda tx, it: peers.search(tx, it.config.id, "nn"),
    "peers by the index of names": lambda tx, _: peer_search.by_index(tx, "anna"),
    "peers of a config by name": lambda tx, it: by_name(tx, it, None),
    "peers of a config by name, from the middle": lambda tx, it: by_name(tx, it, ("anna", it.ids[0])),
    "peers of all configs, from the middle": lambda tx, it: peers.page(tx, None, it.ids[0], 101),
    "a peer": lambda tx, it: peers.get(tx, it.ids[0]),
    "addresses of a page": lambda tx, it: peers.addresses(tx, it.peers),
    "sessions of a page": lambda tx, it: peers.sessions(tx, it.ids),
    "names that are taken": lambda tx, it: peer_rows.clashes(tx, it.config.id, ["anna"], [it.peers[0].public_key]),
    "numbers after a prefix": lambda tx, it: peer_rows.names(tx, it.config.id, "user-"),
    "peers whose home a node is": lambda tx, it: peer_rows.homed_on(tx, it.node_id, it.config.id),
    "peers without a home": lambda tx, it: peer_rows.homed_on(tx, None, it.config.id),
    "what a node must not serve": lambda tx, it: given_up.by_node(tx, it.node_id, it.config.id),
    "a delta": lambda tx, it: desired.since(
        tx, it.world.vault, it.fresh(tx), it.assignment(tx), it.fresh(tx).generation - 1
    ),
    "live sessions of a node": lambda tx, it: sessions.live_on(tx, it.node_id, it.config.id, clock.now() - LIVE_S),
    "sessions as a start finds them": lambda tx, it: sessions.known(tx, it.node_id, it.config.id, it.stats.keys()),
    "visits of who is kept out": lambda tx, it: visits.kept_out(tx, it.config.id),
    "visits that go on": lambda tx, it: visits.going_on(tx, it.config.id, it.stats.keys(), 1.0),
    "endpoints at a node": lambda tx, it: sessions.endpoints(tx, it.node_id, it.ids),
    "the audit log of a thing": lambda tx, it: audit.page(tx, entity_type="peer", entity_id=it.ids[0], limit=50),
    "operations": lambda tx, _: operations.page(tx, None, None, None, 101),
    "operations of a kind and state": lambda tx, _: operations.page(
        tx, OperationState.SUCCEEDED, OperationKind.FAILOVER, None, 101
    ),
    "operations that have not ended": lambda tx, _: operations.active(tx),
    "operations of a config that have not ended": lambda tx, it: operations.active_of(tx, it.config.id),
    "moves of an operation": lambda tx, _: operations.pending(tx, "none"),
    "counts of an operation": lambda tx, _: operations.tally(tx, "none"),
    "the history of a node's health": lambda tx, it: health.history(tx, it.config.id, node_id=it.node_id),
    "a page of nodes with their homes": lambda tx, _: node_views(tx, nodes.page(tx)),
    "a page of configs with their peers": lambda tx, _: config_views(tx, configs.page(tx)),
    "capacity of a config": lambda tx, it: capacity.of_config(tx, it.fresh(tx), live_within_s=LIVE_S),
    "assignments of a config": lambda tx, it: assignments.listing(tx, it.config.id),
    "where a peer may live": lambda tx, it: placement.candidates(tx, it.config.id),
    "totals for metrics": lambda tx, _: counts.read(tx),
    "whom limits are about": lambda tx, _: jobs.limited(tx),
    "counters of peers at a node": lambda tx, it: usage.counters(tx, it.node_id, it.config.id, it.stats),
    "whose keys are or were": lambda tx, it: usage.owners(tx, it.config.id, it.stats),
    "what health watches": lambda tx, it: health.watched(tx, it.world.vault, lambda *_: None),
}

IN_ORDER = {"operations", "operations of a kind and state"}
"""The newest first, of everything that there is."""

WRITES: dict[str, Query] = {
    "what a node saw": lambda tx, it: sessions.record(tx, [NodeSessions(it.node_id, it.config.id, it.stats)], 1.0),
    "what a node counted": lambda tx, it: usages.take(tx, [it.used], clock.now()),
    "sessions that arrived": lambda tx, it: sessions.arrived(tx, it.node_id, {it.ids[0]: "192.0.2.9:2"}, 1.0),
    "a new peer": lambda tx, it: peers.create(
        tx, ACTOR, it.fresh(tx), peers.draft(it.world.vault, [peers.PeerSpec("dora")])
    ),
    "a changed peer": lambda tx, it: peers.update(
        tx, it.world.vault, ACTOR, peers.get(tx, it.ids[0]), {"enabled": False}
    ),
    "a deleted peer": lambda tx, it: peers.delete(tx, ACTOR, it.fresh(tx), [it.ids[0]]),
    "a new generation": lambda tx, it: generations.bump(tx, it.config.id),
}


@pytest.fixture
def filled(world: World) -> Filled:
    made = Filled(world)
    with world.store.write() as tx:
        if tx.connection.dialect.name == "postgresql":  # what it knows of the rows of other tests
            tx.connection.exec_driver_sql("DELETE FROM pg_statistic")
            tx.connection.exec_driver_sql("UPDATE pg_class SET reltuples = -1, relpages = 0 WHERE reltuples > 0")
        sessions.record(tx, [NodeSessions(made.node_id, made.config.id, made.stats)], clock.now())
    return made


@pytest.mark.parametrize("name", READS)
def test_a_read_scans_no_table_that_grows(filled: Filled, name: str) -> None:
    with explained(filled.world.store.engine) as plans, filled.world.store.read() as tx:
        READS[name](tx, filled)
    assert plans.statements
    assert plans.scans(ordered=name in IN_ORDER) == []


OF_A_NODE: dict[str, Query] = {
    "live sessions": READS["live sessions of a node"],
    "quiet sessions": lambda tx, it: sessions.quiet_on(tx, it.node_id, it.config.id, 1.0, clock.now() - LIVE_S),
    "sessions that nobody took over": lambda tx, it: sessions.kept_by(tx, it.node_id, it.config.id),
    "sessions to forget": lambda tx, it: sessions.forget(tx, it.node_id, it.config.id),
}


@pytest.mark.parametrize("name", OF_A_NODE)
def test_sessions_of_a_node_are_not_looked_for_among_all_peers_of_its_config(filled: Filled, name: str) -> None:
    with explained(filled.world.store.engine) as plans, filled.world.store.write() as tx:
        OF_A_NODE[name](tx, filled)
    assert "ix_peer_sessions_node_id" in plans.indexes()
    assert plans.scans() == []
    assert {index for index in plans.indexes() if "config_id" in index} == set()


def test_addresses_of_a_page_are_not_looked_for_among_all_of_its_pools(filled: Filled) -> None:
    with explained(filled.world.store.engine) as plans, filled.world.store.read() as tx:
        peers.addresses(tx, filled.peers)
    assert plans.indexes() & {"ix_addresses_peer_id", "pk_addresses", "sqlite_autoindex_addresses_1"} == {
        "ix_addresses_peer_id"
    }


@pytest.mark.parametrize("per", [Per.HOUR, Per.DAY, Per.MONTH])
def test_a_page_of_usage_by_peer_does_not_read_all_that_was_asked_for(filled: Filled, per: Per) -> None:
    with filled.world.store.write() as tx:
        usages.take(tx, [filled.used], clock.now())
    with explained(filled.world.store.engine) as plans, filled.world.store.read() as tx:
        assert len(usages.sums(tx, UsageQuestion(per, By.PEER, 0, 10**7), None, 2)) == 2
    assert [each for each in plans.scans() if "Sort" not in each and "TEMP B-TREE" not in each] == []  # of one period


def test_a_page_by_name_is_read_in_order_of_its_config_alone(filled: Filled) -> None:
    for after in (None, ("anna", filled.ids[0])):
        with explained(filled.world.store.engine) as plans, filled.world.store.read() as tx:
            by_name(tx, filled, after)
        assert {each for each in plans.indexes() if each.startswith("ix_peers_")} == {
            "ix_peers_config_id_name_folded_id"
        }


@pytest.mark.parametrize("names", [["anna"], ["anna", "dora", "erna"]])
def test_names_that_are_taken_are_not_looked_for_among_all_of_their_config(filled: Filled, names: list[str]) -> None:
    with explained(filled.world.store.engine) as plans, filled.world.store.read() as tx:
        assert peer_rows.clashes(tx, filled.config.id, names, []) == ({"anna"}, set())
    assert plans.indexes() <= {"ix_peers_name_folded_id", "ix_peers_config_id_name_folded_id"}


@pytest.mark.parametrize("name", WRITES)
def test_a_write_scans_no_table_that_grows(filled: Filled, name: str) -> None:
    with explained(filled.world.store.engine) as plans, filled.world.store.write() as tx:
        WRITES[name](tx, filled)
    assert plans.statements
    assert plans.scans() == []
