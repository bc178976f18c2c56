"""Addresses that a cloud brings: as long as it has not, who comes by them is served where he is, and it is said why."""

import asyncio
from collections.abc import Iterator

import pytest

from tests.panel.address_providers.test_account_limits import ONE, put
from tests.panel.conftest import one_database
from tests.panel.floating.test_holders import becomes
from tests.panel.floating.test_routed import knows
from tests.panel.world import World
from tests.providers.cloudflare.misbehaviour import Fault
from tests.providers.clouds.hetzner import HetznerEnvironment, standing_in_for_hetzner
from wgfleet.panel import clock
from wgfleet.panel.domain.health.votes import Health
from wgfleet.panel.domain.moves import MoveStep
from wgfleet.panel.domain.operations import OperationKind, OperationState
from wgfleet.panel.errors import Conflict
from wgfleet.panel.hints import HintCode
from wgfleet.panel.reconcile.floating import BEGUN, FloatingReconciler
from wgfleet.panel.services import audit, configs, operations
from wgfleet.panel.services.fleet import nodes as node_service
from wgfleet.panel.services.floating import views
from wgfleet.panel.services.floating.views import AddressView
from wgfleet.panel.services.moves import address_move, takeovers
from wgfleet.panel.services.moves.takeovers import TakeoverCall
from wgfleet.panel.store import sessions
from wgfleet.panel.store.tables import Node, Operation
from wgfleet.protocol import features

ENDPOINT = "198.51.100.7:4000"


class Clouded:
    """Two nodes, the first of which has a cloud's address, and clients who come by it and answer nobody else."""

    def __init__(self, world: World, cloud: HetznerEnvironment, monkeypatch: pytest.MonkeyPatch) -> None:
        self.world, self.cloud, self._patch, self._now = world, cloud, monkeypatch, clock.now()
        self.config = world.config()
        self.fra1, self.ams1 = world.serving(self.config, "fra1", "ams1")
        self.nodes = {"fra1": self.fra1, "ams1": self.ams1}
        knows(world, features.ALL, self.fra1, self.ams1)
        put(world, self.config, cloud, ONE)
        self.peers = world.peers(self.config, "anna", "ben")
        self.reconciler = FloatingReconciler(world.store, world.vault, {})
        self.sync()
        self.look()
        world.seen(self.config, self.fra1, {peer.public_key: ENDPOINT for peer in self.peers})
        assert cloud.holder(ONE) == cloud.nodes[0]

    def sync(self) -> None:
        self.world.sync_all(self.config, self.fra1, self.ams1)

    def look(self) -> float | None:
        return asyncio.run(self.reconciler.reconcile(self.config.id))

    def later(self, seconds: float) -> None:
        self._now += seconds
        self._patch.setattr(clock, "now", lambda: self._now)

    def has(self, node: Node) -> bool:
        """Whether a machine has the address."""
        kept = self.world.agents.get((node.id, self.config.id))
        return kept is not None and kept.settings.floating is not None and ONE in kept.settings.floating.addresses

    def view(self) -> AddressView:
        with self.world.store.read() as tx:
            return views.view(tx, self.config, ONE)

    def operation(self, operation: Operation) -> Operation:
        with self.world.store.read() as tx:
            return operations.get(tx, operation.id)

    def called_from(self, operation: Operation) -> list[TakeoverCall]:
        """Return the calls of a round that reach who only knows the address."""
        with self.world.store.write() as tx:
            found = takeovers.due(tx, self.world.vault, operation.id, live_within_s=180)[1]
        return [call for call in found if call.source == ONE]

    def go_on(self, operation: Operation, rounds: int = 12) -> Operation:
        """Do what can be done now. Clients answer the address where the cloud leads it to, and nothing else."""
        for _ in range(rounds):
            with self.world.store.write() as tx:
                found = takeovers.due(tx, self.world.vault, operation.id, live_within_s=180)[1]
                for node in self.nodes.values():
                    mine = [call for call in found if call.node_id == node.id]
                    reached = {
                        call.peer_id: call.endpoint
                        for call in mine
                        if call.source == ONE and self.cloud.holder(ONE) == self.cloud_node(node)
                    }
                    silent = [call.peer_id for call in mine if call.peer_id not in reached]
                    takeovers.record_answers(tx, operation.id, node.id, reached, silent)
            self.sync()
        return self.operation(operation)

    def cloud_node(self, node: Node) -> object:
        return self.cloud.nodes[0] if node.id == self.fra1.id else self.cloud.nodes[1]

    def end(self, operation: Operation) -> Operation:
        """Do steps until it has ended, the time of its window being over."""
        self.later(400)
        for _ in range(20):
            if self.world.step(operation, answers=frozenset()) is MoveStep.DONE:
                break
            self.later(10)
            self.sync()
        return self.operation(operation)


