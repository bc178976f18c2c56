"""What is old goes, and nothing that grows is forgotten there."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy import func, select

from tests.panel.world import ACTOR, World
from wgfleet.panel import clock
from wgfleet.panel.domain.health.votes import Health
from wgfleet.panel.domain.moves import MoveState
from wgfleet.panel.domain.operations import OperationKind, OperationState
from wgfleet.panel.reconcile.retention import DAY_S, Retention, days_kept
from wgfleet.panel.services import audit, retention
from wgfleet.panel.services.retention import Kept
from wgfleet.panel.settings import Settings
from wgfleet.panel.store.engine import Tx
from wgfleet.panel.store.tables import (
    AuditEntry,
    Backup,
    Base,
    Config,
    DnsAccount,
    HealthEvent,
    JoinToken,
    Move,
    Node,
    Operation,
    Peer,
    PeerSession,
)


def prune(world: World, after_s: float, days: Mapping[Kept, int] | None = None) -> None:
    """Do what is done once an hour, so many seconds from now."""
    asyncio.run(Retention(world.store, days or {}).prune(clock.now() + after_s))


def entries(tx: Tx) -> list[str]:
    return [entry.action for entry in audit.page(tx, entity_type="test", limit=2000)[0]]


def write_entries(world: World, days_ago: float, action: str, count: int) -> None:
    with world.store.write() as tx:
        tx.session.add_all(
            AuditEntry(
                at=clock.now() - days_ago * DAY_S,
                actor=ACTOR,
                action=action,
                entity_type="test",
                entity_id="",
                details={},
            )
            for _ in range(count)
        )


@pytest.mark.parametrize(("keep_days", "left"), [(30, ["new"]), (0, ["new"] + ["old"] * 1200)])
def test_audit_entries_go_when_they_are_old_unless_all_are_kept(world: World, keep_days: int, left: list[str]) -> None:
    write_entries(world, 31, "old", 1200)
    write_entries(world, 29, "new", 1)
    prune(world, 0, {Kept.AUDIT: keep_days} if keep_days else {})
    with world.store.read() as tx:
        assert entries(tx) == left


GROWS = {
    "audit_log": Kept.AUDIT,
    "health_events": Kept.HEALTH,
    "moves": Kept.MOVES,
    "operations": Kept.OPERATIONS,
    "backups": Kept.BACKUPS,
    "peer_sessions": Kept.SESSIONS,
    "join_tokens": Kept.JOIN_TOKENS,
    "dns_accounts": Kept.DNS_ACCOUNTS,
    "certificates": Kept.CERTIFICATES,
    "usage_hours": Kept.USAGE_HOURS,
    "usage_days": Kept.USAGE,
    "usage_summed_hours": Kept.USAGE_HOURS,
    "usage_summed_days": Kept.USAGE,
    "former_keys": Kept.USAGE,
    "peer_visits": Kept.VISITS,
}
"""Tables that get rows as time goes by, without anybody making something that he could delete."""

BOUNDED = {
    "acme_answers": "one for each name, while a CA asks",
    "acme_texts": "one for each name, while a CA asks",
    "addresses": "one for each peer and pool",
    "api_keys": "made and deleted by administrators",
    "assignments": "one for each node and config",
    "authority": "one row",
    "authority_rotation": "one row, while the CA is replaced",
    "cleanups": "one for each node and config",
    "config_histories": "the newest 50 of each config",
    "configs": "made and deleted by administrators",
    "departed_nodes": "a month each",
    "dns_syncs": "one for each published name",
    "endpoint_groups": "one for each config",
    "entrusted_nodes": "one for each config and node that had its keys",
    "floating_addresses": "made and deleted by administrators",
    "free_offsets": "no more than there were addresses",
    "host_names": "one for each name of an agent or endpoint, see the reconciler of names",
    "incarnations": "the newest 50",
    "owed_recalls": "one for each assignment and removal, until the calls are made",
    "rule_sets": "200 at most",
    "node_groups": "made and deleted by administrators",
    "node_loads": "one for each node",
    "node_traffic": "one for each node and config",
    "nodes": "made and deleted by administrators",
    "passkeys": "20 for each user",
    "password_links": "one for each user",
    "peer_allowances": "one for each peer at most",
    "peer_batches": "one for each call that makes many peers, while it does",
    "peer_changes": "one for each peer that an operation has yet to change",
    "peer_nodes": "one for each peer at most, which goes with it",
    "peer_jobs": "made and deleted by administrators",
    "peer_tombstones": "kept for a day, see above",
    "peers": "made and deleted by administrators",
    "peer_tags": "some for each peer, which go with it",
    "pools": "part of a config",
    "probe_key_rotations": "one for each config, while its keys are replaced",
    "relayed_clients": "one for each peer and node that relays it",
    "share_links": "20 for each peer, which go with it",
    "sign_in_providers": "20 at most",
    "sign_ins": "the newest 50 of each user",
    "tags": "made and deleted by administrators",
    "told_settings": "one for each setting",
    "health_freezes": "one at most",
    "usage_counters": "one for each key of a peer and node; of a former key until that goes",
    "usage_sources": "one for each node; of a deleted one as long as usage is kept",
    "usage_totals": "one for each peer; of a deleted one until its keys go",
    "users": "made and deleted by administrators",
    "web_certificates": "one row",
    "witness_keys": "one for each witness and config",
}


def test_every_table_is_either_bounded_or_has_an_age() -> None:
    assert GROWS.keys() | BOUNDED.keys() == Base.metadata.tables.keys()
    assert set(GROWS.values()) == set(Kept)


def test_by_default_everything_that_grows_has_an_age() -> None:
    assert days_kept(Settings()).keys() == set(Kept)


@dataclass(frozen=True)
class Aged:
    """Adds to a world, for each age in days, what is as old."""

    world: World
    config: Config
    node: Node
    other: Node
    peers: list[Peer]

    def at(self, days_ago: float) -> float:
        return clock.now() - days_ago * DAY_S

    def add(self, *rows: Base) -> None:
        with self.world.store.write() as tx:
            tx.session.add_all(rows)

    def operation(self, days_ago: float, *, ended: bool = True, moves: int = 0) -> str:
        operation_id, at = clock.new_id(), self.at(days_ago)
        self.add(
            Operation(
                id=operation_id,
                kind=OperationKind.DRAIN,
                subject=operation_id,
                config_id=self.config.id,
                node_id=self.node.id,
                state=OperationState.SUCCEEDED if ended else OperationState.RUNNING,
                step="",
                options={},
                progress={},
                result={},
                error=None,
                attempts=0,
                requested_by=ACTOR,
                created_at=at,
                updated_at=at,
                finished_at=at if ended else None,
            )
        )
        self.add(
            *(
                Move(
                    operation_id=operation_id,
                    peer_id=peer.id,
                    from_node_id=self.node.id,
                    to_node_id=self.other.id,
                    endpoint=None,
                    live=False,
                    rehomed=True,
                    state=MoveState.MOVED,
                    attempts=0,
                )
                for peer in self.peers[:moves]
            )
        )
        return operation_id

    def backup(self, days_ago: float, node: Node) -> None:
        self.add(
            Backup(
                id=f"{10_000 - days_ago:09.2f}-{clock.new_id()}",
                config_id=self.config.id,
                config_name=self.config.name,
                node_id=node.id,
                node_name=node.name,
                operation_id=None,
                reason="test",
                peers=0,
                content_sealed=b"",
                created_at=self.at(days_ago),
            )
        )

    def session(self, days_ago: float, peer: Peer, node: Node) -> None:
        self.add(
            PeerSession(
                peer_id=peer.id,
                node_id=node.id,
                endpoint="192.0.2.99:1",
                latest_handshake=int(self.at(days_ago)),
                rx=0,
                tx=0,
                called_from=None,
                seen_at=self.at(days_ago),
            )
        )

    def left(self, table: type[Base], *where: Any) -> int:
        with self.world.store.read() as tx:
            return tx.session.scalar(select(func.count()).select_from(table).where(*where)) or 0


@pytest.fixture
def aged(world: World) -> Aged:
    config = world.config()
    node, other = world.serving(config, "one", "two")
    return Aged(world, config, node, other, world.peers(config, "a", "b", "c"))


def test_changes_of_health_go_when_they_are_old(aged: Aged) -> None:
    for days_ago in (100, 91, 89):
        aged.add(
            HealthEvent(
                config_id=aged.config.id,
                node_id=aged.node.id,
                at=aged.at(days_ago),
                before=Health.SERVING,
                after=Health.DOWN,
                reason="test",
            )
        )
    before = aged.left(HealthEvent)
    prune(aged.world, 0, {Kept.HEALTH: 90})
    assert aged.left(HealthEvent) == before - 2


def test_an_operation_outlives_its_moves_and_one_that_has_not_ended_stays(
    aged: Aged, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "BATCH", 2)
    old, middle, new = (aged.operation(days_ago, moves=3) for days_ago in (400, 20, 10))
    running = aged.operation(500, ended=False, moves=3)
    prune(aged.world, 0, {Kept.MOVES: 14, Kept.OPERATIONS: 365})
    with aged.world.store.read() as tx:
        assert set(tx.session.scalars(select(Operation.id))) == {middle, new, running}
        assert set(tx.session.scalars(select(Move.operation_id))) == {new, running}
    prune(aged.world, 0, {Kept.OPERATIONS: 1})  # not before its moves have gone
    assert aged.left(Operation, Operation.id == new) == 1
    assert aged.left(Operation, Operation.id == middle) == 0
    del old


def test_the_newest_backup_of_a_node_stays_however_old(aged: Aged) -> None:
    for days_ago in (900, 800, 400):
        aged.backup(days_ago, aged.node)
    aged.backup(700, aged.other)
    aged.backup(10, aged.other)
    prune(aged.world, 0, {Kept.BACKUPS: 365})
    assert aged.left(Backup, Backup.node_id == aged.node.id) == 1
    assert aged.left(Backup, Backup.node_id == aged.other.id) == 1
    with aged.world.store.read() as tx:
        assert min(tx.session.scalars(select(Backup.created_at))) == pytest.approx(aged.at(400), abs=60)


def test_the_last_session_of_a_peer_stays_however_old(aged: Aged) -> None:
    moved, idle, fresh = aged.peers
    aged.session(40, moved, aged.node)
    aged.session(1, moved, aged.other)
    aged.session(300, idle, aged.node)
    aged.session(1, fresh, aged.node)
    aged.session(0.5, fresh, aged.other)
    prune(aged.world, 0, {Kept.SESSIONS: 30})
    with aged.world.store.read() as tx:
        rows = {(peer, node) for peer, node in tx.session.execute(select(PeerSession.peer_id, PeerSession.node_id))}
    assert rows == {
        (moved.id, aged.other.id),
        (idle.id, aged.node.id),
        (fresh.id, aged.node.id),
        (fresh.id, aged.other.id),
    }


def test_join_tokens_that_are_over_go(aged: Aged) -> None:
    for name, used_days_ago, expired_days_ago in (("used", 31, 29), ("expired", None, 31), ("valid", None, -1)):
        aged.add(
            JoinToken(
                digest=name,
                node_id=aged.node.id,
                created_at=aged.at(40),
                expires_at=aged.at(expired_days_ago),
                used_at=None if used_days_ago is None else aged.at(used_days_ago),
            )
        )
    prune(aged.world, 0, {Kept.JOIN_TOKENS: 30})
    with aged.world.store.read() as tx:
        assert set(tx.session.scalars(select(JoinToken.digest))) == {"valid"}


def test_rate_limits_of_accounts_that_nobody_uses_go_but_not_while_they_are_blocked(aged: Aged) -> None:
    for name, used_days_ago, blocked_days_ago in (("idle", 8, 8), ("blocked", 8, -1), ("used", 1, 1)):
        aged.add(
            DnsAccount(
                account=name,
                tokens=1.0,
                updated_at=aged.at(used_days_ago),
                blocked_until=aged.at(blocked_days_ago),
            )
        )
    prune(aged.world, 0, {Kept.DNS_ACCOUNTS: 7})
    with aged.world.store.read() as tx:
        assert set(tx.session.scalars(select(DnsAccount.account))) == {"blocked", "used"}
