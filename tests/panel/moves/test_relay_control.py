"""Relays by hand: who hangs on which, ending one or all, prolonging; and what no row or panel is needed for."""

import asyncio
from typing import Any, cast

import pytest
from msgspec.structs import replace

from tests.panel.conftest import one_database
from tests.panel.moves.test_relays import RELAY_S, RelayingLine
from tests.panel.moves.test_worker import ENDPOINT, Line
from tests.panel.world import World
from wgfleet.panel import clock, faultpoints
from wgfleet.panel.errors import Conflict, Invalid, NotFound
from wgfleet.panel.hints import HintCode
from wgfleet.panel.reconcile.moves.relay_sync import AGAIN_S, RelayReconciler
from wgfleet.panel.services import audit, configs
from wgfleet.panel.services.fleet import cordons, node_deletion
from wgfleet.panel.services.fleet import nodes as node_service
from wgfleet.panel.services.moves import relay_control
from wgfleet.panel.services.moves.relay_control import HangingClient
from wgfleet.panel.store import assignments as assignment_rows
from wgfleet.panel.store.tables import Config, Node
from wgfleet.protocol.keys import PublicKey
from wgfleet.protocol.relay import Relayed

DAY_S = 86400.0


class Hanging:
    """A cluster whose clients a, b, c and d hang on a relay of the first node, and what can be done with that."""

    def __init__(self, world: World, *, stays: bool = False) -> None:
        self.world = world
        self.config: Config = world.config()
        self.nodes: list[Node] = world.serving(self.config, "one", "two", "three")
        self.node = self.nodes[0]
        self.line = RelayingLine(config_id=self.config.id)
        self.lines: dict[str, Line] = {self.node.id: self.line, **{node.id: RelayingLine() for node in self.nodes[1:]}}
        made = world.peers(self.config, "a", "b", "c", "d")
        at, target = self.node.endpoint_addresses[0], f"{self.nodes[1].endpoint_addresses[0]}:51820"
        world.seen(self.config, self.nodes[1], {peer.public_key: f"{at}:20000" for peer in made})
        now = clock.now()
        for peer in made:
            relayed = Relayed(ENDPOINT, target, 20000, now + RELAY_S, now, RELAY_S)
            self.line.relayed[PublicKey(peer.public_key)] = relayed
        with world.store.write() as tx:
            node_service.get(tx, self.node.id).connected = True
            assignment = assignment_rows.get(tx, self.config.id, self.node.id)
            assert assignment is not None
            if not stays:
                assignment_rows.remove(tx, assignment.id)
        self.reconciler = self.restarted()

    def restarted(self) -> RelayReconciler:
        self.reconciler = RelayReconciler(self.world.store, cast("Any", self.lines))
        return self.reconciler

    def look(self) -> float | None:
        return asyncio.run(self.reconciler.reconcile(self.node.id))

    def listed(self) -> dict[str, HangingClient]:
        with self.world.store.read() as tx:
            return {each.row.peer_name: each for each in relay_control.listing(tx, node=self.node)}

    def end(self, peer: str | None = None, *, force: bool = False) -> list[str]:
        with self.world.store.write() as tx:
            node, config = node_service.get(tx, self.node.id), configs.get(tx, self.config.id)
            return relay_control.end(tx, "root", config, node, peer, force=force)

    def prolong(self, relay_s: float, peer: str | None = None) -> list[str]:
        with self.world.store.write() as tx:
            node, config = node_service.get(tx, self.node.id), configs.get(tx, self.config.id)
            return relay_control.prolong(tx, "root", config, node, peer, relay_s)

    def audited(self) -> list[tuple[str, str]]:
        with self.world.store.read() as tx:
            entries, _ = audit.page(tx, entity_type="config_node", limit=50)
            return [(entry.actor, entry.action) for entry in entries if entry.action.startswith("relay")]

    def left_s(self, name: str) -> float:
        found = self.listed()[name].row
        return self.line.relayed[PublicKey(found.public_key)].left_s


@one_database
def test_who_hangs_on_which_relay_is_listed_with_its_times(world: World) -> None:
    hanging = Hanging(world)
    assert hanging.listed() == {}, "the agent has not been asked"
    hanging.look()
    found = hanging.listed()
    assert sorted(found) == ["a", "b", "c", "d"]
    first = found["a"]
    assert first.live
    assert first.to is not None
    assert first.to.id == hanging.nodes[1].id
    assert first.row.ends_at - first.row.since == pytest.approx(RELAY_S, abs=5)
    assert hanging.audited() == [("panel", "relay_begun")]
    hanging.look()
    assert {name: each.row for name, each in hanging.listed().items()} == {
        name: each.row for name, each in found.items()
    }


