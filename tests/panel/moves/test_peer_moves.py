"""Chosen peers are moved to a node, or to the nodes of a group: rows, on both databases."""

from collections.abc import Callable

import pytest

from tests.panel.conftest import one_database
from tests.panel.moves.test_removal import homes, operation_now, run
from tests.panel.world import ACTOR, LIVE_S, World
from wgfleet.panel.domain.health.votes import Health
from wgfleet.panel.domain.moves import MoveStep
from wgfleet.panel.domain.operations import OperationKind, OperationState
from wgfleet.panel.domain.peer_changes import PeerAction
from wgfleet.panel.errors import Conflict, Exhausted, Invalid, NotFound
from wgfleet.panel.services import configs, operations, peer_changes
from wgfleet.panel.services.fleet import node_groups, nodes
from wgfleet.panel.services.moves import cancelling, takeovers
from wgfleet.panel.services.peer_changes import PeerChangeSpec, PeersFound
from wgfleet.panel.store import operations as operation_rows
from wgfleet.panel.store.listed_peers import PeerFilter
from wgfleet.panel.store.tables import Config, Node, Operation, Peer, PeerChange

S = MoveStep


def spec(to: str) -> PeerChangeSpec:
    return PeerChangeSpec(PeerAction.MOVE, {"search": "a"}, to=to, live_s=LIVE_S, grace_s=30)


def found(world: World, config: Config, to: str, part: str | None = "a") -> PeersFound:
    with world.store.read() as tx:
        return peer_changes.look(tx, PeerFilter(config_ids=[config.id], part=part), spec(to))


def begun(world: World, config: Config, to: str, part: str | None = "a", expect: str | None = None) -> Operation:
    expect = expect or found(world, config, to, part).who
    with world.store.write() as tx:
        wanted = PeerFilter(config_ids=[config.id], part=part)
        return peer_changes.start(tx, ACTOR, configs.get(tx, config.id), wanted, spec(to), expect)


@one_database
def test_those_who_fit_get_their_home_there_and_their_sessions_follow(world: World) -> None:
    config = world.config()
    one, two, three = world.serving(config, "one", "two", "three")
    made = {peer.name: peer for peer in world.peers(config, "a1", "a2", "a3", "b1", "b2", "b3")}
    world.sync_all(config, one, two, three)
    before = homes(world, config)
    away = next(peer for name, peer in made.items() if name.startswith("a") and before[name] != two.id)
    old = {node.id: node for node in (one, two, three)}[before[away.name] or ""]
    world.seen(config, old, {away.public_key: "198.51.100.7:4500"})
    look = found(world, config, "two")
    assert (look.peers, set(look.names)) == (3, {"a1", "a2", "a3"})
    assert "the node of their new home calls those who are connected now (1)" in " ".join(look.effects)
    operation = begun(world, config, "two")
    assert operation.kind is OperationKind.MOVE_PEERS
    with pytest.raises(Conflict, match="moves peers of"):
        found(world, config, "one")
    with pytest.raises(Conflict, match="moves peers of"):
        begun(world, config, "one", expect=look.who)
    run(world, config, [one, two, three], operation)
    ended = operation_now(world, operation)
    moved = sum(before[name] != two.id for name in ("a1", "a2", "a3"))
    assert (ended.state, ended.result["peers_migrated"]) == (OperationState.SUCCEEDED, moved)
    assert homes(world, config) == {**before, **dict.fromkeys(("a1", "a2", "a3"), two.id)}
    assert ended.result["sessions_taken_over"] == 1
    with world.store.read() as tx:
        assert tx.session.query(PeerChange).count() == 0


@one_database
def test_to_a_group_they_are_spread_over_its_nodes_and_prefer_it(world: World) -> None:
    config = world.config()
    one, two, three = world.serving(config, "one", "two", "three")
    world.peers(config, *(f"a{number}" for number in range(8)))
    world.sync_all(config, one, two, three)
    with world.store.write() as tx:
        group = node_groups.create(tx, ACTOR, "eu")
        for node in (two, three):
            nodes.get(tx, node.id).group_id = group.id
    assert "they prefer that group from now on" in found(world, config, "eu").effects
    operation = begun(world, config, "eu")
    run(world, config, [one, two, three], operation)
    assert operation_now(world, operation).state is OperationState.SUCCEEDED
    assert set(homes(world, config).values()) == {two.id, three.id}
    with world.store.read() as tx:
        assert {peer.group_id for peer in tx.session.query(Peer)} == {group.id}


