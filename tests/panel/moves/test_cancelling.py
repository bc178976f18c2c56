"""Operations that a person cancels, as rows, on both databases: what is undone, and when it is too late."""

import asyncio
from contextvars import Context

import pytest

from tests.panel.moves.test_removal import homes, operation_now, run
from tests.panel.world import ACTOR, World
from wgfleet.panel import origin
from wgfleet.panel.domain.moves import MoveStep
from wgfleet.panel.domain.operations import OperationState
from wgfleet.panel.domain.phases import Phase
from wgfleet.panel.errors import Conflict
from wgfleet.panel.reconcile.moves.stopping import Stopping
from wgfleet.panel.services import operations
from wgfleet.panel.services.access import api_keys, standing
from wgfleet.panel.services.access.callers import ADMIN, WRITE
from wgfleet.panel.services.fleet import nodes
from wgfleet.panel.services.moves import cancelling, drain, rebalance
from wgfleet.panel.store import assignments as assignment_rows
from wgfleet.panel.store.tables import Config, Node, Operation

S = MoveStep


def cancel(world: World, operation: Operation) -> None:
    with world.store.write() as tx:
        cancelling.cancel(tx, ACTOR, operations.get(tx, operation.id))


def phase(world: World, config: Config, node: Node) -> str:
    with world.store.read() as tx:
        found = assignment_rows.get(tx, config.id, node.id)
    assert found is not None
    return found.phase


def test_a_removal_is_undone_until_the_node_deletes_its_interface(world: World) -> None:
    config = world.config()
    one, two = world.serving(config, "one", "two")
    world.peers(config, "a", "b")
    world.sync_all(config, one, two)
    operation = world.remove(config, one)
    assert [world.step(operation), world.step(operation)] == [S.BACKUP, S.PLACE]
    cancel(world, operation)
    assert run(world, config, [one, two], operation) == [S.CLOSE]
    ended = operation_now(world, operation)
    assert (ended.state, ended.cancelled_by) == (OperationState.FAILED, ACTOR)
    assert ended.result["interface"] == "kept"
    assert ended.result["reason"].startswith(f"cancelled by {ACTOR}; peers that have a new home keep it")
    assert phase(world, config, one) == Phase.SERVING
    assert set(homes(world, config).values()) == {two.id}
    assert len(world.users(config, one)) == 2
    with pytest.raises(Conflict, match="has ended already"):
        cancel(world, operation)

    again = world.remove(config, one)
    while world.step(again) is not S.RETIRE:
        world.sync_all(config, one, two)
    with pytest.raises(Conflict, match="deletes its interface"):
        cancel(world, again)


def test_a_drained_node_is_uncordoned_and_a_rebalance_stops(world: World) -> None:
    config = world.config()
    one, two = world.serving(config, "one", "two")
    world.peers(config, "a", "b")
    world.sync_all(config, one, two)
    with world.store.write() as tx:
        (draining,) = drain.start(tx, ACTOR, nodes.get(tx, one.id), grace_s=5.0)
    cancel(world, draining)
    with world.store.write() as tx:
        assert not nodes.get(tx, one.id).cordoned
        spreading = rebalance.start(tx, ACTOR, config, grace_s=5.0)
    cancel(world, spreading)
    for operation in (draining, spreading):
        run(world, config, [one, two], operation)
        ended = operation_now(world, operation)
        assert (ended.state, ended.cancelled_by) == (OperationState.FAILED, ACTOR)
        assert ended.result["reason"].startswith(f"cancelled by {ACTOR}")


def test_what_a_revoked_key_began_is_undone_where_a_person_could_undo_it(world: World) -> None:
    config = world.config()
    one, two = world.serving(config, "one", "two")
    world.peers(config, "a", "b")
    world.sync_all(config, one, two)
    with world.store.write() as tx:
        api_keys.create_key(tx, ACTOR, "first", [ADMIN])
        key, _ = api_keys.create_key(tx, ACTOR, "ci", [WRITE])

    def begun() -> Operation:
        origin.bind_requester(standing.of_key(key.id))
        return world.remove(config, one)

    async def reconciled(_operation: str) -> None:
        return None

    def look(operation: Operation) -> None:
        asyncio.run(Stopping(world.store).before(reconciled)(operation.id))  # type: ignore[arg-type]  # a coroutine

    operation = Context().run(begun)
    late = Context().run(begun)
    assert late.id == operation.id
    look(operation)
    assert operation_now(world, operation).cancelled_by is None
    assert [world.step(operation), world.step(operation)] == [S.BACKUP, S.PLACE]
    with world.store.write() as tx:
        api_keys.revoke_key(tx, ACTOR, api_keys.get_key(tx, key.id))
    look(operation)
    assert run(world, config, [one, two], operation) == [S.CLOSE]
    ended = operation_now(world, operation)
    assert (ended.state, ended.result["interface"]) == (OperationState.FAILED, "kept")
    assert ended.result["reason"].startswith(
        f"cancelled by panel, as API key {operation.requested_by.partition(':')[2]!r}, which began it, was revoked; "
    )
    assert phase(world, config, one) == Phase.SERVING
    look(operation)

    again = Context().run(begun)
    while world.step(again) is not S.RETIRE:
        world.sync_all(config, one, two)
    look(again)  # too late: it is brought to its end
    assert operation_now(world, again).cancelled_by is None