@one_database
def test_a_node_whose_clock_is_wrong_is_believed_what_is_left(world: World) -> None:
    hanging = Hanging(world)
    for key, each in hanging.line.relayed.items():
        hanging.line.relayed[key] = replace(each, ends_at=each.ends_at + DAY_S, since=each.since + DAY_S)
    hanging.look()
    row = hanging.listed()["a"].row
    assert row.ends_at == pytest.approx(clock.now() + RELAY_S, abs=10)
    assert row.since == pytest.approx(clock.now(), abs=60)


def test_the_end_of_a_relay_that_a_live_client_needs_is_refused_without_force(world: World) -> None:
    hanging = Hanging(world)
    hanging.look()
    with pytest.raises(Conflict, match=r"4 live clients of config 'wg0' would be cut off .*: a, b, c, d") as refused:
        hanging.end()
    assert [hint.code for hint in refused.value.hints] == [HintCode.WAIT_FOR_RELAYS, HintCode.FORCE]
    with pytest.raises(NotFound, match="relays no peer 'nobody'"):
        hanging.end("nobody")
    assert hanging.end("b", force=True) == ["b"]
    assert hanging.listed()["b"].row.wanted_ends_at == 0
    hanging.look()
    assert sorted(hanging.listed()) == ["a", "c", "d"]
    assert len(hanging.line.ended) == 1
    assert hanging.end(force=True) == ["a", "c", "d"]
    hanging.look()
    assert hanging.listed() == {}
    assert hanging.line.relayed == {}
    assert hanging.audited() == [("root", "relay_ended"), ("root", "relay_ended"), ("panel", "relay_begun")]


@one_database
def test_a_client_that_came_to_another_node_is_let_go_without_force(world: World) -> None:
    hanging = Hanging(world)
    hanging.look()
    world.seen(hanging.config, hanging.nodes[2], {PublicKey(hanging.listed()["c"].row.public_key): "198.51.100.9:5"})
    assert [name for name, each in hanging.listed().items() if not each.live] == ["c"]
    assert hanging.end("c") == ["c"]


@one_database
def test_where_the_node_serves_again_nobody_is_lost(world: World) -> None:
    hanging = Hanging(world, stays=True)
    hanging.look()
    with world.store.read() as tx:
        node, config = node_service.get(tx, hanging.node.id), configs.get(tx, hanging.config.id)
        (said,) = relay_control.effects_of_end(tx, config, node, relay_control.chosen(tx, config, node, None))
    assert said.startswith("silent for up to 15 s")
    assert said.endswith(": 4 live clients (a, b, c, d)")
    assert len(hanging.end()) == 4


@one_database
def test_a_relay_is_prolonged_and_never_made_shorter(world: World) -> None:
    hanging = Hanging(world)
    hanging.look()
    with pytest.raises(Conflict, match="longer than that: a, b, c, d; none is made shorter"):
        hanging.prolong(60.0)
    with pytest.raises(Invalid, match="at most 7776000 s"):
        hanging.prolong(91 * DAY_S)
    assert hanging.prolong(2 * DAY_S, "a") == ["a"]
    hanging.look()
    assert hanging.left_s("a") == pytest.approx(2 * DAY_S, abs=60)
    assert hanging.left_s("b") <= RELAY_S
    row = hanging.listed()["a"].row
    assert row.wanted_ends_at is None
    assert row.ends_at == pytest.approx(clock.now() + 2 * DAY_S, abs=60)


def test_what_a_silent_agent_was_asked_is_done_when_it_answers(world: World) -> None:
    hanging = Hanging(world)
    hanging.look()
    hanging.line.connected = False
    hanging.prolong(2 * DAY_S)
    hanging.end("a", force=True)
    assert hanging.look() == AGAIN_S
    assert hanging.listed()["a"].row.wanted_ends_at == 0
    hanging.line.connected = True
    assert hanging.look() == pytest.approx(2 * DAY_S, abs=60), "when the first of them is over"
    assert sorted(hanging.listed()) == ["b", "c", "d"]
    assert hanging.left_s("b") == pytest.approx(2 * DAY_S, abs=60)


@pytest.mark.parametrize("wish", ["end", "prolong"])
@one_database
def test_a_panel_that_dies_after_it_told_the_agent_goes_on_when_it_restarts(
    world: World, monkeypatch: pytest.MonkeyPatch, wish: str
) -> None:
    hanging = Hanging(world)
    hanging.look()
    if wish == "end":
        hanging.end(force=True)
    else:
        hanging.prolong(2 * DAY_S)

    class Died(Exception):
        """The panel's end, as far as this process shows it."""

    def die(point: str) -> None:
        if point == "relays.told":
            raise Died

    with monkeypatch.context() as patch:
        patch.setattr(faultpoints, "reached", die)
        with pytest.raises(Died):
            hanging.look()
    assert len(hanging.listed()) == 4
    hanging.restarted()
    assert (hanging.look() is None) is (wish == "end")
    if wish == "end":
        assert hanging.listed() == {}
    else:
        assert {each.row.wanted_ends_at for each in hanging.listed().values()} == {None}
        assert hanging.left_s("d") == pytest.approx(2 * DAY_S, abs=60)


