"""Jobs on rows: what nodes get of a restricted peer, that it comes back, and that nothing that moves loses it."""

import asyncio
from collections.abc import Callable

import pytest

from tests.panel.conftest import one_database
from tests.panel.usage.test_usage_rows import Told, row
from tests.panel.world import ACTOR, World
from wgfleet.panel import clock
from wgfleet.panel.domain.jobs.job import JobAction, JobField, Period
from wgfleet.panel.domain.moves import MoveStep
from wgfleet.panel.reconcile import jobs as job_watch
from wgfleet.panel.reconcile.jobs import JobWatch
from wgfleet.panel.services import audit
from wgfleet.panel.services.fleet import peers, tags
from wgfleet.panel.services.jobs import commands, decisions, limits_of_peers
from wgfleet.panel.services.jobs.commands import JobSpec
from wgfleet.panel.store.tables import Config, LimitJob, Peer, Tag

LIMIT = 1_000_000
DATA = JobSpec(JobField.TOTAL_DATA, value=LIMIT)


class Limited(Told):
    """Two nodes, and jobs that are looked at."""

    def give(self, owner: Config | Tag | Peer, spec: JobSpec = DATA) -> LimitJob:
        with self.world.store.write() as tx:
            return commands.add(tx, ACTOR, commands.owner_of(owner), spec)

    def take(self, owner: Config | Tag | Peer, job: LimitJob) -> None:
        with self.world.store.write() as tx:
            commands.delete(tx, ACTOR, commands.owner_of(owner), job.id)

    def look(self) -> None:
        asyncio.run(JobWatch(self.world.store).look())

    def use(self, peer: Peer, received: int, *, node: int = 0) -> None:
        self.say(self.nodes[node], row(peer.public_key, received, 0, life=node + 1))

    def served(self) -> list[set[str]]:
        """Return the names of the peers that each node has."""
        self.world.sync_all(self.config, *self.nodes)
        with self.world.store.read() as tx:
            names = {peer.public_key: peer.name for peer in tx.session.query(Peer)}
        return [{names[key] for key in self.world.users(self.config, node)} for node in self.nodes]

    def audited(self, peer: Peer) -> list[str]:
        with self.world.store.read() as tx:
            entries, _ = audit.page(tx, entity_type="peer", entity_id=peer.id)
            return [each.action for each in reversed(entries) if each.action != "created"]


@pytest.fixture
def site(world: World) -> Limited:
    return Limited(world)


