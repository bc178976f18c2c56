"""Operations that a person cancels, as rows, on both databases: what is undone, and when it is too late."""

import asyncio
from collections.abc import Callable
from contextvars import Context

import pytest

from tests.panel.conftest import one_database
from tests.panel.moves.test_peer_moves import begun as move_begun
from tests.panel.moves.test_removal import homes, operation_now, run
from tests.panel.world import ACTOR, World
from wgfleet.panel import origin
from wgfleet.panel.domain.moves import MoveStep
from wgfleet.panel.domain.operations import OperationState
from wgfleet.panel.domain.phases import Phase
from wgfleet.panel.errors import Conflict
from wgfleet.panel.reconcile.moves.group_drain import GroupDrainReconciler
from wgfleet.panel.reconcile.moves.stopping import Stopping
from wgfleet.panel.services import audit, operations
from wgfleet.panel.services.access import api_keys, standing
from wgfleet.panel.services.access.callers import ADMIN, WRITE
from wgfleet.panel.services.fleet import node_groups, nodes
from wgfleet.panel.services.moves import cancelling, drain, group_drain, rebalance
from wgfleet.panel.store import assignments as assignment_rows
from wgfleet.panel.store.tables import ApiKey, Config, Node, Operation

S = MoveStep


def cancel(world: World, operation: Operation) -> None:
    with world.store.write() as tx:
        cancelling.cancel(tx, ACTOR, operations.get(tx, operation.id))


def phase(world: World, config: Config, node: Node) -> str:
    with world.store.read() as tx:
        found = assignment_rows.get(tx, config.id, node.id)
    assert found is not None
    return found.phase


@one_database
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


@one_database
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


@one_database
def test_what_a_revoked_key_began_is_undone_where_a_person_could_undo_it(world: World) -> None:
    config = world.config()
    one, two = world.serving(config, "one", "two")
    world.peers(config, "a", "b")
    world.sync_all(config, one, two)
    with world.store.write() as tx:
        api_keys.create_key(tx, ACTOR, "first", [ADMIN])
        key, _ = api_keys.create_key(tx, ACTOR, "ci", [WRITE])
        later, _ = api_keys.create_key(tx, ACTOR, "cd", [WRITE])

    def begun(by: ApiKey = key) -> Operation:
        origin.bind_requester(standing.of_key(by.id))
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

    again = Context().run(begun, later)
    while world.step(again) is not S.RETIRE:
        world.sync_all(config, one, two)
    with world.store.write() as tx:
        api_keys.revoke_key(tx, ACTOR, api_keys.get_key(tx, later.id))
    look(again)  # too late: it is brought to its end
    assert operation_now(world, again).cancelled_by is None


def rebalanced(world: World, config: Config, _one: Node, _two: Node) -> Operation:
    with world.store.write() as tx:
        return rebalance.start(tx, ACTOR, config, grace_s=5.0)


BEGUN: dict[str, Callable[[World, Config, Node, Node], Operation]] = {
    "drain": lambda world, _config, one, _two: world.drain(one)[0],
    "move": lambda world, config, _one, two: move_begun(world, config, two.name, part=None),
    "rebalance": rebalanced,
    "removal": lambda world, config, one, _two: world.remove(config, one),
}


@pytest.mark.parametrize("revoked", [False, True], ids=["cancelled", "revoked"])
@pytest.mark.parametrize("kind", BEGUN)
@one_database
def test_what_is_stopped_after_its_step_was_chosen_moves_nobody(world: World, kind: str, *, revoked: bool) -> None:
    config = world.config()
    (one,) = world.serving(config, "one")
    world.peers(config, "a", "b", "c", "d")
    (two,) = world.serving(config, "two")
    world.sync_all(config, one, two)
    with world.store.write() as tx:
        api_keys.create_key(tx, ACTOR, "first", [ADMIN])
        key, _ = api_keys.create_key(tx, ACTOR, "ci", [WRITE])

    def begin() -> Operation:
        origin.bind_requester(standing.of_key(key.id))
        return BEGUN[kind](world, config, one, two)

    operation, before = Context().run(begin), homes(world, config)
    if kind == "removal":
        assert world.step(operation) is S.BACKUP
    if revoked:
        with world.store.write() as tx:
            api_keys.revoke_key(tx, ACTOR, api_keys.get_key(tx, key.id))
    else:
        cancel(world, operation)
    world.perform(S.PLACE, operation)
    assert run(world, config, [one, two], operation) == [S.CLOSE]
    ended = operation_now(world, operation)
    assert (ended.state, homes(world, config)) == (OperationState.FAILED, before)
    assert ended.result["reason"].startswith("cancelled by")
    assert ("was revoked" in ended.result["reason"]) is revoked
    assert phase(world, config, one) == Phase.SERVING
    with world.store.read() as tx:
        assert not audit.page(tx, action="peers_migrated")[0]


@one_database
def test_a_group_drain_whose_key_is_revoked_begins_with_no_further_node(world: World) -> None:
    config = world.config()
    one, two, _three = world.serving(config, "one", "two", "three")
    with world.store.write() as tx:
        group = node_groups.create(tx, ACTOR, "eu")
        for node in (one, two):
            nodes.get(tx, node.id).group_id = group.id
        api_keys.create_key(tx, ACTOR, "first", [ADMIN])
        key, _ = api_keys.create_key(tx, ACTOR, "ci", [WRITE])

    def begin() -> Operation:
        origin.bind_requester(standing.of_key(key.id))
        with world.store.write() as tx:
            return group_drain.start(tx, ACTOR, node_groups.get(tx, "eu"), grace_s=5.0)

    operation = Context().run(begin)
    with world.store.write() as tx:
        api_keys.revoke_key(tx, ACTOR, api_keys.get_key(tx, key.id))
    assert asyncio.run(GroupDrainReconciler(world.store).reconcile(operation.id)) is None
    ended = operation_now(world, operation)
    assert (ended.state, ended.result["nodes"]) == (OperationState.FAILED, 0)
    assert "was revoked" in ended.result["not_drained"]["one"]
    with world.store.read() as tx:
        assert not any(nodes.get(tx, node.id).cordoned for node in (one, two))
