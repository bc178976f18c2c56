"""Clients that nobody else can call: a removal has the leaving node pass their packets on, and says who hangs on it."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from msgspec.structs import replace

from tests.panel.conftest import one_database
from tests.panel.moves.test_worker import ENDPOINT, Line, carried_out, everybody, fleet
from tests.panel.world import World
from wgfleet.panel import clock, faultpoints
from wgfleet.panel.domain.operations import OperationState
from wgfleet.panel.errors import Conflict, TransientError
from wgfleet.panel.hints import HintCode
from wgfleet.panel.reconcile.moves import takeovers
from wgfleet.panel.services.fleet import cordons
from wgfleet.panel.services.fleet import nodes as node_service
from wgfleet.panel.services.moves import drain, removal
from wgfleet.panel.store.tables import Config, Node, Operation
from wgfleet.protocol.features import ALL, NONE, Feature
from wgfleet.protocol.ids import ConfigId, InterfaceName
from wgfleet.protocol.keys import PublicKey
from wgfleet.protocol.messages import Takeover, TakeoverResult
from wgfleet.protocol.relay import (
    AllRelays,
    InterfaceRelays,
    Relayed,
    RelayEnd,
    RelayProlongation,
    RelayRequest,
    RelayStatus,
)

RELAY_S = 3600.0
WINDOW_S = 600.0  # in which even a busy machine calls everybody, also by relays


@dataclass
class RelayingLine(Line):
    """A line to an agent that relays, or, as `broken`, does not."""

    features: frozenset[Feature] = ALL
    broken: bool = False
    ahead_s: float = 0.0
    config_id: str = ""
    status: object = field(default_factory=object)
    relayed: dict[PublicKey, Relayed] = field(default_factory=dict)
    ended: list[PublicKey] = field(default_factory=list)

    async def relay(self, _interface: str, request: RelayRequest) -> RelayStatus:
        if self.broken:
            raise TransientError("no nft")
        self.config_id = request.config_id
        for peer in request.peers:
            old = self.relayed.get(peer.public_key)
            port = 20000 + len(self.relayed) if old is None else old.port
            since = clock.now() if old is None else old.since
            self.relayed[peer.public_key] = Relayed(
                peer.endpoint, peer.target, port, clock.now() + self.ahead_s + request.for_s, since, request.for_s
            )
        return RelayStatus(self.relayed)

    async def relay_status(self, _interface: str) -> RelayStatus:
        """Say how long each has to go now, which the panel asks for when it turns one: a slow test takes seconds."""
        now = clock.now() + self.ahead_s
        return RelayStatus({key: replace(each, left_s=each.ends_at - now) for key, each in self.relayed.items()})

    async def relays(self) -> AllRelays:
        if not self.relayed:
            return AllRelays({})
        return AllRelays({InterfaceName("wg0"): InterfaceRelays(ConfigId(self.config_id), dict(self.relayed))})

    async def prolong_relay(self, _interface: str, prolonged: RelayProlongation) -> RelayStatus:
        for key in prolonged.peers:
            ends_at, left_s = clock.now() + self.ahead_s + prolonged.for_s, prolonged.for_s
            self.relayed[key] = replace(self.relayed[key], ends_at=ends_at, left_s=left_s)
        return RelayStatus(self.relayed)

    async def end_relay(self, _interface: str, ended: RelayEnd) -> RelayStatus:
        for key in ended.peers or ():
            self.ended.append(key)
            self.relayed.pop(key, None)
        return RelayStatus(self.relayed)


def started(
    world: World, config: Config, node: Node, known: frozenset[Feature], *, stays: bool, relay_s: float = RELAY_S
) -> Operation:
    with world.store.write() as tx:
        row = node_service.get(tx, node.id)
        row.agent_features = sorted(known)
        if stays:
            (operation,) = drain.start(tx, "root", row, grace_s=0, drain_window_s=WINDOW_S, relay_s=relay_s)
            return operation
        return removal.start(tx, "root", config, row, grace_s=0, force=True, drain_window_s=WINDOW_S, relay_s=RELAY_S)


def only_by(*hosts: str) -> Callable[[Takeover], object]:
    """Return an agent's answer where only calls to one of these addresses get through."""

    async def answer(takeover: Takeover) -> TakeoverResult:
        heard = [peer.public_key for peer in takeover.peers if peer.endpoint.rpartition(":")[0] in hosts]
        unheard = tuple(peer.public_key for peer in takeover.peers if peer.public_key not in heard)
        return TakeoverResult(dict.fromkeys(heard, 0.01), unheard)

    return answer


def until_called_in_vain(
    monkeypatch: pytest.MonkeyPatch, line: Line, meanwhile: Callable[[], None]
) -> Callable[[], None]:
    """Have the drain window end once calls were made by the node itself, and by a relay if there may be one."""
    real = clock.now

    def look() -> None:
        meanwhile()
        if len(line.called) >= 3:
            monkeypatch.setattr(clock, "now", lambda: real() + WINDOW_S)

    return look


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(takeovers, "AGAIN_S", 0.05)