@one_database
def test_a_relay_that_ended_by_its_time_is_said_to_be_over(world: World) -> None:
    hanging = Hanging(world)
    hanging.look()
    hanging.line.relayed.clear()
    hanging.look()
    assert hanging.listed() == {}
    assert hanging.audited() == [("panel", "relay_over"), ("panel", "relay_begun")]


@one_database
def test_a_node_that_serves_does_not_relay_those_who_do_not_need_it(world: World) -> None:
    hanging = Hanging(world, stays=True)
    with world.store.write() as tx:
        cordons.uncordon(tx, "root", node_service.get(tx, hanging.node.id))
    hanging.look()
    row = hanging.listed()["a"].row
    world.seen(hanging.config, hanging.nodes[2], {PublicKey(row.public_key): "198.51.100.9:5"})
    hanging.look()
    assert sorted(hanging.listed()) == ["b", "c", "d"]
    assert hanging.line.ended == [row.public_key]


def test_relays_of_configs_and_peers_that_are_gone_end(world: World) -> None:
    hanging = Hanging(world)
    stranger = PublicKey("A" * 43 + "=")
    hanging.line.relayed[stranger] = Relayed("192.0.2.77:1", "192.0.2.78:1", 20099, clock.now() + 60, clock.now(), 60.0)
    hanging.look()
    assert hanging.line.ended == [stranger]
    hanging.line.config_id = "gone"
    hanging.look()
    assert hanging.line.relayed == {}
    assert hanging.listed() == {}


@one_database
def test_an_agent_is_asked_once_unless_something_has_happened(world: World) -> None:
    hanging = Hanging(world)
    assert set(hanging.reconciler.unasked()) == {node.id for node in hanging.nodes}
    for node in hanging.nodes:
        asyncio.run(hanging.reconciler.reconcile(node.id))
    assert hanging.reconciler.unasked() == []


@one_database
def test_relays_that_begin_after_the_agent_was_asked_are_listed(world: World) -> None:
    hanging = Hanging(world)
    begun = dict(hanging.line.relayed)
    hanging.line.relayed.clear()
    hanging.look()
    assert hanging.listed() == {}
    hanging.line.relayed.update(begun)
    hanging.look()
    assert sorted(hanging.listed()) == ["a", "b", "c", "d"]
    assert hanging.audited() == [("panel", "relay_begun")]


def test_a_relay_that_leads_to_a_relay_is_needed_as_much_as_that(world: World) -> None:
    hanging = Hanging(world)
    hanging.look()
    second, third = hanging.nodes[1:]
    peers = [PublicKey(each.row.public_key) for each in hanging.listed().values()]
    at = second.endpoint_addresses[0]
    line = hanging.lines[second.id]
    assert isinstance(line, RelayingLine)
    line.config_id = hanging.config.id
    now, target = clock.now(), f"{third.endpoint_addresses[0]}:51820"
    line.relayed = {key: Relayed(ENDPOINT, target, 20000, now + RELAY_S, now, RELAY_S) for key in peers}
    asyncio.run(hanging.reconciler.reconcile(second.id))
    world.seen(hanging.config, third, dict.fromkeys(peers, f"{at}:20000"))
    assert all(each.live for each in hanging.listed().values()), "of the first of two in a row"
    with pytest.raises(Conflict, match="4 live clients"):
        hanging.end()
    with world.store.read() as tx:
        assert node_deletion.relayed(tx, node_service.get(tx, hanging.node.id)) == "a, b, c, d"
    hanging.look()
    assert {each.target for each in hanging.line.relayed.values()} == {target}, "it needs the second no more"
    world.seen(hanging.config, third, dict.fromkeys(peers, f"{hanging.node.endpoint_addresses[0]}:20000"))
    with world.store.read() as tx:
        assert node_deletion.relayed(tx, node_service.get(tx, second.id)) == ""


@one_database
def test_relays_are_led_to_the_port_that_their_target_has_now(world: World) -> None:
    hanging = Hanging(world)
    hanging.look()
    with world.store.write() as tx:
        configs.update(tx, "root", configs.get(tx, hanging.config.id), {"listen_port": 51999})
    hanging.look()
    there = f"{hanging.nodes[1].endpoint_addresses[0]}:51999"
    assert {each.target for each in hanging.line.relayed.values()} == {there}
    assert {each.row.target for each in hanging.listed().values()} == {there}


@one_database
def test_a_relay_that_is_over_keeps_nobody_connected(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    hanging = Hanging(world)
    hanging.look()
    later = clock.now() + RELAY_S + 1
    monkeypatch.setattr(clock, "now", lambda: later)
    assert not any(each.live for each in hanging.listed().values())
