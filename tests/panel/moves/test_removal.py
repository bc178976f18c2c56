"""Removing a node from a config, as rows, on both databases."""

from typing import Any

import pytest

from tests.panel.conftest import one_database
from tests.panel.world import CLEAN_S, LIVE_S, World
from wgfleet.panel.domain.moves import MoveStep
from wgfleet.panel.domain.operations import OperationState
from wgfleet.panel.domain.phases import Phase
from wgfleet.panel.errors import Conflict, Exhausted, NotFound
from wgfleet.panel.services import audit, backups, configs, operations
from wgfleet.panel.services.backups import Composed
from wgfleet.panel.services.fleet import assignments, endpoint_groups, nodes, owed, peers
from wgfleet.panel.services.moves import kinds
from wgfleet.panel.store import assignments as assignment_rows
from wgfleet.panel.store.tables import Config, Node, Operation

S = MoveStep


def homes(world: World, config: Config) -> dict[str, str | None]:
    with world.store.read() as tx:
        return {peer.name: peer.home_node_id for peer in peers.page(tx, config.id)}


def operation_now(world: World, operation: Operation) -> Operation:
    with world.store.read() as tx:
        return operations.get(tx, operation.id)


def run(world: World, config: Config, nodes: list[Node], operation: Operation) -> list[MoveStep]:
    """Do all steps, with every node in sync all the time, as if all agents answered."""
    steps: list[MoveStep] = []
    while (step := world.step(operation)) is not S.DONE:
        if not steps or steps[-1] is not step:
            steps.append(step)
        for node in nodes:
            world.sync(config, node)
        assert len(steps) < 20
    return steps


@one_database
def test_a_removal_moves_homes_and_sessions_deletes_the_interface_and_ends(world: World) -> None:
    config = world.config()
    one, two = world.serving(config, "one", "two")
    made = world.peers(config, "a", "b", "c", "d")
    world.sync_all(config, one, two)
    live = next(peer for peer in made if peer.home_node_id == one.id)
    world.seen(config, one, {live.public_key: "198.51.100.7:4000"})
    operation = world.remove(config, one)
    assert run(world, config, [one, two], operation) == [S.BACKUP, S.PLACE, S.TAKEOVER, S.RETIRE, S.CLOSE]
    assert set(homes(world, config).values()) == {two.id}
    ended = operation_now(world, operation)
    assert ended.state == OperationState.SUCCEEDED
    expected = {"peers_migrated": 2, "sessions_taken_over": 1, "left_behind": 0, "interface": "deleted"}
    assert {name: ended.result[name] for name in expected} == expected
    assert (one.id, config.id) not in world.agents
    assert world.users(config, two) == {peer.public_key for peer in made}
    with world.store.read() as tx:
        assert [view.node.name for view in assignments.listing(tx, config.id)] == ["two"]
        actions = {entry.action for entry in audit.page(tx, entity_type="config_node")[0]}
    assert actions == {"assigned", "serving", "draining", "peers_migrated", "removed"}


def test_a_node_that_stays_asks_none_that_left_whether_it_is_cut_off(world: World) -> None:
    config = world.config()
    one, two = world.serving(config, "one", "two")
    world.sync(config, one)
    operation = world.remove(config, two)
    while world.step(operation) is not S.RETIRE:
        """Nobody has a session."""
    world.sync(config, one)
    assert world.agents[one.id, config.id] == world.whole(config, one)
    assert world.agents[one.id, config.id].settings.mute is None


def test_the_old_node_drops_a_peer_only_after_the_new_one_has_its_session(world: World) -> None:
    config = world.config()
    one, two = world.serving(config, "one", "two")
    made = world.peers(config, "a", "b")
    world.sync_all(config, one, two)
    world.seen(config, one, {peer.public_key: "198.51.100.7:4000" for peer in made})
    operation = world.remove(config, one)
    assert [world.step(operation), world.step(operation)] == [S.BACKUP, S.PLACE]
    world.sync(config, one)
    assert len(world.users(config, one)) == 2, "nobody has answered yet"
    world.sync(config, two)
    assert world.step(operation, answers=frozenset({made[0].id})) is S.TAKEOVER
    world.sync(config, one)
    assert world.users(config, one) == {made[1].public_key}
    world.sync(config, two)
    assert len(world.users(config, two)) == 2