@pytest.mark.parametrize("stays", [True, False])
@one_database
def test_those_behind_nat_are_called_through_the_node_that_they_know(world: World, *, stays: bool) -> None:
    config, (one, two), made = fleet(world, "one", "two")
    operation = started(world, config, one, ALL, stays=stays)
    here, there = RelayingLine(), RelayingLine()
    there.answer = only_by(one.endpoint_addresses[0])  # type: ignore[assignment]
    lines: dict[str, Line] = {one.id: here, two.id: there}
    ended = asyncio.run(carried_out(world, operation, lines, lambda: world.sync_all(config, one, two)))
    assert ended.state == OperationState.SUCCEEDED
    assert (ended.result["sessions_taken_over"], ended.result["left_behind"]) == (len(made), 0)
    assert ended.result["relayed"] == ["a", "b", "c", "d"]
    assert ended.result["relay_ends_at"] > operation.created_at
    assert {each.endpoint for each in here.relayed.values()} == {ENDPOINT}
    assert {each.target for each in here.relayed.values()} == {f"{two.endpoint_addresses[0]}:{config.listen_port}"}
    assert there.called[0].peers[0].endpoint == ENDPOINT, "at first without a relay, which others do not need"


class Died(Exception):
    """The end of a panel, as far as this process shows it."""


