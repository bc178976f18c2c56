"""A node that was out of use and comes back: what it keeps, what it drops, and who is called again."""

import asyncio
from dataclasses import dataclass, field
from typing import cast

from tests.panel.conftest import one_database
from tests.panel.world import ACTOR, World
from wgfleet.panel import clock
from wgfleet.panel.domain.health.votes import Health
from wgfleet.panel.domain.moves import MoveStep
from wgfleet.panel.domain.operations import OperationKind
from wgfleet.panel.reconcile.agents.connection import AgentConnection
from wgfleet.panel.reconcile.moves.recalls import Recalls
from wgfleet.panel.services import operations
from wgfleet.panel.services.fleet import peers
from wgfleet.panel.services.moves import failover, recalls
from wgfleet.panel.settings import Settings
from wgfleet.panel.store import assignments as assignment_rows
from wgfleet.panel.store import operations as operation_rows
from wgfleet.panel.store import sessions as session_rows
from wgfleet.panel.store.sessions import NodeSessions
from wgfleet.panel.store.tables import Config, Node, Peer
from wgfleet.panel.store.wakes import Topic
from wgfleet.protocol.ids import InterfaceName
from wgfleet.protocol.messages import Takeover, TakeoverResult
from wgfleet.protocol.observed import PeerStats

AT = "198.51.100.9:40000"


def live(world: World) -> tuple[Config, Node, Node, list[Peer]]:
    """Two nodes; three clients, the first two with sessions on the first node."""
    config = world.config()
    fra1, ams1 = world.serving(config, "fra1", "ams1")
    peers = world.peers(config, "ann", "bob", "cid")
    world.sync_all(config, fra1, ams1)
    world.seen(config, fra1, {peer.public_key: AT for peer in peers[:2]})
    return config, fra1, ams1, peers


def failed_over(world: World, config: Config, node: Node, other: Node, answers: frozenset[str]) -> None:
    failover = world.failover(config, node)
    for _ in range(4):
        world.sync(config, other)
        if world.step(failover, answers=answers) is MoveStep.TAKEOVER:
            break
    else:
        raise AssertionError("no takeover")


@one_database
def test_a_node_that_returns_keeps_the_sessions_that_nobody_took_over_and_no_others(world: World) -> None:
    config, fra1, ams1, (ann, bob, cid) = live(world)
    failed_over(world, config, fra1, ams1, frozenset({bob.id}))
    world.sync(config, fra1)
    assert world.users(config, fra1) == {ann.public_key}
    assert cid.public_key in world.users(config, ams1)
    world.judged(config, fra1, Health.RECOVERING)
    world.sync(config, fra1)
    assert world.users(config, fra1) == {ann.public_key}


@one_database
def test_what_is_taken_over_later_is_dropped_then(world: World) -> None:
    config, fra1, ams1, (ann, bob, _) = live(world)
    failover = world.failover(config, fra1)
    world.sync_all(config, fra1, ams1)
    assert world.users(config, fra1) == {ann.public_key, bob.public_key}
    for _ in range(4):
        world.sync(config, ams1)
        if world.step(failover) is MoveStep.TAKEOVER:
            break
    world.sync(config, fra1)
    assert world.users(config, fra1) == set()


@one_database
def test_a_node_that_was_never_dead_loses_no_session_and_serves_all_again(world: World) -> None:
    config, fra1, _, (ann, bob, cid) = live(world)
    with world.store.write() as tx:  # nobody can be reached, so nobody takes anything over
        row = assignment_rows.get(tx, config.id, fra1.id)
        assert row is not None
    world.judged(config, fra1, Health.DOWN)
    for health in (Health.DOWN, Health.RECOVERING, Health.SERVING):
        world.judged(config, fra1, health)
        world.sync(config, fra1)
        assert {ann.public_key, bob.public_key} <= world.users(config, fra1), health
    assert cid.public_key in world.users(config, fra1)