@one_database
def test_a_wrong_clock_of_the_node_that_is_to_call_is_said_before(world: World) -> None:
    config = world.config()
    one, two = world.serving(config, "one", "two")
    (peer,) = world.peers(config, "a1")
    world.sync_all(config, one, two)
    home, other = (one, two) if homes(world, config)["a1"] == one.id else (two, one)
    with world.store.write() as tx:
        nodes.get(tx, other.id).clock_ahead_s = 30.0
        nodes.get(tx, home.id).clock_ahead_s = -40.0  # it calls nobody
    assert "clock" not in " ".join(found(world, config, other.name).effects)  # nobody is connected
    world.seen(config, home, {peer.public_key: "198.51.100.7:4500"})
    said = " ".join(found(world, config, other.name).effects)
    assert f"node {other.name!r}: its clock is 30 s ahead" in said
    assert "40" not in said


@one_database
def test_where_they_cannot_all_go_none_goes_and_it_is_said_before(world: World) -> None:
    config = world.config()
    one, two = world.serving(config, "one", "two")
    world.peers(config, *(f"a{number}" for number in range(4)))
    world.sync_all(config, one, two)
    spare = world.node("spare")
    with pytest.raises(NotFound, match="no node and no node group 'nowhere'"):
        found(world, config, "nowhere")
    with pytest.raises(Conflict, match="it does not serve it now"):
        found(world, config, spare.name)
    with pytest.raises(Invalid, match="no peer fits"):
        found(world, config, "two", part="zzzz")
    world.cordon(two)
    with pytest.raises(Conflict, match="cordoned"):
        found(world, config, "two")
    world.uncordon(two)
    with world.store.write() as tx:
        nodes.get(tx, two.id).capacity = 3
    with pytest.raises(Exhausted, match=r"node 'two' has room for 1 of 2 peers"):
        found(world, config, "two")
    with world.store.write() as tx:
        nodes.get(tx, two.id).capacity = None
    operation, before = begun(world, config, "two"), homes(world, config)
    with world.store.write() as tx:
        nodes.get(tx, two.id).capacity = 3
    run(world, config, [one, two], operation)
    ended = operation_now(world, operation)
    assert (ended.state, homes(world, config)) == (OperationState.FAILED, before)
    assert "has room for 1 of 2 peers" in ended.result["reason"]


@one_database
def test_one_that_is_cancelled_before_homes_are_given_changes_nothing(world: World) -> None:
    config = world.config()
    one, two = world.serving(config, "one", "two")
    world.peers(config, *(f"a{number}" for number in range(4)))
    world.sync_all(config, one, two)
    operation, before = begun(world, config, "two"), homes(world, config)
    with world.store.write() as tx:
        cancelling.cancel(tx, ACTOR, operations.get(tx, operation.id))
    run(world, config, [one, two], operation)
    ended = operation_now(world, operation)
    assert (ended.state, ended.cancelled_by, homes(world, config)) == (OperationState.FAILED, ACTOR, before)
    with world.store.read() as tx:
        assert tx.session.query(PeerChange).count() == 0


def unassigned(world: World, config: Config, nodes_left: list[Node], node: Node) -> None:
    run(world, config, [*nodes_left, node], world.remove(config, node))


def put(world: World, node: Node, group_id: str | None) -> None:
    with world.store.write() as tx:
        nodes.get(tx, node.id).group_id = group_id


def gone(world: World, config: Config, one: Node, two: Node) -> None:
    unassigned(world, config, [one], two)
    with world.store.write() as tx:
        nodes.delete(tx, ACTOR, nodes.get(tx, two.id))


def group_gone(world: World, _config: Config, _one: Node, two: Node) -> None:
    put(world, two, None)
    with world.store.write() as tx:
        node_groups.delete(tx, ACTOR, node_groups.get(tx, "us"))


MEANWHILE: dict[str, tuple[str, Callable[[World, Config, Node, Node], None], str]] = {
    "cordoned": ("two", lambda world, _config, _one, two: world.cordon(two), "cannot get peers: cordoned"),
    "unassigned": (
        "two",
        lambda world, config, one, two: unassigned(world, config, [one], two),
        "node 'two' cannot get peers of config 'wg0': it does not serve it now",
    ),
    "deleted": ("two", gone, "there is no node 'two' any more"),
    "group deleted": ("us", group_gone, "there is no such group: node group 'us' was deleted meanwhile"),
    "group left": ("us", lambda world, _config, _one, two: put(world, two, None), "none serves it now"),
}


@pytest.mark.parametrize("looked", [False, True], ids=["before the look", "after it"])
@pytest.mark.parametrize("what", MEANWHILE)
@one_database
def test_a_move_whose_destination_goes_before_its_first_step_fails_and_says_why(
    world: World, what: str, *, looked: bool
) -> None:
    config = world.config()
    (one,) = world.serving(config, "one")
    world.peers(config, "a1", "a2")
    (two,) = world.serving(config, "two")
    world.sync_all(config, one, two)
    with world.store.write() as tx:
        group = node_groups.create(tx, ACTOR, "us")
    put(world, two, group.id)
    to, meanwhile, said = MEANWHILE[what]
    operation = begun(world, config, to)
    meanwhile(world, config, one, two)
    if looked:
        world.perform(S.PLACE, operation)
    assert run(world, config, [one], operation) == ([] if looked else [S.PLACE])
    ended = operation_now(world, operation)
    assert ended.state is OperationState.FAILED
    assert said in ended.result["reason"]
    assert set(homes(world, config).values()) == {one.id}
    with world.store.read() as tx:
        assert {peer.group_id for peer in tx.session.query(Peer)} == {None}
        assert tx.session.query(PeerChange).count() == 0


