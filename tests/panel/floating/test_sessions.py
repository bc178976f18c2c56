"""Sessions follow floating addresses: who calls whom, from where, and when."""

import asyncio

import pytest

from tests.panel.floating.test_holders import A1, A2, becomes, carried, holder_names, put
from tests.panel.world import LIVE_S, World
from wgfleet.panel import clock
from wgfleet.panel.domain.health.votes import Health
from wgfleet.panel.domain.operations import OperationKind, OperationState
from wgfleet.panel.reconcile.moves.worker import WAIT_S, MoveWorker
from wgfleet.panel.reconcile.outlook import Outlook
from wgfleet.panel.services import configs, operations
from wgfleet.panel.services.floating import holders
from wgfleet.panel.services.moves import address_move, drain, failover, rebalance, recalls, steps, takeovers
from wgfleet.panel.services.moves.takeovers import TakeoverCall
from wgfleet.panel.settings.drain import DrainSettings
from wgfleet.panel.store import assignments as assignment_rows
from wgfleet.panel.store import operations as operation_rows
from wgfleet.panel.store import sessions as session_rows
from wgfleet.panel.store.tables import Config, Node, Operation, Peer
from wgfleet.panel.store.wakes import Topic, Wake

HOME = "198.51.100.7:1000"  # where a client was last seen


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    """One database will do: what is kept is tested on both."""
    return sqlite_url


def due(world: World, operation: Operation) -> list[TakeoverCall]:
    with world.store.write() as tx:
        return takeovers.due(tx, world.vault, operation.id, live_within_s=LIVE_S)[1]


def answer(world: World, operation: Operation, call: TakeoverCall, *, answered: bool) -> None:
    with world.store.write() as tx:
        if answered:
            sources = {call.peer_id: call.source} if call.source is not None else {}
            takeovers.record_answers(tx, operation.id, call.node_id, {call.peer_id: call.endpoint}, sources=sources)
        else:
            takeovers.record_answers(tx, operation.id, call.node_id, {}, [call.peer_id])


def live(world: World, config: Config, node: Node, *others: Node, names: tuple[str, ...] = ("anna",)) -> list[Peer]:
    """Return new peers that every node has, with sessions on `node`."""
    made = world.peers(config, *names)
    world.sync_all(config, node, *others)
    world.seen(config, node, {peer.public_key: HOME for peer in made})
    return made


def failed_over(world: World, config: Config, node: Node) -> Operation:
    """Have a node die with its agent; return the failover, placed."""
    becomes(world, config, node, Health.DOWN, silent=True)
    with world.store.write() as tx:
        found = operation_rows.newest(tx, OperationKind.FAILOVER, f"{config.id}/{node.id}")
        assert found is not None
        steps.place(tx, found.id, live_within_s=LIVE_S)
    return found


def callers(found: list[TakeoverCall]) -> list[tuple[str, str | None]]:
    return [(call.node_id, call.source) for call in found]


def test_a_dead_node_s_client_is_called_from_its_address_once_the_new_holder_has_it(world: World) -> None:
    config = world.config()
    fra1, ams1, par1 = world.serving(config, "fra1", "ams1", "par1")
    put(world, config, A1)
    live(world, config, fra1, ams1, par1)
    operation = failed_over(world, config, fra1)
    assert due(world, operation) == []
    world.wakes.clear()
    world.sync_all(config, ams1)
    assert Wake(Topic.OPERATION, operation.id, operation.kind) in world.wakes
    assert callers(due(world, operation)) == [(ams1.id, A1)]


def test_where_a_dead_node_held_several_addresses_their_new_holders_take_turns(world: World) -> None:
    config = world.config()
    (fra1,) = world.serving(config, "fra1")
    put(world, config, A1, A2)
    ams1, par1 = world.serving(config, "ams1", "par1")
    live(world, config, fra1, ams1, par1)
    operation = failed_over(world, config, fra1)
    world.sync_all(config, ams1, par1)
    assert holder_names(world, config) == {A1: "ams1", A2: "par1"}
    seen = []
    for _ in range(3):
        (call,) = due(world, operation)
        seen.append((call.node_id, call.source))
        answer(world, operation, call, answered=False)
    assert seen == [(ams1.id, A1), (par1.id, A2), (ams1.id, A1)]