@pytest.fixture
def cloud() -> Iterator[HetznerEnvironment]:
    with standing_in_for_hetzner() as made:
        yield made


@pytest.fixture
def clouded(world: World, cloud: HetznerEnvironment, monkeypatch: pytest.MonkeyPatch) -> Clouded:
    return Clouded(world, cloud, monkeypatch)


def refuse(cloud: HetznerEnvironment, status: int = 500) -> None:
    cloud.stand_in.faults.add(Fault(kind="error", on="any", times=0, status=status))


@one_database
def test_a_removal_has_the_cloud_move_the_address_before_its_clients_are_called_there(clouded: Clouded) -> None:
    operation = clouded.world.remove(clouded.config, clouded.fra1)
    for _ in range(4):
        clouded.world.step(operation, answers=frozenset())
        clouded.sync()
    assert clouded.view().holder is not None
    assert clouded.view().leaving is not None
    assert (clouded.has(clouded.fra1), clouded.has(clouded.ams1)) == (True, True), "both, while the cloud moves it"
    assert clouded.called_from(operation) == []
    clouded.look()
    clouded.sync()
    assert clouded.view().leaving is None
    assert not clouded.has(clouded.fra1)
    assert {call.node_id for call in clouded.called_from(operation)} == {clouded.ams1.id}
    clouded.go_on(operation, rounds=1)
    assert clouded.end(operation).state is OperationState.SUCCEEDED


@one_database
def test_a_removal_fails_and_cuts_nobody_off_where_the_cloud_refuses(
    clouded: Clouded, cloud: HetznerEnvironment
) -> None:
    operation = clouded.world.remove(clouded.config, clouded.fra1)
    refuse(cloud, 401)
    for _ in range(4):
        clouded.world.step(operation, answers=frozenset())
        clouded.look()
        clouded.sync()
    assert clouded.has(clouded.fra1), "its clients come by it"
    assert "the provider does not bring" in (clouded.operation(operation).error or "")
    ended = clouded.end(operation)
    assert ended.state is OperationState.FAILED
    assert "the provider does not bring" in ended.result["reason"]
    assert HintCode.ADD_FLOATING.value not in ended.result["ways_out"], "it has one"
    assert clouded.view().holder is not None
    assert clouded.view().holder.name == "fra1"  # type: ignore[union-attr]  # it is there, see above
    assert clouded.view().leaving is None
    assert clouded.has(clouded.fra1)
    assert not clouded.has(clouded.ams1)


@one_database
def test_a_removal_without_anybody_connected_waits_for_the_cloud_as_well(
    clouded: Clouded, cloud: HetznerEnvironment
) -> None:
    with clouded.world.store.write() as tx:
        sessions.forget(tx, clouded.fra1.id, clouded.config.id)
    refuse(cloud)
    operation = clouded.world.remove(clouded.config, clouded.fra1)
    ended = clouded.end(operation)
    assert (ended.state, ended.result["interface"]) == (OperationState.FAILED, "kept")
    cloud.stand_in.faults.clear()
    clouded.later(600)
    clouded.look()
    again = clouded.world.remove(clouded.config, clouded.fra1)
    clouded.world.step(again)
    clouded.world.step(again)
    clouded.look()
    assert clouded.end(again).state is OperationState.SUCCEEDED