def test_nodes_that_leave_the_group_before_the_first_step_get_no_peers_and_those_that_come_do(world: World) -> None:
    config = world.config()
    one, two, three, four = world.serving(config, "one", "two", "three", "four")
    world.peers(config, *(f"a{number}" for number in range(8)))
    world.sync_all(config, one, two, three, four)
    with world.store.write() as tx:
        group = node_groups.create(tx, ACTOR, "us")
    for node in (two, three):
        put(world, node, group.id)
    with world.store.write() as tx:
        nodes.get(tx, two.id).capacity = nodes.get(tx, three.id).capacity = 3
    with pytest.raises(Exhausted, match="the nodes of group 'us' have room for"):
        found(world, config, "us")
    with world.store.write() as tx:
        nodes.get(tx, two.id).capacity = nodes.get(tx, three.id).capacity = None
    operation = begun(world, config, "us")
    put(world, three, None)
    put(world, four, group.id)
    run(world, config, [one, two, three, four], operation)
    assert operation_now(world, operation).state is OperationState.SUCCEEDED
    assert set(homes(world, config).values()) == {two.id, four.id}


def connected_at_the_first(world: World, *names: str) -> tuple[Config, list[Node]]:
    """Return a config and its nodes, of which each is home to two peers; those of the first are connected."""
    config = world.config()
    serving = world.serving(config, *names)
    made = world.peers(config, *(f"a{number}" for number in range(2 * len(names))))
    world.sync_all(config, *serving)
    at = homes(world, config)
    world.seen(
        config, serving[0], {each.public_key: "198.51.100.7:4500" for each in made if at[each.name] == serving[0].id}
    )
    return config, serving


@pytest.mark.parametrize("health", [Health.UNMANAGED, Health.SUSPECT])
def test_a_node_that_calls_nobody_gets_no_peers_and_none_go_elsewhere_instead(world: World, health: Health) -> None:
    config, (one, two, three) = connected_at_the_first(world, "one", "two", "three")
    before = homes(world, config)
    operation = begun(world, config, "two")
    world.judged(config, two, health)
    run(world, config, [one, two, three], operation)
    ended = operation_now(world, operation)
    assert (ended.state, homes(world, config)) == (OperationState.FAILED, before)
    assert "its agent does not answer" in ended.result["reason"]
    with pytest.raises(Conflict, match=r"cannot get peers of config .*: its agent does not answer") as refused:
        found(world, config, "two")
    assert not refused.value.hints  # it is assigned already


@pytest.mark.parametrize("health", [Health.UNMANAGED, Health.SUSPECT])
def test_who_is_on_the_way_to_a_node_that_stops_calling_goes_to_no_third_one(world: World, health: Health) -> None:
    config, (one, two, three) = connected_at_the_first(world, "one", "two", "three")
    operation = begun(world, config, "two")
    world.perform(S.PLACE, operation)
    world.judged(config, two, health)
    world.sync_all(config, one, two, three)
    with world.store.write() as tx:
        _, calls = takeovers.due(tx, world.vault, operation.id, live_within_s=LIVE_S)
        aims = {move.to_node_id for move in operation_rows.moves(tx, operation.id).values()}
    assert {call.node_id for call in calls} <= {two.id}
    assert (aims, set(homes(world, config).values())) == ({two.id}, {two.id})


def test_who_is_on_the_way_to_a_node_that_stops_calling_goes_to_another_one_of_the_same_group(world: World) -> None:
    config, (one, two, three, four) = connected_at_the_first(world, "one", "two", "three", "four")
    with world.store.write() as tx:
        group = node_groups.create(tx, ACTOR, "us")
    for node in (two, three):
        put(world, node, group.id)
    operation = begun(world, config, "us")
    world.perform(S.PLACE, operation)
    world.judged(config, two, Health.UNMANAGED)
    world.sync_all(config, one, two, three, four)
    with world.store.write() as tx:
        _, calls = takeovers.due(tx, world.vault, operation.id, live_within_s=LIVE_S)
        aims = {
            move.to_node_id for move in operation_rows.moves(tx, operation.id).values() if move.from_node_id == one.id
        }
    assert {call.node_id for call in calls} == {three.id}
    assert aims == {three.id}
