"""The worker of moves with real rows, and agents that answer, hang or are silent as each test says."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import cast

import pytest

from tests.panel.conftest import one_database
from tests.panel.world import World
from wgfleet.panel import clock
from wgfleet.panel.domain.health.votes import Health
from wgfleet.panel.domain.moves import MoveStep
from wgfleet.panel.domain.operations import OperationState
from wgfleet.panel.reconcile.agents.connection import AgentConnection, Reported
from wgfleet.panel.reconcile.moves import drops, takeovers
from wgfleet.panel.reconcile.moves.takeovers import QUICK_TRIES_S, TakeoverRounds
from wgfleet.panel.reconcile.moves.worker import MoveWorker
from wgfleet.panel.reconcile.outlook import Outlook
from wgfleet.panel.services import health, operations
from wgfleet.panel.services.moves.takeovers import TakeoverCall
from wgfleet.panel.settings.drain import DrainSettings
from wgfleet.panel.store.tables import Config, Node, Operation, Peer
from wgfleet.panel.store.wakes import Topic
from wgfleet.protocol.features import NONE, Feature
from wgfleet.protocol.keys import PublicKey
from wgfleet.protocol.messages import Takeover, TakeoverResult
from wgfleet.protocol.open_flows import CarriedFlows, EndedFlows, FlowListing, FlowQuestion

ENDPOINT = "198.51.100.7:4000"
DRAIN = DrainSettings(unreachable_s=0.5)


Hear = Callable[[TakeoverResult], None]


async def everybody(takeover: Takeover) -> TakeoverResult:
    return TakeoverResult({peer.public_key: 0.01 for peer in takeover.peers}, ())


@dataclass
class Line:
    """A line to an agent, as far as moves use it. `answer` is what comes of a call."""

    answer: Callable[[Takeover], Awaitable[TakeoverResult]] = everybody
    early: Callable[[Takeover, Hear], Awaitable[None]] | None = None
    connected: bool = True
    silent: bool = False
    last_seen_at: float | None = 1.0
    heard_at: float = field(default_factory=clock.monotonic)
    reported: dict[str, Reported] = field(default_factory=dict)
    called: list[Takeover] = field(default_factory=list)
    features: frozenset[Feature] = NONE
    carries: dict[PublicKey, tuple[bytes, ...]] = field(default_factory=dict)
    asked: list[FlowQuestion] = field(default_factory=list)
    ended_flows: list[EndedFlows] = field(default_factory=list)
    listed: int = 0

    @property
    def client(self) -> "Line":
        return self

    async def carried_flows(self, _interface: str, question: FlowQuestion) -> CarriedFlows:
        self.asked.append(question)
        return CarriedFlows({key: flows for key, flows in self.carries.items() if key in question.networks})

    async def flow_listing(self, _interface: str) -> FlowListing:
        self.listed += 1
        return FlowListing(b"".join(flow for flows in self.carries.values() for flow in flows))

    async def end_flows(self, _interface: str, ended: EndedFlows) -> None:
        self.ended_flows.append(ended)

    async def flush(self) -> None:
        """Nothing waits to be written."""

    async def takeover(self, _interface: str, takeover: Takeover, hear: Hear | None = None) -> TakeoverResult:
        self.called.append(takeover)
        if self.early is not None and hear is not None:
            await self.early(takeover, hear)
        return await self.answer(takeover)


def fleet(world: World, *names: str) -> tuple[Config, list[Node], list[Peer]]:
    """Return a cluster in sync, all of whose peers have their session on the first node."""
    config = world.config()
    nodes = world.serving(config, *names)
    made = world.peers(config, "a", "b", "c", "d")
    world.sync_all(config, *nodes)
    world.seen(config, nodes[0], {peer.public_key: ENDPOINT for peer in made})
    return config, nodes, made


async def carried_out(
    world: World,
    operation: Operation,
    lines: dict[str, Line],
    meanwhile: Callable[[], None],
    drain: DrainSettings = DRAIN,
) -> Operation:
    """Reconcile until the operation has ended; `meanwhile` is called between two cycles."""
    worker = MoveWorker(world.store, world.vault, drain, cast("dict[str, AgentConnection]", lines), Outlook())
    try:
        async with asyncio.timeout(120):
            while (pause := await worker.reconcile(operation.id)) is not None:
                meanwhile()
                await asyncio.sleep(min(pause, 0.1))
    finally:
        await worker.close()
    with world.store.read() as tx:
        return operations.get(tx, operation.id)


def test_a_drain_ends_though_the_agent_of_its_node_falls_silent(world: World) -> None:
    config, (one, two), made = fleet(world, "one", "two")
    (operation,) = world.drain(one)
    here, there = Line(), Line()

    async def answered_and_gone(takeover: Takeover) -> TakeoverResult:
        here.connected, here.heard_at = False, clock.monotonic()
        return await everybody(takeover)

    there.answer = answered_and_gone
    ended = asyncio.run(carried_out(world, operation, {one.id: here, two.id: there}, lambda: world.sync(config, two)))
    assert ended.state == OperationState.SUCCEEDED
    assert ended.result["sessions_taken_over"] == len(made)
    assert ended.result["unconfirmed"] == ["one"]
    world.sync_all(config, one, two)
    assert world.users(config, one) == set(), "it drops them when it returns; see test_owed_drops for what follows"


@pytest.mark.parametrize("placed", [True, False])
@one_database
def test_a_node_that_dies_in_its_removal_keeps_no_client_waiting(
    world: World, monkeypatch: pytest.MonkeyPatch, *, placed: bool
) -> None:
    monkeypatch.setattr(takeovers, "AGAIN_S", 60.0)  # told apart from a slow machine
    config, (one, two), made = fleet(world, "one", "two")
    operation = world.remove(config, one, force=True)
    while world.step(operation) is not (MoveStep.PLACE if placed else MoveStep.BACKUP):
        pass
    here, there = Line(connected=False, silent=True), Line()
    called_at: list[float] = []

    async def at_the_second_call(takeover: Takeover) -> TakeoverResult:
        called_at.append(clock.monotonic())
        if len(called_at) == 1:  # a packet is lost
            await asyncio.sleep(takeover.timeout_s)
            return TakeoverResult({}, tuple(peer.public_key for peer in takeover.peers))
        return await everybody(takeover)

    there.answer = at_the_second_call
    begun, patient = clock.monotonic(), DrainSettings(unreachable_s=4.0)
    lines = {one.id: here, two.id: there}
    ended = asyncio.run(carried_out(world, operation, lines, lambda: world.sync(config, two), patient))
    assert ended.result["sessions_taken_over"] == len(made)
    first, second = called_at[:2]
    assert first - begun < patient.unreachable_s - 1, "nobody waits until the node is given up"
    assert there.called[0].timeout_s == QUICK_TRIES_S[0]
    assert there.called[1].timeout_s == QUICK_TRIES_S[1]
    assert second - first < 30.0, "and they are called as clients without a node are, without a pause"


@one_database
def test_a_look_at_the_rows_that_an_answer_overtakes_calls_nobody_as_if_for_the_first_time(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = TakeoverRounds._due  # noqa: SLF001 - what a slow machine reads may be old

    def slow(rounds: TakeoverRounds, operation_id: str, reachable: set[str]) -> tuple[str, list[TakeoverCall]]:
        found = real(rounds, operation_id, reachable)
        time.sleep(QUICK_TRIES_S[0])
        return found

    monkeypatch.setattr(TakeoverRounds, "_due", slow)
    config, (one, two), made = fleet(world, "one", "two")
    operation = world.remove(config, one, force=True)
    world.judged(config, one, Health.DOWN)
    there = Line()

    async def at_the_third_call(takeover: Takeover) -> TakeoverResult:
        if len(there.called) < len(QUICK_TRIES_S):
            await asyncio.sleep(takeover.timeout_s)
            return TakeoverResult({}, tuple(peer.public_key for peer in takeover.peers))
        return await everybody(takeover)

    there.answer = at_the_third_call
    lines = {one.id: Line(connected=False, silent=True), two.id: there}
    ended = asyncio.run(carried_out(world, operation, lines, lambda: world.sync(config, two)))
    assert ended.result["sessions_taken_over"] == len(made)
    assert tuple(each.timeout_s for each in there.called) == QUICK_TRIES_S


@one_database
def test_clients_of_a_node_whose_wireguard_dies_in_its_removal_are_called_at_once(world: World) -> None:
    """Its agent is well, and says nothing of that."""
    config, (one, two), made = fleet(world, "one", "two")
    operation = world.remove(config, one, force=True)
    world.judged(config, one, Health.DOWN)
    lines = {one.id: Line(), two.id: Line()}
    ended = asyncio.run(carried_out(world, operation, lines, lambda: world.sync_all(config, one, two)))
    assert ended.result["sessions_taken_over"] == len(made)
    assert lines[two.id].called[0].timeout_s == QUICK_TRIES_S[0]


@one_database
def test_a_node_that_dies_in_its_removal_is_replaced_by_that_and_by_no_failover(world: World) -> None:
    config, (one, _), _ = fleet(world, "one", "two")
    operation = world.remove(config, one, force=True)
    world.wakes.clear()
    world.judged(config, one, Health.DOWN)
    assert any(wake.topic is Topic.OPERATION and wake.id == operation.id for wake in world.wakes)
    with world.store.read() as tx:
        found = operations.page(tx)
    assert [each.id for each in found] == [operation.id]


@one_database
def test_a_node_whose_interface_is_being_deleted_is_not_down(world: World) -> None:
    config, (one, two), _ = fleet(world, "one", "two")
    operation = world.remove(config, one, force=True, window_s=0)
    world.sync(config, two)
    while world.step(operation) is not MoveStep.RETIRE:
        world.sync_all(config, one, two)
    world.judged(config, one, Health.DOWN)
    with world.store.read() as tx:
        assert [each.id for each in operations.page(tx)] == [operation.id]
        assert health.history(tx, config.id) == []


@one_database
def test_a_drain_whose_node_confirms_says_nothing_of_that(world: World) -> None:
    config, (one, two), _ = fleet(world, "one", "two")
    (operation,) = world.drain(one)
    lines = {one.id: Line(), two.id: Line()}
    ended = asyncio.run(carried_out(world, operation, lines, lambda: world.sync_all(config, one, two)))
    assert ended.state == OperationState.SUCCEEDED
    assert "unconfirmed" not in ended.result


def test_nobody_waits_for_a_node_that_does_not_answer_its_call(world: World) -> None:
    """The second death beside the first: its sessions go to the node that is left as soon as it is suspect."""
    config, (one, two, three), made = fleet(world, "one", "two", "three")
    operation = world.failover(config, one)
    lines = {node.id: Line() for node in (one, two, three)}

    async def hangs(_takeover: Takeover) -> TakeoverResult:
        await asyncio.sleep(0.1)
        await asyncio.to_thread(world.judged, config, two, Health.SUSPECT)
        await asyncio.Event().wait()  # it never answers
        raise AssertionError

    lines[two.id].answer = hangs
    ended = asyncio.run(carried_out(world, operation, lines, lambda: world.sync_all(config, two, three)))
    assert len(lines[two.id].called) == 1
    assert ended.result["sessions_taken_over"] == len(made)


def test_a_client_without_a_node_is_called_again_soon_and_each_time_waited_for_longer(world: World) -> None:
    config, (one, two), made = fleet(world, "one", "two")
    operation = world.failover(config, one)
    lines = {one.id: Line(connected=False), two.id: Line()}

    async def third_time(takeover: Takeover) -> TakeoverResult:
        if len(lines[two.id].called) < 3:
            return TakeoverResult({}, tuple(peer.public_key for peer in takeover.peers))
        return await everybody(takeover)

    lines[two.id].answer = third_time
    ended = asyncio.run(carried_out(world, operation, lines, lambda: world.sync(config, two)))
    assert [takeover.timeout_s for takeover in lines[two.id].called] == [0.2, 0.4, 0.8]
    assert ended.result["sessions_taken_over"] == len(made)


@one_database
def test_a_planned_call_has_all_its_time_since_its_client_is_served_meanwhile(world: World) -> None:
    config, (one, two), _ = fleet(world, "one", "two")
    (operation,) = world.drain(one)
    lines = {one.id: Line(), two.id: Line()}
    asyncio.run(carried_out(world, operation, lines, lambda: world.sync_all(config, one, two)))
    assert [takeover.timeout_s for takeover in lines[two.id].called] == [DRAIN.takeover_timeout_s]


@one_database
def test_one_silent_client_keeps_no_other_from_being_dropped_where_it_was(world: World) -> None:
    config, (one, two), made = fleet(world, "one", "two")
    (operation,) = world.drain(one)
    silent = made[0].public_key
    lines = {one.id: Line(), two.id: Line()}
    left = {PublicKey(peer.public_key) for peer in made}

    async def in_time(takeover: Takeover, hear: Hear) -> None:
        if not takeover.settle_s:
            return
        answered = {peer.public_key: 0.01 for peer in takeover.peers if peer.public_key != silent}
        hear(TakeoverResult(answered, (), more=True))
        async with asyncio.timeout(60):
            while silent in left and len(left) > 1:
                await asyncio.to_thread(world.sync_all, config, one, two)
                left.intersection_update(world.agents[one.id, config.id].peers)
                await asyncio.sleep(0.05)

    async def but_one(takeover: Takeover) -> TakeoverResult:
        if len(lines[two.id].called) > 1:
            return await everybody(takeover)
        return TakeoverResult(
            {peer.public_key: 0.01 for peer in takeover.peers if peer.public_key != silent}, (PublicKey(silent),)
        )

    lines[two.id].early, lines[two.id].answer = in_time, but_one
    ended = asyncio.run(carried_out(world, operation, lines, lambda: world.sync_all(config, one, two)))
    assert left == {silent}, "the others were dropped while it was still waited for"
    assert ended.result["sessions_taken_over"] == len(made)
    assert [peer.public_key for peer in lines[two.id].called[1].peers] == [silent]


def remove(world: World, config: Config, node: Node) -> Operation:
    return world.remove(config, node, force=True)


def drain(world: World, _config: Config, node: Node) -> Operation:
    (operation,) = world.drain(node)
    return operation


def at(config: Config, generation: int) -> dict[str, Reported]:
    """Return what an agent reports that has a generation of the config."""
    return {config.name: Reported(config.id, generation, (), None, "as the test says")}


Begins = Callable[[World, Config, Node], Operation]


@pytest.mark.parametrize("begins", [remove, drain])
@one_database
def test_clients_that_their_node_was_slow_to_drop_are_called_once_more(
    world: World, monkeypatch: pytest.MonkeyPatch, begins: Begins
) -> None:
    """What it sent meanwhile has turned those back to it whom it sent anything, and nobody knows whom."""
    monkeypatch.setattr(drops, "IN_TIME_S", 0.1)
    config, (one, two), made = fleet(world, "one", "two")
    operation = begins(world, config, one)
    lines = {one.id: Line(reported=at(config, 0)), two.id: Line()}
    ended = asyncio.run(carried_out(world, operation, lines, lambda: world.sync_all(config, one, two)))
    assert (ended.state, ended.result["sessions_taken_over"]) == (OperationState.SUCCEEDED, len(made))
    keys = {peer.public_key for peer in made}
    assert [{peer.public_key for peer in takeover.peers} for takeover in lines[two.id].called] == [keys, keys]
    assert lines[one.id].called == []


@pytest.mark.parametrize("begins", [remove, drain])
@one_database
def test_clients_that_their_node_dropped_at_once_are_called_once(world: World, begins: Begins) -> None:
    config, (one, two), _ = fleet(world, "one", "two")
    operation = begins(world, config, one)
    lines = {one.id: Line(reported=at(config, 1_000_000)), two.id: Line()}
    asyncio.run(carried_out(world, operation, lines, lambda: world.sync_all(config, one, two)))
    assert len(lines[two.id].called) == 1


@pytest.mark.parametrize("begins", [remove, drain])
@one_database
def test_a_panel_that_starts_after_a_takeover_calls_those_clients_once_more(world: World, begins: Begins) -> None:
    config, (one, two), made = fleet(world, "one", "two")
    operation = begins(world, config, one)
    while world.step(operation) is not MoveStep.TAKEOVER:
        world.sync_all(config, one, two)
    lines = {one.id: Line(reported=at(config, 1_000_000)), two.id: Line()}
    ended = asyncio.run(carried_out(world, operation, lines, lambda: world.sync_all(config, one, two)))
    assert ended.result["sessions_taken_over"] == len(made)
    (takeover,) = lines[two.id].called
    assert {peer.public_key for peer in takeover.peers} == {peer.public_key for peer in made}


def test_a_client_that_its_node_has_called_back_before_it_dropped_it_is_called_again(world: World) -> None:
    config, (one, two), made = fleet(world, "one", "two")
    operation = world.remove(config, one)
    while world.step(operation) is not MoveStep.TAKEOVER:
        world.sync_all(config, one, two)
    back = made[0].public_key
    world.seen(config, one, {back: ENDPOINT}, in_s=15.0)  # WireGuard calls whom it had no answer of for 15 s
    lines = {one.id: Line(), two.id: Line()}
    ended = asyncio.run(carried_out(world, operation, lines, lambda: world.sync_all(config, one, two)))
    assert (ended.state, ended.result["sessions_taken_over"]) == (OperationState.SUCCEEDED, len(made))
    assert {peer.public_key for peer in lines[two.id].called[0].peers} == {back}
