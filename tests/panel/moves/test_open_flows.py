"""Connections of clients who move: asked of the node that had them, and told to the one that they came to."""

import asyncio
from dataclasses import dataclass, field

import pytest

from tests.agent.test_flows_elsewhere import flow
from tests.panel.conftest import one_database
from tests.panel.moves.test_worker import Line, carried_out, fleet
from tests.panel.world import World
from wgfleet.panel.domain.operations import OperationState
from wgfleet.panel.errors import TransientError
from wgfleet.panel.reconcile.moves import open_flows
from wgfleet.panel.services.fleet import peers
from wgfleet.panel.store.tables import Peer
from wgfleet.protocol.features import ALL, Feature
from wgfleet.protocol.keys import PublicKey
from wgfleet.protocol.open_flows import CarriedFlows, FlowQuestion

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
