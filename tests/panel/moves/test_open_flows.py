"""Connections of clients who move: asked of the node that had them, and told to the one that they came to."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

import msgspec
import pytest

from tests.agent.test_flows_elsewhere import flow
from tests.panel.conftest import one_database
from tests.panel.moves.test_worker import DRAIN, Line, carried_out, fleet
from tests.panel.world import World
from wgfleet.panel import clock
from wgfleet.panel.domain.operations import OperationState
from wgfleet.panel.errors import TransientError
from wgfleet.panel.reconcile.agents.connection import AgentConnection
from wgfleet.panel.reconcile.moves import flow_copies, open_flows
from wgfleet.panel.reconcile.moves.worker import MoveWorker
from wgfleet.panel.reconcile.outlook import Outlook
from wgfleet.panel.services import configs, operations
from wgfleet.panel.services.fleet import peers
from wgfleet.panel.store.tables import Operation, Peer
from wgfleet.protocol.features import ALL, Feature
from wgfleet.protocol.keys import PublicKey
from wgfleet.protocol.open_flows import CarriedFlows, FlowListing, FlowQuestion

WITHOUT = ALL - {Feature.OPEN_FLOWS}


def flows(made: list[Peer]) -> dict[PublicKey, tuple[bytes, ...]]:
    return {PublicKey(peer.public_key): (flow("10.8.0.2", 1000 + number),) for number, peer in enumerate(made)}


def told(line: Line) -> dict[PublicKey, tuple[bytes, ...]]:
    return {key: each for ended in line.ended_flows for key, each in ended.flows.items()}


@one_database
def test_the_new_node_gets_to_know_what_the_former_one_carries(world: World) -> None:
    config, (one, two), made = fleet(world, "one", "two")
    with world.store.write() as tx:
        peers.get(tx, made[0].id).networks = ["192.168.7.0/24"]
    operation = world.remove(config, one)
    here, there = Line(features=ALL, carries=flows(made)), Line(features=ALL)
    ended = asyncio.run(
        carried_out(world, operation, {one.id: here, two.id: there}, lambda: world.sync_all(config, one, two))
    )
    assert ended.state == OperationState.SUCCEEDED
    assert told(there) == flows(made)
    assert not here.ended_flows
    networks = {key: each for question in here.asked for key, each in question.networks.items()}
    assert networks.keys() == flows(made).keys()
    assert networks[PublicKey(made[0].public_key)][-1] == "192.168.7.0/24"
    assert all(each[0].endswith("/32") for each in networks.values())


@pytest.mark.parametrize("old", ["source", "target", "neither answers"])
@one_database
def test_agents_that_do_not_know_that_are_not_asked_and_the_move_goes_on(world: World, old: str) -> None:
    config, (one, two), made = fleet(world, "one", "two")
    (operation,) = world.drain(one)
    here = Line(features=WITHOUT if old == "source" else ALL, carries=flows(made))
    there = Line(features=WITHOUT if old == "target" else ALL)
    if old == "neither answers":

        async def fails(_interface: str, question: FlowQuestion) -> CarriedFlows:
            here.asked.append(question)
            raise TransientError("connection lost")

        here.carried_flows = fails  # type: ignore[method-assign]
    ended = asyncio.run(
        carried_out(world, operation, {one.id: here, two.id: there}, lambda: world.sync_all(config, one, two))
    )
    assert ended.result["sessions_taken_over"] == len(made)
    assert bool(here.asked) == (old == "neither answers")
    assert told(there) == {}


@dataclass
class SlowLine(Line):
    """A node that does not answer what is asked of connections."""

    until: asyncio.Event = field(default_factory=asyncio.Event)

    async def carried_flows(self, _interface: str, question: FlowQuestion) -> CarriedFlows:
        self.asked.append(question)
        await self.until.wait()
        return CarriedFlows({})


@one_database
def test_a_node_that_does_not_answer_holds_up_no_removal(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_flows, "PATIENCE_S", 0.05)
    config, (one, two), made = fleet(world, "one", "two")
    operation = world.remove(config, one)
    lines = {one.id: SlowLine(features=ALL, carries=flows(made)), two.id: Line(features=ALL)}
    ended = asyncio.run(carried_out(world, operation, lines, lambda: world.sync_all(config, one, two)))
    assert ended.state == OperationState.SUCCEEDED
    assert len(lines[one.id].asked) == 1


async def died(
    world: World, dead: str, lines: dict[str, Line], operation: Callable[[], Operation], meanwhile: Callable[[], None]
) -> Operation:
    """Ask all nodes what they carry, have one die, and carry out what follows from that."""
    worker = MoveWorker(world.store, world.vault, DRAIN, cast("dict[str, AgentConnection]", lines), Outlook())
    await worker.flow_copies.look()
    lines[dead].connected = False
    begun = operation()
    try:
        async with asyncio.timeout(120):
            while (pause := await worker.reconcile(begun.id)) is not None:
                meanwhile()
                await asyncio.sleep(min(pause, 0.1))
    finally:
        await worker.close()
    with world.store.read() as tx:
        return operations.get(tx, begun.id)


@one_database
def test_what_a_node_carried_that_has_died_is_known_from_when_it_was_heard_last(world: World) -> None:
    config, (one, two), made = fleet(world, "one", "two")
    theirs = {PublicKey(peer.public_key): (flow(address(world, peer), 1000),) for peer in made}
    stranger = {PublicKey("who does not move"): (flow("10.8.0.99"),)}
    lines = {one.id: Line(features=ALL, carries={**theirs, **stranger}), two.id: Line(features=ALL)}
    ended = asyncio.run(
        died(world, one.id, lines, lambda: world.failover(config, one), lambda: world.sync(config, two))
    )
    assert ended.state == OperationState.SUCCEEDED
    assert told(lines[two.id]) == theirs
    assert not lines[one.id].asked, "it is dead"


@pytest.mark.parametrize("reason", ["backbone", "masquerade", "older agent", "one node"])
@one_database
def test_nodes_that_tell_each_other_and_whose_connections_live_on_are_not_asked(world: World, reason: str) -> None:
    names = ("one",) if reason == "one node" else ("one", "two")
    config, nodes, _ = fleet(world, *names)
    with world.store.write() as tx:
        row = configs.get(tx, config.id)
        row.backbone, row.masquerade = reason == "backbone", reason != "masquerade"
    known = ALL - {Feature.FLOW_LISTING} if reason == "older agent" else ALL
    lines = {node.id: Line(features=known) for node in nodes}
    copies = flow_copies.FlowCopies(world.store, cast("dict[str, AgentConnection]", lines))
    asyncio.run(copies.look())
    assert [line.listed for line in lines.values()] == [0] * len(nodes)


@one_database
def test_a_node_is_asked_the_more_rarely_the_longer_it_takes(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    _, nodes, _ = fleet(world, "one", "two")
    quick, slow = Line(features=ALL), SlowListing(features=ALL)
    lines = {nodes[0].id: quick, nodes[1].id: slow}
    copies = flow_copies.FlowCopies(world.store, cast("dict[str, AgentConnection]", lines))
    now = clock.monotonic()
    for second in range(0, 60, 2):
        monkeypatch.setattr(clock, "monotonic", lambda: now + second)  # noqa: B023 - it is called within the round
        asyncio.run(copies.look())
    assert (quick.listed, slow.listed) == (30, 3), "20 s for 0.4 s of its processor"


class SlowListing(Line):
    """A node that takes its time to find what it carries."""

    async def flow_listing(self, interface: str) -> FlowListing:
        return msgspec.structs.replace(await super().flow_listing(interface), took_s=0.4)


def address(world: World, peer: Peer) -> str:
    with world.store.read() as tx:
        return peers.addresses(tx, [peer])[peer.id][0]