@dataclass
class Line:
    """A line to an agent whose clients answer each call."""

    called: list[str] = field(default_factory=list)
    deaf: int = 0

    @property
    def client(self) -> "Line":
        return self

    async def takeover(self, interface: InterfaceName, takeover: Takeover) -> TakeoverResult:
        assert interface == "wg0"
        keys = [peer.public_key for peer in takeover.peers]
        assert {peer.endpoint for peer in takeover.peers} == {AT}
        self.called += keys
        self.deaf -= 1
        return TakeoverResult({} if self.deaf >= 0 else dict.fromkeys(keys, 0.0), ())


@one_database
def test_clients_that_a_returning_node_may_have_taken_back_are_called_again_at_once(world: World) -> None:
    config, fra1, ams1, (_, bob, _) = live(world)
    failed_over(world, config, fra1, ams1, frozenset({bob.id}))
    world.wakes.clear()
    world.sync(config, fra1)
    fenced = [wake.id for wake in world.wakes if wake.topic is Topic.FENCED]
    assert len(fenced) == 1
    world.wakes.clear()
    world.sync(config, fra1)
    assert not [wake for wake in world.wakes if wake.topic is Topic.FENCED], "once"

    lines = {fra1.id: Line(), ams1.id: Line(deaf=1)}
    connections = cast("dict[str, AgentConnection]", lines)
    asyncio.run(Recalls(world.store, world.vault, Settings().drain, connections).reconcile(fenced[0]))
    assert lines[ams1.id].called == [bob.public_key] * 2, "once more, since the first call was not answered"
    assert lines[fra1.id].called == []


@one_database
def test_a_client_that_shook_hands_with_a_returning_node_before_that_was_fenced_is_not_left_to_it(world: World) -> None:
    """Its WireGuard calls clients that it has not heard for a while; what it then reports is newer than their move."""
    config, fra1, ams1, (ann, bob, _) = live(world)
    failed_over(world, config, fra1, ams1, frozenset({bob.id}))
    with world.store.write() as tx:  # as a minute later, when nobody waits for the node any more
        about = operations.subject(config.id, fra1.id)
        ended = operation_rows.newest(tx, OperationKind.FAILOVER, about)
        assert ended is not None
        failover.close(tx, ended.id)
    pulled_back = PeerStats(endpoint=AT, latest_handshake=round(clock.steady()) + 2)
    with world.store.write() as tx:
        said = NodeSessions(fra1.id, config.id, {bob.public_key: pulled_back})
        session_rows.record(tx, [said], clock.steady())
    world.wakes.clear()
    world.sync(config, fra1)
    assert bob.public_key not in world.users(config, fra1)
    assert ann.public_key in world.users(config, fra1), "whom nobody reached"
    [fenced] = [wake.id for wake in world.wakes if wake.topic is Topic.FENCED]
    lines = {fra1.id: Line(), ams1.id: Line()}
    asyncio.run(
        Recalls(world.store, world.vault, Settings().drain, cast("dict[str, AgentConnection]", lines)).reconcile(fenced)
    )
    assert lines[ams1.id].called == [bob.public_key]
    with world.store.read() as tx:
        assert session_rows.latest(tx, [bob.id])[bob.id].node_id == ams1.id


@one_database
def test_nobody_is_called_again_for_a_node_in_use(world: World) -> None:
    config, fra1, ams1, (_, bob, _) = live(world)
    failed_over(world, config, fra1, ams1, frozenset({bob.id}))
    world.sync(config, fra1)
    with world.store.read() as tx:
        row = assignment_rows.get(tx, config.id, fra1.id)
        assert row is not None
        assert [call.peer_id for call in recalls.due(tx, world.vault, row.id, 180.0)[1]] == [bob.id]
    for enabled in (False, True):
        with world.store.write() as tx:
            peers.update(tx, world.vault, ACTOR, peers.get(tx, bob.id), {"enabled": enabled})
            assert bool(recalls.due(tx, world.vault, row.id, 180.0)[1]) is enabled
    world.judged(config, fra1, Health.SERVING)
    with world.store.read() as tx:
        assert recalls.due(tx, world.vault, row.id, 180.0) == ("wg0", [])
        assert recalls.due(tx, world.vault, "none", 180.0) == ("", [])