@one_database
def test_a_peer_is_kept_out_on_all_nodes_for_what_it_used_on_any_and_comes_back(site: Limited) -> None:
    alice, bob = site.world.peers(site.config, "alice", "bob")
    site.give(site.config)
    site.use(alice, LIMIT // 2)
    site.use(alice, LIMIT // 2 - 2000, node=1)
    site.look()
    assert site.served() == [{"alice", "bob"}] * 2
    site.use(alice, LIMIT // 2 + 1, node=1)
    site.look()
    assert site.served() == [{"bob"}] * 2
    own = site.give(alice, JobSpec(JobField.TOTAL_DATA, value=2 * LIMIT))
    site.look()
    assert site.served() == [{"alice", "bob"}] * 2
    site.take(alice, own)
    site.look()
    assert site.served() == [{"bob"}] * 2
    with site.world.store.write() as tx:
        limits_of_peers.reset(tx, ACTOR, peers.get(tx, alice.id))
    assert site.served() == [{"alice", "bob"}] * 2
    assert site.total(alice) == (LIMIT + 1, 0)  # the ledger forgets nothing
    assert site.audited(alice) == ["restricted", "let_in", "restricted", "usage_reset", "let_in"]
    assert site.audited(bob) == []


@one_database
def test_a_look_that_finds_nothing_new_writes_nothing(site: Limited) -> None:
    (alice,) = site.world.peers(site.config, "alice")
    site.give(alice)
    site.use(alice, LIMIT + 1)
    site.look()
    assert site.served() == [set()] * 2
    applied = site.world.agents[site.nodes[0].id, site.config.id].generation
    for _ in range(3):
        site.look()
    site.served()
    assert site.world.agents[site.nodes[0].id, site.config.id].generation == applied
    assert site.audited(alice) == ["restricted"]


@one_database
def test_what_a_tag_says_goes_before_the_config_and_after_the_peer(site: Limited) -> None:
    alice, bob, carol = site.world.peers(site.config, "alice", "bob", "carol")
    with site.world.store.write() as tx:
        tag = tags.create(tx, ACTOR, {"name": "office"})
        tags.change_peers(tx, ACTOR, tag, add=[alice.id, bob.id])
    site.give(site.config, JobSpec(JobField.DATE, value=1))
    site.give(tag, JobSpec(JobField.DATE, action=JobAction.NONE))
    site.give(bob, JobSpec(JobField.DATE, value=1))
    site.look()
    assert site.served() == [{"alice"}] * 2
    with site.world.store.read() as tx:
        assert peers.get(tx, carol.id).restricted_because == "after 1970-01-01 00:00:01 (UTC), the limit of its config"
        assert peers.get(tx, bob.id).restricted_because == "after 1970-01-01 00:00:01 (UTC), its own limit"


@one_database
def test_deleting_leaves_what_was_used_and_a_reset_begins_anew(site: Limited) -> None:
    alice, bob = site.world.peers(site.config, "alice", "bob")
    site.give(alice, JobSpec(JobField.TOTAL_DATA, value=LIMIT, action=JobAction.DELETE))
    site.give(bob, JobSpec(JobField.TOTAL_DATA, value=LIMIT, action=JobAction.RESET))
    site.use(alice, LIMIT + 5)
    site.use(bob, LIMIT + 5)
    site.look()
    site.look()
    assert site.served() == [{"bob"}] * 2
    assert site.total(alice) == (LIMIT + 5, 0)
    assert site.audited(bob) == ["usage_reset"]
    with site.world.store.read() as tx:
        found = limits_of_peers.of_peer(tx, peers.get(tx, bob.id))
    assert found.facts.used == (0, 0)


def test_a_period_counts_by_the_hours_of_the_ledger(site: Limited) -> None:
    (alice,) = site.world.peers(site.config, "alice")
    site.give(alice, JobSpec(JobField.TOTAL_DATA, value=LIMIT, period=Period.DAY))
    now = clock.now()
    yesterday = now - 86400
    site.say(site.nodes[0], row(alice.public_key, LIMIT, 0, at=yesterday), now=yesterday)
    site.say(site.nodes[0], row(alice.public_key, LIMIT + 7, 0, at=now), now=now)
    site.look()
    with site.world.store.read() as tx:
        (found,) = decisions.decide(tx, now)
        tomorrow = decisions.decide(tx, now + 86400)[0]
    assert (found.verdict.left, tomorrow.verdict.left) == (LIMIT - 7, LIMIT)
    assert site.served() == [{"alice"}] * 2


def test_notice_of_a_date_is_given_once(site: Limited) -> None:
    (alice,) = site.world.peers(site.config, "alice")
    site.give(alice, JobSpec(JobField.DATE, value=int(clock.now()) + 3600, notice_s=86400))
    site.look()
    site.look()
    assert site.audited(alice) == ["expires_soon"]
    assert site.served() == [{"alice"}] * 2


@pytest.mark.parametrize("how", ["failover", "remove"])
@one_database
def test_a_restricted_peer_is_not_lost_with_its_node(site: Limited, how: str) -> None:
    alice, bob = site.world.peers(site.config, "alice", "bob")
    here, there = site.nodes
    site.world.seen(site.config, here, {alice.public_key: "198.51.100.1:1", bob.public_key: "198.51.100.2:2"})
    job = site.give(alice, JobSpec(JobField.DATE, value=1))
    site.look()
    site.served()
    operation = getattr(site.world, how)(site.config, here)
    for _ in range(50):
        if site.world.step(operation) is MoveStep.DONE:
            break
        site.world.sync_all(site.config, here, there)
    assert site.world.users(site.config, there) == {bob.public_key}
    with site.world.store.read() as tx:
        assert {peers.get(tx, each.id).home_node_id for each in (alice, bob)} == {there.id}
    site.take(alice, job)
    site.look()
    site.world.sync(site.config, there)
    assert site.world.users(site.config, there) == {alice.public_key, bob.public_key}


class Killed(Exception):
    """The panel ends here."""


@pytest.mark.parametrize("at", range(3))
def test_a_panel_that_is_killed_between_two_transactions_goes_on(
    site: Limited, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    made = site.world.peers(site.config, *(f"p{i}" for i in range(6)))
    site.give(site.config, JobSpec(JobField.DATE, value=1))
    monkeypatch.setattr(job_watch, "AT_ONCE", 2)
    left = [at]

    def dying(before: Callable[..., object]) -> Callable[..., object]:
        def apply(*given: object) -> object:
            done = before(*given)
            if not left[0]:
                raise Killed  # before the commit
            left[0] -= 1
            return done

        return apply

    with monkeypatch.context() as patch:
        patch.setattr(decisions, "apply", dying(decisions.apply))
        with pytest.raises(Killed):
            site.look()
    assert site.served() == [{peer.name for peer in made[2 * at :]}] * 2
    site.look()
    assert site.served() == [set()] * 2
    assert all(site.audited(peer) == ["restricted"] for peer in made)
