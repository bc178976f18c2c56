"""A node whose NAT carries connections of users who have moved stays until they end, or the drain window does."""

import asyncio

import pytest

from tests.panel.conftest import one_database
from tests.panel.moves.test_worker import Line, carried_out, everybody, fleet
from tests.panel.world import World
from wgfleet.panel import clock
from wgfleet.panel.domain.operations import OperationState
from wgfleet.panel.reconcile.agents.connection import Reported
from wgfleet.panel.reconcile.moves import worker
from wgfleet.panel.services.fleet import nodes as node_service
from wgfleet.panel.services.moves import removal

WINDOW_S = 600.0


@pytest.mark.parametrize("ends", ["connections", "window", "node"])
@one_database
def test_a_removed_node_carries_connections_on_until(world: World, monkeypatch: pytest.MonkeyPatch, ends: str) -> None:
    monkeypatch.setattr(worker, "KEEP_S", 0.05)
    config, (one, two), made = fleet(world, "one", "two")
    with world.store.write() as tx:
        row = node_service.get(tx, one.id)
        operation = removal.start(tx, "root", config, row, grace_s=0, force=True, drain_window_s=WINDOW_S)
    here, there = Line(), Line(answer=everybody)
    here.reported = {"wg0": Reported(config.id, 1, (), (), "", carries=True)}
    served = 0
    real = clock.now

    def meanwhile() -> None:
        nonlocal served
        world.sync_all(config, one, two)
        served += bool(there.called) and world.whole(config, one) is not None
        if served < 3:
            return
        if ends == "connections":
            here.reported = {"wg0": Reported(config.id, 1, (), (), "")}
        elif ends == "window":
            monkeypatch.setattr(clock, "now", lambda: real() + WINDOW_S)
        else:
            here.connected = False

    ended = asyncio.run(carried_out(world, operation, {one.id: here, two.id: there}, meanwhile))
    assert ended.state == OperationState.SUCCEEDED
    assert ended.result["sessions_taken_over"] == len(made)
    assert served >= 3