def test_a_client_is_called_first_from_the_address_that_it_answered_to_before(world: World) -> None:
    config = world.config()
    fra1, ams1 = world.serving(config, "fra1", "ams1")
    put(world, config, A1, A2)
    assert holder_names(world, config) == {A1: "fra1", A2: "ams1"}
    live(world, config, ams1, fra1)
    operation = failed_over(world, config, ams1)
    world.sync_all(config, fra1)
    (call,) = due(world, operation)
    assert (call.node_id, call.source) == (fra1.id, A2)
    answer(world, operation, call, answered=True)
    with world.store.write() as tx:
        failover.close(tx, operation.id)
    becomes(world, config, ams1, Health.SERVING)
    world.sync_all(config, fra1, ams1)
    again = failed_over(world, config, fra1)
    world.sync_all(config, ams1)
    assert holder_names(world, config) == {A1: "ams1", A2: "ams1"}
    assert callers(due(world, again)) == [(ams1.id, A2)]


def test_one_that_was_never_called_is_called_first_from_the_address_that_its_node_had_for_longest(world: World) -> None:
    config = world.config()
    fra1, ams1 = world.serving(config, "fra1", "ams1")
    put(world, config, A1, A2)
    live(world, config, ams1, fra1)
    first = failed_over(world, config, fra1)
    world.sync_all(config, ams1)
    with world.store.write() as tx:
        failover.close(tx, first.id)
    becomes(world, config, fra1, Health.SERVING)
    world.sync_all(config, fra1, ams1)
    assert holder_names(world, config) == {A1: "ams1", A2: "ams1"}
    again = failed_over(world, config, ams1)
    world.sync_all(config, fra1)
    assert callers(due(world, again)) == [(fra1.id, A2)], "A1 came to it later"