@pytest.mark.parametrize("point", ["moves.relay.begun", "moves.relay.answered", "moves.takeover.answered"])
@one_database
def test_a_panel_that_dies_while_it_relays_clients_goes_on_when_it_restarts(
    world: World, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    config, (one, two), made = fleet(world, "one", "two")
    operation = started(world, config, one, ALL, stays=False)
    here, there = RelayingLine(), RelayingLine()
    there.answer = only_by(one.endpoint_addresses[0])  # type: ignore[assignment]
    lines: dict[str, Line] = {one.id: here, two.id: there}

    def die(reached: str) -> None:
        if reached == point and here.relayed:
            raise Died

    with monkeypatch.context() as patch:
        patch.setattr(faultpoints, "reached", die)
        with pytest.raises(Died):
            asyncio.run(carried_out(world, operation, lines, lambda: world.sync_all(config, one, two)))
    before = dict(here.relayed)
    assert len(before) == len(made)
    ended = asyncio.run(carried_out(world, operation, lines, lambda: world.sync_all(config, one, two)))
    assert ended.state == OperationState.SUCCEEDED
    assert (ended.result["relayed"], ended.result["left_behind"]) == (["a", "b", "c", "d"], 0)
    assert {key: each.port for key, each in here.relayed.items()} == {key: each.port for key, each in before.items()}


@one_database
def test_those_who_can_be_called_are_not_relayed(world: World) -> None:
    config, (one, two), _ = fleet(world, "one", "two")
    operation = started(world, config, one, ALL, stays=False)
    here, there = RelayingLine(), RelayingLine(answer=everybody)
    lines: dict[str, Line] = {one.id: here, two.id: there}
    ended = asyncio.run(carried_out(world, operation, lines, lambda: world.sync_all(config, one, two)))
    assert "relayed" not in ended.result
    assert here.relayed == {}


@pytest.mark.parametrize("why", ["silent clients", "an older agent", "no nft"])
@one_database
def test_those_who_do_not_answer_through_a_relay_keep_the_node_that_they_have(
    world: World, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    config, (one, two), made = fleet(world, "one", "two")
    known = NONE if why == "an older agent" else ALL
    operation = started(world, config, one, known, stays=False)
    here, there = RelayingLine(features=known, broken=why == "no nft"), RelayingLine()
    there.answer = only_by()  # type: ignore[assignment]
    lines: dict[str, Line] = {one.id: here, two.id: there}
    meanwhile = until_called_in_vain(monkeypatch, there, lambda: world.sync_all(config, one, two))
    ended = asyncio.run(carried_out(world, operation, lines, meanwhile))
    assert ended.result["left"] == ["a", "b", "c", "d"]
    assert "relayed" not in ended.result
    assert here.relayed == {}
    assert set(here.ended) == ({peer.public_key for peer in made} if why == "silent clients" else set())


@one_database
def test_a_drain_that_moved_nobody_names_the_relay(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    config, (one, two), _ = fleet(world, "one", "two")
    operation = started(world, config, one, ALL, stays=True, relay_s=0.0)
    here, there = RelayingLine(), RelayingLine()
    there.answer = only_by()  # type: ignore[assignment]
    lines: dict[str, Line] = {one.id: here, two.id: there}
    meanwhile = until_called_in_vain(monkeypatch, there, lambda: world.sync_all(config, one, two))
    ended = asyncio.run(carried_out(world, operation, lines, meanwhile))
    assert ended.result["ways_out"] == ["relay"], "which each surface says in its own words"
    assert "relay_s" not in ended.result["reason"]

    with pytest.raises(Conflict, match=r"4 live clients of config 'wg0' would be cut off.*: a, b, c, d") as refused:
        world.remove(config, one)
    assert [hint.code for hint in refused.value.hints] == [HintCode.RELAY, HintCode.ADD_FLOATING, HintCode.FORCE]
    with world.store.write() as tx:
        node = node_service.get(tx, one.id)
        with pytest.raises(Conflict, match="cannot relay them"):
            removal.start(tx, "root", config, node, grace_s=0, relay_s=RELAY_S)
        node.connected = True
        begun = removal.start(tx, "root", config, node, grace_s=0, relay_s=RELAY_S)
        with pytest.raises(Conflict, match=f"{begun.id} is under way with relays of 3600 s"):
            removal.start(tx, "root", config, node, grace_s=0, relay_s=2 * RELAY_S)
        assert removal.start(tx, "root", config, node, grace_s=0).id == begun.id
    assert here.relayed == {}


def relayed_fleet(world: World, *, stays: bool) -> tuple[Config, list[Node], RelayingLine, dict[str, Line]]:
    """Return a cluster of three whose clients hang on a relay of the first, and have their sessions on the second."""
    config, (one, two), made = fleet(world, "one", "two")
    with world.store.write() as tx:
        for node in (one, two):
            node_service.get(tx, node.id).connected = True
    here = RelayingLine()
    lines: dict[str, Line] = {one.id: here, two.id: RelayingLine()}
    lines[two.id].answer = only_by(one.endpoint_addresses[0])  # type: ignore[assignment]
    operation = started(world, config, one, ALL, stays=stays)
    asyncio.run(carried_out(world, operation, lines, lambda: world.sync_all(config, one, two)))
    assert here.relayed.keys() == {peer.public_key for peer in made}
    (three,) = world.serving(config, "three")
    world.sync_all(config, two, three)
    lines[three.id] = RelayingLine()
    return config, [one, two, three], here, lines


def targets(line: RelayingLine, config: Config) -> set[str]:
    return {each.target.removesuffix(f":{config.listen_port}") for each in line.relayed.values()}


@one_database
def test_a_relay_is_turned_when_the_node_dies_that_it_leads_to(world: World) -> None:
    config, (one, two, three), here, lines = relayed_fleet(world, stays=False)
    ends_at = {each.ends_at for each in here.relayed.values()}
    lines[two.id] = Line(connected=False, silent=True)
    lines[three.id].answer = only_by(one.endpoint_addresses[0])  # type: ignore[assignment]
    operation = world.failover(config, two)
    ended = asyncio.run(carried_out(world, operation, lines, lambda: world.sync(config, three)))
    assert (ended.result["sessions_taken_over"], ended.result["left_behind"]) == (4, 0)
    assert targets(here, config) == {three.endpoint_addresses[0]}
    assert max(each.ends_at for each in here.relayed.values()) - max(ends_at) < 2, "for the time that was left"
    assert {each.endpoint for each in here.relayed.values()} == {ENDPOINT}


@one_database
def test_a_relay_leads_back_where_nobody_answers_the_next_node(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    config, (_, two, three), here, lines = relayed_fleet(world, stays=False)
    lines[three.id].answer = only_by()  # type: ignore[assignment]
    with world.store.write() as tx:
        node = node_service.get(tx, two.id)
        operation = removal.start(tx, "root", config, node, grace_s=0, force=True, drain_window_s=WINDOW_S)
    meanwhile = until_called_in_vain(monkeypatch, lines[three.id], lambda: world.sync_all(config, two, three))
    ended = asyncio.run(carried_out(world, operation, lines, meanwhile))
    assert ended.result["left_behind"] == 4
    assert targets(here, config) == {two.endpoint_addresses[0]}


@one_database
def test_a_node_that_relays_live_clients_is_deleted_with_force_only(world: World) -> None:
    _, (one, *_), _, _ = relayed_fleet(world, stays=False)
    with world.store.write() as tx:
        node = node_service.get(tx, one.id)
        with pytest.raises(Conflict, match=r"relays live clients, .*: a, b, c, d; wait"):
            node_service.delete(tx, "root", node)
        node_service.delete(tx, "root", node, force=True)


@one_database
def test_a_relay_ends_for_those_who_come_home(world: World) -> None:
    config, (one, two, three), here, lines = relayed_fleet(world, stays=True)
    with world.store.write() as tx:
        cordons.uncordon(tx, "root", node_service.get(tx, one.id))
    here.answer = only_by(ENDPOINT.partition(":")[0])  # type: ignore[assignment]
    operation = world.rebalance(config)
    ended = asyncio.run(carried_out(world, operation, lines, lambda: world.sync_all(config, one, two, three)))
    came = {peer.public_key for call in here.called for peer in call.peers}
    assert came
    assert set(here.ended) == came
    assert here.relayed.keys().isdisjoint(came)
    assert ended.result["sessions_taken_over"] >= len(came)