@one_database
def test_a_session_moves_even_when_the_peers_home_is_another_node(world: World) -> None:
    config = world.config()
    one, two = world.serving(config, "one", "two")
    made = world.peers(config, "a", "b")
    world.sync_all(config, one, two)
    guest = next(peer for peer in made if peer.home_node_id == two.id)
    world.seen(config, one, {guest.public_key: "198.51.100.7:4000"})
    operation = world.remove(config, one)
    run(world, config, [one, two], operation)
    result = operation_now(world, operation).result
    assert (result["peers_migrated"], result["sessions_taken_over"]) == (1, 1)
    assert homes(world, config)[guest.name] == two.id


@one_database
def test_a_client_that_comes_to_a_draining_node_is_moved_too(world: World) -> None:
    config = world.config()
    one, two = world.serving(config, "one", "two")
    made = world.peers(config, "a", "b")
    world.sync_all(config, one, two)
    operation = world.remove(config, one)
    assert [world.step(operation), world.step(operation)] == [S.BACKUP, S.PLACE]
    world.sync(config, two)
    world.seen(config, one, {peer.public_key: "198.51.100.7:4000" for peer in made})
    assert world.step(operation) is S.TAKEOVER
    run(world, config, [one, two], operation)
    assert operation_now(world, operation).result["sessions_taken_over"] == 2


@pytest.mark.parametrize("force", [True, False])
@one_database
def test_a_session_that_does_not_follow_is_left_behind_with_force_only(world: World, *, force: bool) -> None:
    config = world.config()
    one, two = world.serving(config, "one", "two")
    (peer,) = world.peers(config, "a")
    world.seen(config, one if peer.home_node_id == one.id else two, {peer.public_key: "198.51.100.7:4000"})
    leaving, staying = (one, two) if peer.home_node_id == one.id else (two, one)
    operation = world.remove(config, leaving, force=force, window_s=0)
    closed = [S.CLOSE] if force else []
    assert run(world, config, [leaving, staying], operation) == [S.BACKUP, S.PLACE, S.RETIRE, *closed]
    ended = operation_now(world, operation)
    assert ended.result["left_behind"] == 1
    assert homes(world, config) == {"a": staying.id}
    with world.store.read() as tx:
        serving = {node.id for found, node in assignment_rows.of_config(tx, config.id) if found.phase == Phase.SERVING}
    if force:
        assert serving == {staying.id}
        return
    assert serving == {one.id, two.id}
    assert (ended.state, ended.result["interface"]) == (OperationState.FAILED, "kept")
    assert ended.result["left"] == ["a"]
    assert "1 live client did not come to other nodes" in ended.result["reason"]
    assert ended.result["ways_out"] == ["relay", "add_floating", "force"]