@one_database
def test_a_removal_is_refused_beforehand_while_the_cloud_fails_and_forced_it_is_done(
    clouded: Clouded, cloud: HetznerEnvironment
) -> None:
    refuse(cloud)
    clouded.look()
    with pytest.raises(Conflict, match="would stay with it: the provider does not bring") as refused:
        clouded.world.remove(clouded.config, clouded.fra1)
    assert [hint.code for hint in refused.value.hints] == [HintCode.FORCE]
    ended = clouded.end(clouded.world.remove(clouded.config, clouded.fra1, force=True))
    assert ended.state is OperationState.SUCCEEDED
    assert clouded.view().leaving is None


@one_database
def test_a_drain_waits_as_long_as_that_takes_and_says_why(clouded: Clouded, cloud: HetznerEnvironment) -> None:
    (operation,) = clouded.world.drain(clouded.fra1)
    refuse(cloud)
    for _ in range(3):
        clouded.world.step(operation, answers=frozenset())
        clouded.look()
        clouded.sync()
    waiting = clouded.end(operation)
    assert waiting.finished_at is None
    assert "the provider does not bring" in (waiting.error or "")
    assert clouded.has(clouded.fra1)
    cloud.stand_in.faults.clear()
    clouded.later(600)
    clouded.look()
    clouded.sync()
    ended = clouded.end(clouded.go_on(operation, rounds=2))
    assert (ended.state, ended.result["sessions_taken_over"]) == (OperationState.SUCCEEDED, 2)


@one_database
def test_a_drain_that_is_called_off_leaves_the_address(clouded: Clouded, cloud: HetznerEnvironment) -> None:
    (operation,) = clouded.world.drain(clouded.fra1)
    refuse(cloud)
    clouded.end(operation)
    clouded.world.uncordon(clouded.fra1)
    assert clouded.end(operation).finished_at is not None
    assert clouded.view().holder is not None
    assert clouded.view().leaving is None
    assert clouded.has(clouded.fra1)


def move(clouded: Clouded) -> Operation:
    with clouded.world.store.write() as tx:
        config, node = configs.get(tx, clouded.config.id), node_service.get(tx, clouded.ams1.id)
        operation = address_move.start(tx, "test", config, ONE, node)
    assert operation.kind is OperationKind.MOVE_ADDRESS
    return operation


@one_database
def test_a_move_of_the_address_fails_and_leaves_it_where_the_cloud_refuses(
    clouded: Clouded, cloud: HetznerEnvironment
) -> None:
    refuse(cloud)
    operation = move(clouded)
    clouded.world.step(operation)
    clouded.look()
    clouded.sync()
    assert clouded.called_from(operation) == []
    ended = clouded.end(operation)
    assert ended.state is OperationState.FAILED
    assert "the provider does not bring" in ended.result["reason"]
    assert clouded.view().holder is not None
    assert clouded.view().holder.name == "fra1"  # type: ignore[union-attr]  # it is there, see above


@one_database
def test_a_cloud_that_says_it_is_done_and_did_nothing_is_failing(clouded: Clouded, cloud: HetznerEnvironment) -> None:
    cloud.rules.lies = True
    operation = move(clouded)
    clouded.world.step(operation)
    waits = []
    for _ in range(BEGUN + 1):
        waits.append(clouded.look())
        clouded.later(30)
    assert all(wait is not None for wait in waits), "it is looked at again soon"
    assert "took the order" in (clouded.view().error or "")
    assert "'fra1' has it" in (clouded.view().error or "")
    with clouded.world.store.read() as tx:
        entries, _ = audit.page(tx, entity_type="floating_address", limit=50)
        assert sum(entry.action == "assigned" for entry in entries) == 1, "that of the beginning"
    assert clouded.has(clouded.fra1)
    cloud.rules.lies = False
    clouded.later(60)
    clouded.look()
    assert (clouded.view().error, cloud.holder(ONE)) == (None, cloud.nodes[1])


@one_database
def test_where_the_node_dies_meanwhile_nobody_waits_for_what_was_there(
    clouded: Clouded, cloud: HetznerEnvironment
) -> None:
    refuse(cloud)
    operation = move(clouded)
    clouded.world.step(operation)
    assert clouded.view().leaving is not None
    becomes(clouded.world, clouded.config, clouded.fra1, Health.DOWN)
    clouded.look()
    clouded.world.sync(clouded.config, clouded.ams1)
    assert clouded.view().leaving is None
    assert clouded.has(clouded.ams1)
