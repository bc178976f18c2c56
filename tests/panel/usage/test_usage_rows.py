"""What nodes say that peers used, in rows: whose it is, what is refused, how it ages."""

import pytest
from sqlalchemy import func, select

from tests.panel.conftest import one_database
from tests.panel.world import ACTOR, World
from wgfleet.panel import clock
from wgfleet.panel.domain.usage import LINK_BPS, SLACK_S
from wgfleet.panel.services import configs, retention, usage
from wgfleet.panel.services.fleet import nodes, peers
from wgfleet.panel.services.retention import Kept
from wgfleet.panel.services.usage import Acknowledged, NodeBatch
from wgfleet.panel.store.tables import (
    Config,
    FormerKey,
    Node,
    Peer,
    UsageCounter,
    UsageDay,
    UsageHour,
    UsageSource,
    UsageTotal,
)
from wgfleet.panel.store.usage import PeerUse
from wgfleet.protocol.ids import ConfigId
from wgfleet.protocol.keys import PublicKey
from wgfleet.protocol.usage import UsageBatch, UsageRow

DAY_S = 86400.0


class Told:
    """A config on two nodes, with what they say."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.config: Config = world.config()
        self.nodes: list[Node] = world.serving(self.config, "ams1", "fra1")
        self.numbers: dict[str, Acknowledged] = {}

    def say(self, node: Node, *rows: UsageRow, config_id: str | None = None, now: float | None = None) -> None:
        asked = self.numbers.get(node.id, usage.NONE)
        at = clock.now() if now is None else now
        batch = UsageBatch("e1", asked[1] + 1, at, {ConfigId(config_id or self.config.id): rows})
        with self.world.store.write() as tx:
            self.numbers |= usage.take(tx, [NodeBatch(node.id, batch, asked)], at)

    def total(self, peer: Peer) -> tuple[int, int] | None:
        with self.world.store.read() as tx:
            row = tx.session.get(UsageTotal, peer.id)
            return None if row is None else (row.received, row.sent)

    def count(self, kind: type) -> int:
        with self.world.store.read() as tx:
            return tx.session.scalar(select(func.count()).select_from(kind)) or 0

    def delete(self, peer: Peer) -> None:
        with self.world.store.write() as tx:
            peers.delete(tx, ACTOR, configs.get(tx, self.config.id), [peer.id])

    def forget(self, kept: Kept, before: float) -> None:
        count = retention.BATCH
        while count == retention.BATCH:
            with self.world.store.write() as tx:
                count = retention.forget(tx, kept, before)


def row(key: str, received: int, sent: int, *, life: int = 1, at: float | None = None) -> UsageRow:
    return UsageRow(PublicKey(key), life, int(clock.now() if at is None else at), received, sent)


@pytest.fixture
def site(world: World) -> Told:
    return Told(world)


def test_a_peer_that_moves_has_one_total_and_each_node_its_part(site: Told) -> None:
    (alice,) = site.world.peers(site.config, "alice")
    here, there = site.nodes
    site.say(here, row(alice.public_key, 100, 1000))
    site.say(there, row(alice.public_key, 5, 50, life=2))
    site.say(here, row(alice.public_key, 150, 1500))
    assert site.total(alice) == (155, 1550)
    with site.world.store.read() as tx:
        query = select(UsageCounter.node_id, UsageHour.received).join_from(UsageHour, UsageCounter)
        found: dict[str, int] = {}
        for node_id, received in tx.session.execute(query):
            found[node_id] = found.get(node_id, 0) + received
    assert found == {here.id: 150, there.id: 5}


def test_what_is_told_after_a_peer_was_deleted_is_still_its_own(site: Told) -> None:
    (alice,) = site.world.peers(site.config, "alice")
    here, there = site.nodes
    site.say(here, row(alice.public_key, 100, 1000))
    site.delete(alice)
    site.say(here, row(alice.public_key, 110, 1100))
    site.say(there, row(alice.public_key, 7, 70))
    assert site.total(alice) == (117, 1170)


@one_database
def test_a_key_that_comes_back_with_another_peer_counts_for_that_one(site: Told) -> None:
    (alice,) = site.world.peers(site.config, "alice")
    here = site.nodes[0]
    site.say(here, row(alice.public_key, 100, 1000))
    site.delete(alice)
    spec = peers.PeerSpec("alice", public_key=alice.public_key)
    with site.world.store.write() as tx:
        config = configs.get(tx, site.config.id)
        (second,) = peers.create(tx, ACTOR, config, peers.draft(site.world.vault, [spec])).peers()
    site.say(here, row(alice.public_key, 130, 1300))
    site.say(here, row(alice.public_key, 131, 1301))
    assert site.total(alice) == (100, 1000)
    assert site.total(second) == (31, 301)


def test_new_keys_go_on_with_the_total(site: Told) -> None:
    (alice,) = site.world.peers(site.config, "alice")
    here = site.nodes[0]
    site.say(here, row(alice.public_key, 100, 1000))
    with site.world.store.write() as tx:
        peer = peers.get(tx, alice.id)
        fresh = peers.update(tx, site.world.vault, ACTOR, peer, {"rotate_keys": True}).public_key
    site.say(here, row(alice.public_key, 110, 1100), row(fresh, 5, 50, life=2))
    assert site.total(alice) == (115, 1150)


def test_a_config_may_be_deleted_and_what_was_used_stays(site: Told) -> None:
    lonely = site.world.config("wg1", pools=("10.9.0.0/24",))
    (bob,) = site.world.peers(lonely, "bob")
    with site.world.store.write() as tx:
        configs.delete(tx, ACTOR, configs.get(tx, lonely.id))
    with site.world.store.read() as tx:
        key = tx.session.get(FormerKey, (lonely.id, bob.public_key))
    assert key is not None
    assert (key.peer_name, key.config_name) == ("bob", "wg1")


def test_a_node_counts_for_peers_of_its_configs_only(site: Told) -> None:
    other = site.world.config("wg1", pools=("10.9.0.0/24",))
    (bob,) = site.world.peers(other, "bob")
    site.say(site.nodes[0], row(bob.public_key, 100, 100), config_id=other.id)
    site.say(site.nodes[0], row("nobody", 100, 100))
    assert site.total(bob) is None
    assert site.count(UsageCounter) == 0


def test_a_node_cannot_claim_more_than_a_link_carries(site: Told) -> None:
    (alice, bob) = site.world.peers(site.config, "alice", "bob")
    here = site.nodes[0]
    now = clock.now()
    site.say(here, row(alice.public_key, 1, 1), now=now)
    site.say(here, row(alice.public_key, 2**62, 2**62), row(bob.public_key, 2**62, 2**62), now=now + 10)
    most = int((10 + SLACK_S) * LINK_BPS / 8)
    totals = [site.total(alice), site.total(bob)]
    assert sum(sum(each) for each in totals if each) <= most + 2
    site.say(here, row(alice.public_key, 2**62, 2**62 + 5), now=now + 20)
    with site.world.store.read() as tx:
        source = tx.session.get(UsageSource, here.id)
    assert source is not None
    assert source.refused_bytes > 2**61
    assert site.total(bob) == totals[1]


def test_an_answer_to_an_older_question_is_late(site: Told) -> None:
    (alice,) = site.world.peers(site.config, "alice")
    here = site.nodes[0]
    old = NodeBatch(
        here.id, UsageBatch("e0", 1, clock.now(), {ConfigId(site.config.id): (row(alice.public_key, 9, 9, life=3),)})
    )
    site.say(here, row(alice.public_key, 100, 1000))
    with site.world.store.write() as tx:
        assert usage.take(tx, [old], clock.now()) == {here.id: ("e1", 1)}
    assert site.total(alice) == (100, 1000)


@pytest.mark.parametrize("leaves", [False, True])
@one_database
def test_what_was_weighed_before_counts_unless_a_key_has_left_since(site: Told, *, leaves: bool) -> None:
    alice, bob = site.world.peers(site.config, "alice", "bob")
    here = site.nodes[0]
    batch = UsageBatch("e1", 1, clock.now(), {ConfigId(site.config.id): (row(alice.public_key, 100, 1000),)})
    said = [NodeBatch(here.id, batch)]
    with site.world.store.read() as tx:
        weighed = usage.weigh(tx, said, clock.now())
    if leaves:
        site.delete(alice)
    weighed.totals[bob.id] = PeerUse(site.config.id, 1, 1)
    with site.world.store.write() as tx:
        usage.take(tx, said, clock.now(), weighed)
    with site.world.store.read() as tx:
        (counter,) = tx.session.scalars(select(UsageCounter)).all()
    assert (counter.peer_id, counter.former) == (alice.id, leaves)
    assert (site.total(alice), site.total(bob)) == ((100, 1000), None if leaves else (1, 1))


def test_a_node_that_is_gone_is_passed_over(site: Told) -> None:
    node = site.world.node("lon1")
    with site.world.store.write() as tx:
        nodes.delete(tx, ACTOR, nodes.get(tx, node.id))
    site.say(node, row("nobody", 1, 1))
    assert site.count(UsageSource) == 0


def test_hours_become_days_and_days_end_with_what_was_deleted(site: Told) -> None:
    alice, bob = site.world.peers(site.config, "alice", "bob")
    here = site.nodes[0]
    now = 20_000 * DAY_S
    for hour in range(30):
        at = now + hour * 3600.0
        site.say(here, row(alice.public_key, hour + 1, 0, at=at), row(bob.public_key, 0, hour + 1, at=at), now=at)
    assert site.count(UsageHour) == 60
    site.forget(Kept.USAGE_HOURS, now + 25 * 3600.0)
    assert site.count(UsageHour) == 10
    with site.world.store.read() as tx:
        days = tx.session.scalars(select(UsageDay)).all()
    assert sorted((each.day, each.received, each.sent) for each in days) == [
        (20_000, 0, 24), (20_000, 24, 0), (20_001, 0, 1), (20_001, 1, 0)
    ]  # fmt: skip
    site.delete(bob)
    site.forget(Kept.USAGE, now + 1.5 * DAY_S)
    assert site.count(UsageDay) == 2
    site.forget(Kept.USAGE, clock.now() + DAY_S)
    assert site.total(bob) is None
    assert site.total(alice) == (30, 0)
    assert site.count(FormerKey) == 0


@one_database
def test_what_nodes_carried_only_grows_whoever_leaves(site: Told) -> None:
    alice, bert = site.world.peers(site.config, "alice", "bert")
    here, there = site.nodes
    long_ago = clock.now() - 500 * DAY_S

    def carried() -> dict[str, tuple[int, int]]:
        with site.world.store.read() as tx:
            found = usage.traffic(tx)
        assert {each.config for each in found} <= {site.config.name}
        return {each.node: (each.received, each.sent) for each in found}

    assert carried() == {}
    site.say(here, row(alice.public_key, 100, 1000), row(bert.public_key, 1, 2), now=long_ago)
    site.say(there, row(alice.public_key, 5, 50, life=2))
    site.say(here, row(alice.public_key, 150, 1000))
    assert carried() == {here.name: (151, 1002), there.name: (5, 50)}
    site.delete(alice)
    for kept in (Kept.USAGE_HOURS, Kept.USAGE):
        site.forget(kept, clock.now() + DAY_S)
    assert carried() == {here.name: (151, 1002), there.name: (5, 50)}