@one_database
def test_a_node_that_cannot_be_reached_owes_the_cleanup_and_does_it_on_return(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = world.config()
    one, two = world.serving(config, "one", "two")
    monkeypatch.setattr("tests.panel.world.CLEAN_S", 0.0)
    operation = world.remove(config, one)
    assert run(world, config, [two], operation)[-1] is S.CLOSE
    assert operation_now(world, operation).result["interface"] == "cleanup owed"
    assert (one.id, config.id) in world.agents
    world.sync(config, one)
    assert (one.id, config.id) not in world.agents


@one_database
def test_asking_twice_gives_the_same_operation_while_it_runs_and_after(world: World) -> None:
    config = world.config()
    one, two = world.serving(config, "one", "two")
    operation = world.remove(config, one)
    assert world.remove(config, one).id == operation.id
    run(world, config, [one, two], operation)
    assert world.remove(config, one).id == operation.id
    world.assign(config, one)
    world.sync(config, one)
    assert world.remove(config, one).id != operation.id


@one_database
def test_a_node_that_comes_back_serves_every_peer_again(world: World) -> None:
    config = world.config()
    one, two = world.serving(config, "one", "two")
    made = world.peers(config, "a", "b")
    world.sync_all(config, one, two)
    world.seen(config, one, {peer.public_key: "198.51.100.7:4000" for peer in made})
    run(world, config, [one, two], world.remove(config, one))
    world.assign(config, one)
    world.sync(config, one)
    assert world.users(config, one) == {peer.public_key for peer in made}
    # Also while it drains again, before anybody has answered anew.
    operation = world.remove(config, one)
    assert [world.step(operation), world.step(operation)] == [S.BACKUP, S.PLACE]
    world.sync(config, one)
    assert world.users(config, one) == {peer.public_key for peer in made}


@pytest.mark.parametrize("again", [S.BACKUP, S.PLACE, S.RETIRE])
def test_a_step_that_is_done_again_changes_nothing(world: World, again: MoveStep) -> None:
    """The panel may be killed after a step was committed and before it knew."""
    config = world.config()
    one, two = world.serving(config, "one", "two")
    made = world.peers(config, "a", "b", "c")
    world.sync_all(config, one, two)
    world.seen(config, one, {peer.public_key: "198.51.100.7:4000" for peer in made})
    operation = world.remove(config, one)
    step = None
    while step is not again:
        step = world.step(operation)
        world.sync(config, two)
    before = homes(world, config)
    with world.store.write() as tx:
        kinds.perform(tx, world.vault, again, operation.id, live_within_s=LIVE_S, clean_within_s=CLEAN_S)
    assert homes(world, config) == before
    run(world, config, [one, two], operation)
    assert operation_now(world, operation).result["peers_migrated"] == sum(p.home_node_id == one.id for p in made)
    with world.store.read() as tx:
        assert len(backups.page(tx, config_id=config.id)) == 1


@pytest.mark.parametrize("changes", [False, True])
def test_a_backup_is_put_together_before_the_turn_to_write_and_again_if_something_has_changed_since(
    world: World, monkeypatch: pytest.MonkeyPatch, *, changes: bool
) -> None:
    config = world.config()
    one, _two = world.serving(config, "one", "two")
    world.peers(config, "a", "b")
    operation = world.remove(config, one)
    with world.store.read() as tx:
        composed = kinds.compose(tx, world.vault, S.BACKUP, operation.id)
    if changes:
        world.peers(config, "c")
    again: list[object] = []
    put_together = backups.compose

    def counted(*given: Any) -> Composed:
        again.append(given)
        return put_together(*given)

    monkeypatch.setattr(backups, "compose", counted)
    with world.store.write() as tx:
        kinds.perform(
            tx, world.vault, S.BACKUP, operation.id, live_within_s=LIVE_S, clean_within_s=CLEAN_S, composed=composed
        )
    with world.store.read() as tx:
        (kept,) = backups.page(tx, config_id=config.id)
    assert (kept.peers, kept.operation_id, len(again)) == (3 if changes else 2, operation.id, int(changes))


@one_database
def test_the_last_node_stays_unless_it_is_forced_and_then_peers_wait_for_the_next(world: World) -> None:
    config = world.config()
    (one,) = world.serving(config, "one")
    world.peers(config, "a")
    with pytest.raises(Conflict, match="min_nodes"):
        world.remove(config, one)
    run(world, config, [one], world.remove(config, one, force=True))
    assert homes(world, config) == {"a": None}
    (two,) = world.serving(config, "two")
    assert homes(world, config) == {"a": two.id}


@one_database
def test_min_nodes_of_the_endpoint_group_is_a_floor(world: World) -> None:
    config = world.config()
    one, _ = world.serving(config, "one", "two")
    with world.store.write() as tx:
        spec = endpoint_groups.EndpointGroupSpec(domain="vpn.example.com", port=51820, min_nodes=2)
        endpoint_groups.put(tx, world.vault, "test", configs.get(tx, config.id), spec)
    with pytest.raises(Conflict, match="at least 2"):
        world.remove(config, one)
    assert world.remove(config, one, force=True).state == OperationState.PENDING


@one_database
def test_a_removal_that_the_others_have_no_room_for_is_refused(world: World) -> None:
    config = world.config()
    one = world.node("one")
    two = world.node("two", capacity=1)
    for node in (one, two):
        world.assign(config, node)
        world.sync(config, node)
    world.peers(config, "a", "b", "c")
    with pytest.raises(Exhausted, match="no room"):
        world.remove(config, one)
    run(world, config, [one, two], world.remove(config, one, force=True))
    assert set(homes(world, config).values()) == {two.id}


@one_database
def test_a_node_that_is_to_have_nobody_gets_nobody_and_the_peers_wait_for_another(world: World) -> None:
    config = world.config()
    one, two = world.node("one"), world.node("two", capacity=0)
    for node in (one, two):
        world.assign(config, node)
        world.sync(config, node)
    world.peers(config, "a")
    run(world, config, [one, two], world.remove(config, one, force=True))
    assert homes(world, config) == {"a": None}
    (three,) = world.serving(config, "three")
    assert homes(world, config) == {"a": three.id}


def test_what_was_never_assigned_cannot_be_removed(world: World) -> None:
    config = world.config()
    with pytest.raises(NotFound, match="is not assigned"):
        world.remove(config, world.node("one"))


@one_database
def test_a_backup_holds_the_interface_with_all_peers_and_is_encrypted_at_rest(world: World) -> None:
    config = world.config()
    one, _ = world.serving(config, "one", "two")
    (peer,) = world.peers(config, "a")
    operation = world.remove(config, one)
    world.step(operation)
    with world.store.write() as tx:
        (backup,) = backups.page(tx, node_id=one.id)
        text = backups.text(tx, world.vault, "test", backup)
    assert f"PublicKey = {peer.public_key}" in text
    assert "ListenPort = 51820" in text
    assert peer.public_key.encode() not in backup.content_sealed


@one_database
def test_an_independent_config_has_a_key_and_a_slice_a_node(world: World) -> None:
    config = world.config(mode="independent", pools=("10.9.0.0/24",))
    one, two = world.serving(config, "one", "two")
    made = world.peers(config, "a", "b")
    world.sync_all(config, one, two)
    first, second = world.agents[one.id, config.id], world.agents[two.id, config.id]
    assert first.settings.private_key != second.settings.private_key
    assert first.settings.addresses == ("10.9.0.1/28",)
    assert second.settings.addresses == ("10.9.0.17/28",)
    for node in (one, two):
        assert world.users(config, node) == {peer.public_key for peer in made}
    run(world, config, [one, two], world.remove(config, one))
    assert set(homes(world, config).values()) == {two.id}


def test_payloads_as_older_versions_or_people_wrote_them_are_read(world: World) -> None:
    config = world.config()
    one, two = world.serving(config, "one", "two")
    world.peers(config, "a", "b")
    world.sync_all(config, one, two)
    operation = world.remove(config, one)
    with world.store.write() as tx:
        row = operations.get(tx, operation.id)
        row.options = {"drain_window_s": "30", "added_later": [1]}
    while world.step(operation) not in {S.PLACE, S.DONE}:
        world.sync(config, two)
    with world.store.write() as tx:
        row = operations.get(tx, operation.id)
        assert "backup_id" in row.progress, "progress is added to"
        row.progress = row.progress | {"peers": 2.0, "added_later": {"x": 1}}
    run(world, config, [one, two], operation)
    assert operation_now(world, operation).progress["added_later"] == {"x": 1}


def test_a_node_that_no_agent_has_ever_joined_owes_nothing(world: World) -> None:
    config = world.config()
    (one,) = world.serving(config, "one")
    never = world.node("never")
    world.assign(config, never)
    (anna,) = world.peers(config, "anna")
    operation = world.remove(config, never, force=True, window_s=0)
    run(world, config, [one], operation)
    assert operation_now(world, operation).state == OperationState.SUCCEEDED
    with world.store.write() as tx:
        peers.delete(tx, "test", configs.get(tx, config.id), [anna.id])
        assert assignment_rows.owing_cleanups(tx) == []
        assert [each.node.name for each in owed.everywhere(tx)] == ["one"], "which has not heard of it yet"
        nodes.delete(tx, "test", nodes.get(tx, never.id))
