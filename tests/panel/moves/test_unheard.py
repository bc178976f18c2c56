"""Nodes that serve while their agents are silent: what is refused, what is kept up, and what a result says of it."""

import pytest

from tests.panel.conftest import one_database
from tests.panel.moves.test_removal import operation_now
from tests.panel.world import World
from wgfleet.panel import clock
from wgfleet.panel.domain.health.votes import Health
from wgfleet.panel.domain.moves import MoveStep
from wgfleet.panel.domain.operations import OperationState
from wgfleet.panel.errors import Conflict
from wgfleet.panel.services.fleet import node_agents
from wgfleet.panel.services.moves import takeovers
from wgfleet.panel.store import nodes as node_rows
from wgfleet.panel.store.tables import Config, Node, Operation, Peer

ENDPOINTS = ("198.51.100.1:1", "198.51.100.2:2")


def silent(world: World, node: Node, *, connected: bool = False) -> None:
    """Have a node's agent fall silent, or answer again."""
    with world.store.write() as tx:
        node_rows.set_values(tx, node.id, {"certificate_expires_at": clock.now() + 86400})
        node_agents.reported(
            tx, node.id, connected=connected, last_seen_at=None, version=None, summary="cannot be managed: no answer"
        )


@pytest.fixture
def fleet(world: World) -> tuple[Config, Node, Node, list[Peer]]:
    """A config on two nodes; the first has two live sessions, and its agent is silent."""
    config = world.config()
    fra1, ams1 = world.serving(config, "fra1", "ams1")
    users = world.peers(config, "anna", "bert")
    world.sync_all(config, fra1, ams1)
    keys = [user.public_key for user in users]
    world.seen(config, fra1, dict(zip(keys, ENDPOINTS, strict=True)))
    silent(world, fra1)
    world.judged(config, fra1, Health.UNMANAGED)
    world.sync(config, ams1)
    return config, fra1, ams1, users


@pytest.mark.parametrize("health", [Health.SERVING, Health.UNMANAGED])
@one_database
def test_a_node_that_serves_and_does_not_listen_is_removed_by_force_only(
    world: World, fleet: tuple[Config, Node, Node, list[Peer]], health: Health
) -> None:
    config, fra1, _, _ = fleet
    world.judged(config, fra1, health)
    with pytest.raises(Conflict, match="would go on serving") as refused:
        world.remove(config, fra1)
    assert "revocations" in refused.value.detail
    assert [hint.code.name for hint in refused.value.hints] == ["FORCE"]
    silent(world, fra1, connected=True)
    world.remove(config, fra1)


@one_database
def test_a_dead_node_is_removed_without_force(world: World, fleet: tuple[Config, Node, Node, list[Peer]]) -> None:
    config, fra1, _, _ = fleet
    world.judged(config, fra1, Health.DOWN)
    world.remove(config, fra1)


def ended(world: World, config: Config, others: list[Node], operation: Operation) -> dict[str, object]:
    for _ in range(60):
        step = world.step(operation)
        for node in others:
            world.sync(config, node)
        if step is MoveStep.DONE:
            break
    finished = operation_now(world, operation)
    assert finished.state is OperationState.SUCCEEDED
    return dict(finished.result)


@one_database
def test_the_result_counts_and_names_who_is_on_the_removed_node_again(
    world: World, fleet: tuple[Config, Node, Node, list[Peer]], monkeypatch: pytest.MonkeyPatch
) -> None:
    config, fra1, ams1, _ = fleet
    operation = world.remove(config, fra1, force=True, window_s=30)
    for _ in range(6):
        world.step(operation)
        world.sync(config, ams1)
    now, monotonic = clock.now(), clock.monotonic()
    for later_s in (31, 31 + 61):
        monkeypatch.setattr(clock, "now", lambda later_s=later_s: now + later_s)
        monkeypatch.setattr(clock, "monotonic", lambda later_s=later_s: monotonic + later_s)
        for _ in range(6):
            world.step(operation)
    result = dict(operation_now(world, operation).result)
    assert (result["sessions_taken_over"], result["left_behind"]) == (0, 2)
    assert result["left"] == ["anna", "bert"]
    assert result["unconfirmed"] == ["fra1"]
    assert "goes on serving" in str(result["warnings"])


def test_they_are_called_again_until_the_window_ends(
    world: World, fleet: tuple[Config, Node, Node, list[Peer]], monkeypatch: pytest.MonkeyPatch
) -> None:
    config, fra1, ams1, users = fleet
    operation = world.remove(config, fra1, force=True, window_s=30)
    steps = []
    for _ in range(6):
        steps.append(world.step(operation))
        world.sync(config, ams1)
    assert steps[-1] is MoveStep.TAKEOVER, "it goes on while those that were called may be pulled back"

    def called() -> set[str]:
        with world.store.write() as tx:
            _, calls = takeovers.due(tx, world.vault, operation.id, live_within_s=180, reachable={ams1.id})
        assert {call.node_id for call in calls} <= {ams1.id}
        return {call.peer_id for call in calls}

    assert called() == set(), "not those that were heard of just now"
    monotonic = clock.monotonic()
    monkeypatch.setattr(clock, "monotonic", lambda: monotonic + 10)
    assert called() == {user.id for user in users}
    silent(world, fra1, connected=True)
    assert called() == set(), "a node that listens drops them itself"


@one_database
def test_a_node_that_was_told_everything_leaves_no_warning(world: World) -> None:
    config = world.config()
    fra1, ams1 = world.serving(config, "fra1", "ams1")
    (user,) = world.peers(config, "anna")
    world.sync_all(config, fra1, ams1)
    world.seen(config, fra1, {user.public_key: ENDPOINTS[0]})
    operation = world.remove(config, fra1)
    result = ended(world, config, [fra1, ams1], operation)
    assert (result["sessions_taken_over"], result["left_behind"]) == (1, 0)
    assert not result.get("warnings")
    assert not result.get("left")


@one_database
def test_a_drain_that_its_node_does_not_confirm_says_so_in_words(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    config = world.config()
    fra1, ams1 = world.serving(config, "fra1", "ams1")
    (user,) = world.peers(config, "anna")
    world.sync_all(config, fra1, ams1)
    world.seen(config, fra1, {user.public_key: ENDPOINTS[0]})
    (operation,) = world.drain(fra1, window_s=1)
    for _ in range(4):
        world.step(operation)
        world.sync(config, ams1)
    now = clock.now()
    monkeypatch.setattr(clock, "now", lambda: now + 3600)
    monkeypatch.setattr("tests.panel.world.math.inf", 10.0)
    for _ in range(4):
        world.step(operation)
    result = dict(operation_now(world, operation).result)
    assert result["unconfirmed"] == ["fra1"]
    (warning,) = result["warnings"]
    assert warning.startswith("not confirmed by fra1: ")
    assert "{silent}" not in warning, "what it was made of is for nobody to read"