def test_nobody_is_called_from_an_address_that_the_node_lost_another_time(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = world.config()
    fra1, ams1, par1 = world.serving(config, "fra1", "ams1", "par1")
    put(world, config, A1, A2)
    assert holder_names(world, config) == {A1: "fra1", A2: "ams1"}
    first = failed_over(world, config, fra1)
    with world.store.write() as tx:
        failover.close(tx, first.id)
        holders.give(tx, config.id, {A1: par1.id})
    world.sync_all(config, ams1, par1)
    becomes(world, config, fra1, Health.SERVING)
    with world.store.write() as tx:
        holders.give(tx, config.id, {A2: fra1.id})
    world.sync_all(config, ams1, fra1)
    live(world, config, fra1, ams1, par1)
    now = clock.now()
    monkeypatch.setattr(clock, "now", lambda: now + 60)
    again = failed_over(world, config, fra1)
    assert callers(due(world, again)) == [], "its clients came by A2, which nobody has yet; A1 it lost long ago"
    world.sync_all(config, ams1, par1)
    ((_, source),) = callers(due(world, again))
    assert source == A2


def test_of_several_addresses_that_leave_a_node_at_once_one_move_calls_each_client_from_all_in_turn(
    world: World,
) -> None:
    config = world.config()
    (fra1,) = world.serving(config, "fra1")
    put(world, config, A1, A2)
    ams1, par1 = world.serving(config, "ams1", "par1")
    (anna,) = live(world, config, fra1, ams1, par1)
    with world.store.write() as tx:
        found = configs.get(tx, config.id)
        operations_of = [
            address_move.start(tx, "test", found, address, node) for address, node in ((A1, ams1), (A2, par1))
        ]
    for operation in operations_of:
        with world.store.write() as tx:
            address_move.place(tx, operation.id, live_within_s=LIVE_S)
    world.sync_all(config, fra1, ams1, par1)
    with world.store.read() as tx:
        moved = [list(operation_rows.moves(tx, operation.id)) for operation in operations_of]
    assert moved == [[anna.id], []]
    seen = []
    for _ in range(2):
        (call,) = due(world, operations_of[0])
        seen.append((call.node_id, call.source))
        answer(world, operations_of[0], call, answered=False)
    assert seen == [(ams1.id, A1), (par1.id, A2)]


def test_a_recall_does_not_forget_from_which_address_a_client_is_called(world: World) -> None:
    config = world.config()
    fra1, ams1 = world.serving(config, "fra1", "ams1")
    put(world, config, A1, A2)
    (anna,) = live(world, config, ams1, fra1)
    operation = failed_over(world, config, ams1)
    world.sync_all(config, fra1)
    (call,) = due(world, operation)
    answer(world, operation, call, answered=True)
    with world.store.write() as tx:
        row = assignment_rows.get(tx, config.id, ams1.id)
        assert row is not None
        assert [(each.source, each.peer_id) for each in recalls.due(tx, world.vault, row.id, LIVE_S)[1]] == [
            (A2, anna.id)
        ]
        recalls.record_answers(tx, row.id, {fra1.id: {anna.id: HOME}}, row.applied_generation)
        recalls.record_late(tx, operation.id, {fra1.id: {anna.id: HOME}})
    with world.store.read() as tx:
        assert session_rows.latest(tx, [anna.id])[anna.id].called_from == A2


def test_when_the_new_holder_dies_too_the_next_one_calls_the_clients_of_both(world: World) -> None:
    config = world.config()
    fra1, ams1, par1 = world.serving(config, "fra1", "ams1", "par1")
    put(world, config, A1)
    live(world, config, fra1, ams1, par1)
    operation = failed_over(world, config, fra1)
    world.sync_all(config, ams1, par1)
    becomes(world, config, ams1, Health.DOWN, silent=True)
    world.sync(config, par1)
    assert callers(due(world, operation)) == [(par1.id, A1)]


def test_a_client_of_the_other_ip_version_is_called_as_without_floating_addresses(world: World) -> None:
    config = world.config()
    fra1, ams1 = world.serving(config, "fra1", "ams1")
    put(world, config, "2001:db8::10")
    live(world, config, fra1, ams1)
    operation = failed_over(world, config, fra1)
    world.sync(config, ams1)
    assert callers(due(world, operation)) == [(ams1.id, None)]


def test_a_drain_calls_from_elsewhere_first_and_only_then_moves_the_address(world: World) -> None:
    config = world.config()
    fra1, ams1 = world.serving(config, "fra1", "ams1")
    put(world, config, A1)
    open_path, behind_nat = live(world, config, fra1, ams1, names=("anna", "bert"))
    (operation,) = world.drain(fra1)
    with world.store.write() as tx:
        drain.place(tx, operation.id, live_within_s=LIVE_S)
    world.sync_all(config, fra1, ams1)
    first = due(world, operation)
    assert callers(first) == [(ams1.id, None)] * 2
    for call in first:
        answer(world, operation, call, answered=call.peer_id == open_path.id)
    assert carried(world, config, fra1, ams1) == {A1: ["fra1"]}
    assert due(world, operation) == []
    world.sync_all(config, fra1, ams1)
    assert carried(world, config, fra1, ams1) == {A1: ["ams1"]}
    (call,) = due(world, operation)
    assert (call.peer_id, call.node_id, call.source) == (behind_nat.id, ams1.id, A1)


def test_a_drain_ends_when_the_node_has_given_its_address_up(world: World) -> None:
    config = world.config()
    fra1, ams1 = world.serving(config, "fra1", "ams1")
    put(world, config, A1)
    world.sync_all(config, fra1, ams1)
    (operation,) = world.drain(fra1)
    with world.store.write() as tx:
        drain.place(tx, operation.id, live_within_s=LIVE_S)
        assert steps.unconfirmed(tx, operations.get(tx, operation.id)) == {fra1.id: "fra1"}
    world.sync_all(config, fra1, ams1)
    with world.store.write() as tx:
        assert not steps.unconfirmed(tx, operations.get(tx, operation.id))
        drain.close(tx, operation.id)
        assert operations.get(tx, operation.id).state == OperationState.SUCCEEDED
    assert carried(world, config, fra1, ams1) == {A1: ["ams1"]}


def test_a_drain_whose_clients_could_not_be_called_moves_the_address_before_it_ends(world: World) -> None:
    config = world.config()
    fra1, ams1 = world.serving(config, "fra1", "ams1")
    put(world, config, A1)
    live(world, config, fra1, ams1)
    (operation,) = world.drain(fra1, window_s=0)
    with world.store.write() as tx:
        drain.place(tx, operation.id, live_within_s=LIVE_S)
        drain.close(tx, operation.id)
        assert operations.get(tx, operation.id).finished_at is None
        assert steps.unconfirmed(tx, operations.get(tx, operation.id)) == {fra1.id: "fra1"}
    world.sync_all(config, fra1, ams1)
    with world.store.write() as tx:
        drain.close(tx, operation.id)
        assert operations.get(tx, operation.id).state == OperationState.FAILED


def test_an_address_that_is_moved_by_hand_takes_its_clients_along(world: World) -> None:
    config = world.config()
    fra1, ams1 = world.serving(config, "fra1", "ams1")
    put(world, config, A1)
    (peer,) = live(world, config, fra1, ams1)
    with world.store.write() as tx:
        operation = address_move.start(tx, "test", configs.get(tx, config.id), A1, ams1)
        address_move.place(tx, operation.id, live_within_s=LIVE_S)
    assert due(world, operation) == []
    world.sync_all(config, fra1, ams1)
    (call,) = due(world, operation)
    assert (call.peer_id, call.node_id, call.source) == (peer.id, ams1.id, A1)
    answer(world, operation, call, answered=True)
    world.sync_all(config, fra1, ams1)
    assert world.users(config, fra1) == set()
    with world.store.write() as tx:
        assert address_move.over(tx, operation.id) is None
        assert not steps.unconfirmed(tx, operations.get(tx, operation.id))
        address_move.close(tx, operation.id)
        ended = operations.get(tx, operation.id)
        assert (ended.state, ended.result["sessions_taken_over"]) == (OperationState.SUCCEEDED, 1)
    world.sync_all(config, fra1, ams1)
    assert world.users(config, fra1) == {peer.public_key}


def test_a_move_whose_node_dies_says_so(world: World) -> None:
    config = world.config()
    fra1, ams1, par1 = world.serving(config, "fra1", "ams1", "par1")
    put(world, config, A1)
    live(world, config, fra1, ams1, par1)
    with world.store.write() as tx:
        operation = address_move.start(tx, "test", configs.get(tx, config.id), A1, ams1)
        address_move.place(tx, operation.id, live_within_s=LIVE_S)
    becomes(world, config, ams1, Health.DOWN, silent=True)
    with world.store.write() as tx:
        address_move.close(tx, operation.id)
        ended = operations.get(tx, operation.id)
        assert ended.state == OperationState.FAILED
        assert "does not serve any more" in ended.result["reason"]


def test_a_rebalance_spreads_addresses_and_leaves_sessions_to_follow_them(world: World) -> None:
    config = world.config()
    (fra1,) = world.serving(config, "fra1")
    put(world, config, A1, A2)
    (ams1,) = world.serving(config, "ams1")
    live(world, config, fra1, ams1, names=("anna", "bert"))
    assert holder_names(world, config) == {A1: "fra1", A2: "fra1"}
    operation = world.rebalance(config)
    with world.store.write() as tx:
        rebalance.place(tx, operation.id, live_within_s=LIVE_S)
        (moving,) = [
            found
            for found in operations.page(tx, kind=OperationKind.MOVE_ADDRESS)
            if found.options["to_node_id"] == ams1.id
        ]
        address_move.place(tx, moving.id, live_within_s=LIVE_S)
    assert due(world, operation) == []
    world.sync_all(config, fra1, ams1)
    world.sync_all(config, fra1, ams1)
    assert sorted(holder_names(world, config).values(), key=str) == ["ams1", "fra1"]
    assert {call.source for call in due(world, moving)} == {moving.subject}


def test_a_drain_whose_node_keeps_its_address_says_so_and_looks_again_now_and_then(world: World) -> None:
    """An agent that does not report what it holds never confirms; nobody may spin on that."""
    config = world.config()
    fra1, ams1 = world.serving(config, "fra1", "ams1")
    put(world, config, A1)
    world.sync_all(config, fra1, ams1)
    (operation,) = world.drain(fra1, window_s=0)
    worker = MoveWorker(world.store, world.vault, DrainSettings(unreachable_s=0), {}, Outlook())

    async def thrice() -> list[float | None]:
        return [await worker.reconcile(operation.id) for _ in range(3)]

    world.wakes.clear()
    assert asyncio.run(thrice()) == [WAIT_S] * 3
    with world.store.read() as tx:
        waiting = operations.get(tx, operation.id)
        assert waiting.finished_at is None
        assert "has not confirmed" in (waiting.error or "")
    assert Wake(Topic.OPERATION, operation.id, OperationKind.DRAIN) not in world.wakes
    world.sync_all(config, fra1, ams1)
    assert asyncio.run(worker.reconcile(operation.id)) is None
    with world.store.read() as tx:
        ended = operations.get(tx, operation.id)
        assert (ended.state, ended.error) == (OperationState.SUCCEEDED, None)
    assert carried(world, config, fra1, ams1) == {A1: ["ams1"]}
