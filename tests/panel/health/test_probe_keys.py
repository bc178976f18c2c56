"""Probe keys are replaced under the eyes of the watch, which notices nothing: whoever asks is known where it asks."""

import asyncio
from dataclasses import dataclass

import pytest
from sqlalchemy import select

from tests.panel.conftest import one_database
from tests.panel.health.test_monitor import monitor_on, on_paper
from tests.panel.world import ACTOR, World
from wgfleet.panel import clock
from wgfleet.panel.domain.health.votes import Health
from wgfleet.panel.domain.probe_keys import RotationStep
from wgfleet.panel.errors import Conflict
from wgfleet.panel.reconcile import health as watching
from wgfleet.panel.reconcile.key_rotations import KeyRotationWatch
from wgfleet.panel.reconcile.outlook import Outlook
from wgfleet.panel.services import audit, configs
from wgfleet.panel.services import health as health_service
from wgfleet.panel.services.fleet import probe_keys
from wgfleet.panel.services.health import Probed
from wgfleet.panel.store import assignments as assignment_rows
from wgfleet.panel.store.tables import AuditEntry, Config, Node
from wgfleet.panel.vault import VaultError
from wgfleet.probing.prober import ProbeOutcome
from wgfleet.protocol.features import ALL, Feature
from wgfleet.protocol.handshake import Answer
from wgfleet.protocol.keys import PrivateKey, public_key_of
from wgfleet.protocol.messages import ProbeRequest, ProbeResult, ProbeTarget


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step ends as soon as nodes have it."""
    monkeypatch.setattr(probe_keys, "LEAST_STEP_S", 0.0)


def serving(world: World, config: Config, *names: str) -> list[Node]:
    """Return new nodes that serve a config and know each other."""
    found = world.serving(config, *names)
    world.sync_all(config, *found)
    return found


def rotate(world: World, config: Config) -> None:
    with world.store.write() as tx:
        probe_keys.start(tx, world.vault, ACTOR, configs.get(tx, config.id))


def look(world: World) -> None:
    """Have a panel that has just started go on from the rows."""
    KeyRotationWatch(world.store, world.vault, Outlook()).look()


def step(world: World, config: Config) -> RotationStep | None:
    with world.store.read() as tx:
        row = probe_keys.rotation(tx, config)
        return row.step if row else None


def waits_for(world: World, config: Config) -> list[str]:
    with world.store.read() as tx:
        row = probe_keys.rotation(tx, config)
        assert row is not None
        return probe_keys.waits_for(tx, row)


def public_keys(world: World, config: Config) -> set[str]:
    with world.store.read() as tx:
        return probe_keys.in_use(tx, configs.get(tx, config.id))


def watched(world: World) -> dict[str, Probed]:
    def unreadable(name: str, error: VaultError) -> None:
        raise AssertionError(f"{name}: {error}")

    with world.store.read() as tx:
        return {probed.node_id: probed for probed in health_service.watched(tx, world.vault, unreadable)}


def knows(world: World, config: Config, node_id: str, private_key: str) -> bool:
    """Tell whether a node's agent has the peer of a private key, and lets it reach nothing."""
    peer = world.agents[node_id, config.id].peers.get(public_key_of(PrivateKey(private_key)))
    return peer is not None and not peer.allowed_ips


def check(world: World, config: Config, *, cut_off: frozenset[str] = frozenset()) -> None:
    """Fail where anybody asks a node with a key that it does not know. `cut_off`: nodes that ask nobody."""
    for target in (probed := watched(world)):
        assert knows(world, config, target, probed[target].panel_key), "the panel is not known"
        for vantage in probed.keys() - {target} - cut_off:
            assert knows(world, config, target, probed[vantage].key_towards(probed[target])), "a node is not known"
            if target in cut_off:
                continue
            mute = world.agents[vantage, config.id].settings.mute
            assert mute is not None
            assert knows(world, config, target, mute.probe_key), "an agent that asks on its own is not known"


def finish(world: World, config: Config, *found: Node) -> None:
    for _ in RotationStep:
        world.sync_all(config, *found)
        look(world)
    assert step(world, config) is None
    world.sync_all(config, *found)


@pytest.mark.usefixtures("at_once")
@one_database
def test_whoever_asks_is_known_at_every_moment_of_a_rotation_and_no_old_key_is_left(world: World) -> None:
    config = world.config()
    found = serving(world, config, "fra1", "ams1", "par1")
    before, asked_with = public_keys(world, config), {each.panel_key for each in watched(world).values()}
    rotate(world, config)
    steps = [step(world, config)]
    while step(world, config) is not None:
        for node in found:
            check(world, config)
            look(world)
            check(world, config)
            world.sync(config, node)
        check(world, config)
        look(world)
        steps.append(step(world, config))
    check(world, config)
    assert steps == [*RotationStep, None]
    after = public_keys(world, config)
    assert len(before) == len(after) == 4
    assert not before & after
    for node in found:
        assert not before & world.agents[node.id, config.id].peers.keys()
        assert world.agents[node.id, config.id] == world.whole(config, node)
    assert not asked_with & {each.panel_key for each in watched(world).values()}
    with world.store.read() as tx:
        told = [row.action for row in tx.session.scalars(select(AuditEntry).order_by(AuditEntry.id))]
    assert [each for each in told if each.startswith("probe_keys")] == [
        "probe_keys_rotating",
        "probe_keys_adopted",
        "probe_keys_dropped",
        "probe_keys_rotated",
    ]
    rotate(world, config)
    finish(world, config, *found)


@pytest.mark.usefixtures("at_once")
@one_database
def test_what_a_step_did_half_is_not_there_and_the_next_panel_does_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = world.config()
    found = serving(world, config, "fra1", "ams1")
    before = public_keys(world, config)
    rotate(world, config)

    def die(*_: object, **__: object) -> None:
        raise RuntimeError("killed")

    for reached in RotationStep:
        world.sync_all(config, *found)
        with monkeypatch.context() as dying:
            dying.setattr(audit, "record", die)  # the last thing that a step does
            with pytest.raises(RuntimeError, match="killed"):
                look(world)
        assert step(world, config) is reached
        check(world, config)
        look(world)
        check(world, config)
    assert step(world, config) is None
    assert not before & public_keys(world, config)


@one_database
def test_a_step_lasts_until_all_probes_of_the_one_before_are_over(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = world.config()
    found = serving(world, config, "fra1", "ams1")
    rotate(world, config)
    world.sync_all(config, *found)
    look(world)
    assert step(world, config) is RotationStep.SPREAD
    later = clock.now() + probe_keys.LEAST_STEP_S
    monkeypatch.setattr(clock, "now", lambda: later)
    look(world)
    assert step(world, config) is RotationStep.ADOPTED


@pytest.mark.usefixtures("at_once")
def test_a_dead_node_holds_nobody_up_and_is_asked_with_what_it_knows_until_it_has_the_rest(world: World) -> None:
    config = world.config()
    dead, *others = serving(world, config, "fra1", "ams1", "par1")
    before = public_keys(world, config)
    world.judged(config, dead, Health.DOWN)
    world.sync(config, dead)  # it has its fence: it could serve again when it answers
    rotate(world, config)
    for _ in RotationStep:
        world.sync_all(config, *others)
        check(world, config, cut_off=frozenset([dead.id]))
        look(world)
        check(world, config, cut_off=frozenset([dead.id]))
    assert step(world, config) is RotationStep.DROPPED
    assert waits_for(world, config) == ["fra1"]
    for node in others:
        assert not before & world.agents[node.id, config.id].peers.keys()
    with pytest.raises(Conflict, match="it waits for fra1"):
        rotate(world, config)
    probed = watched(world)[dead.id]
    assert probed.applied_generation < probed.fence_generation, "it serves again once it has the new keys"
    world.sync(config, dead)
    check(world, config)
    look(world)
    assert step(world, config) is None
    check(world, config)
    assert not before & world.agents[dead.id, config.id].peers.keys()


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("health", [Health.UNMANAGED, Health.RECOVERING])
@one_database
def test_a_node_whose_agent_does_not_answer_is_waited_for_as_it_would_take_itself_for_cut_off(
    world: World, health: Health
) -> None:
    config = world.config()
    deaf, *others = serving(world, config, "fra1", "ams1", "par1")
    world.judged(config, deaf, health)
    rotate(world, config)
    for _ in range(4):
        world.sync_all(config, *others)
        look(world)
        check(world, config)
    assert (step(world, config), waits_for(world, config)) == (RotationStep.SPREAD, ["fra1"])
    world.sync(config, deaf)
    look(world)
    assert step(world, config) is RotationStep.ADOPTED
    for _ in range(4):
        world.sync_all(config, *others)
        look(world)
        check(world, config)
    assert (step(world, config), waits_for(world, config)) == (RotationStep.ADOPTED, ["fra1"])
    finish(world, config, deaf, *others)
    check(world, config)


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("at", list(RotationStep))
@one_database
def test_nodes_come_and_go_meanwhile(world: World, at: RotationStep) -> None:
    config = world.config()
    leaver, *others = serving(world, config, "fra1", "ams1", "par1")
    before = public_keys(world, config)
    rotate(world, config)
    while step(world, config) is not at:
        world.sync_all(config, leaver, *others)
        look(world)
    with world.store.read() as tx:
        gone = assignment_rows.get(tx, config.id, leaver.id)
        assert gone is not None
        of_leaver = set(probe_keys.public_keys(gone))
    assert len(of_leaver) == 2
    comer = world.node("mad1")
    world.assign(config, comer)
    with world.store.read() as tx:
        newcomer = health_service.newcomer(tx, world.vault, config.id, comer.id)
        whole = world.whole(config, comer)
    assert newcomer is not None
    assert whole is not None
    keys = [newcomer.probed.panel_key, *(each.probe_key for each in newcomer.vantages)]
    assert {public_key_of(PrivateKey(key)) for key in keys} <= whole.peers.keys(), "its first look is in vain"
    removal = world.remove(config, leaver, force=True)
    everyone = [leaver, *others, comer]
    for _ in range(30):
        world.sync_all(config, *everyone)
        check(world, config)
        with world.store.read() as tx:
            if assignment_rows.get(tx, config.id, leaver.id) is None:
                break
        world.step(removal)
    everyone.remove(leaver)
    world.sync_all(config, *everyone)
    for node in everyone:
        assert not of_leaver & world.agents[node.id, config.id].peers.keys()
    finish(world, config, *everyone)
    check(world, config)
    for node in everyone:
        assert not before & world.agents[node.id, config.id].peers.keys()
        assert world.agents[node.id, config.id] == world.whole(config, node)


@pytest.mark.usefixtures("at_once")
def test_a_rotation_that_cannot_be_read_holds_up_no_other(world: World) -> None:
    damaged, config = world.config("wg0"), world.config("wg1", pools=("10.9.0.0/24",))
    found = serving(world, config, "fra1", "ams1")
    for each in (damaged, config):
        rotate(world, each)
    look(world)  # that without nodes is ahead
    look(world)
    assert step(world, damaged) is RotationStep.DROPPED
    with world.store.write() as tx:
        row = probe_keys.rotation(tx, damaged)
        assert row is not None
        row.private_key_sealed = b"damaged"
    finish(world, config, *found)
    assert step(world, damaged) is RotationStep.DROPPED


@dataclass
class Wire:
    """The panel's prober and the lines to agents: a node answers whoever it knows by what its agent has applied."""

    world: World
    config: Config
    nodes: dict[str, Node]
    connected: bool = True
    silent: bool = False
    heard_at: float = 0.0
    features: frozenset[Feature] = ALL

    @property
    def client(self) -> "Wire":
        return self

    def _answers(self, target: ProbeTarget) -> bool:
        return knows(self.world, self.config, self.nodes[target.endpoint].id, target.private_key)

    async def probe(
        self, asked: ProbeRequest | ProbeTarget, _timeout_s: float = 0.0, _notices: object = ()
    ) -> ProbeResult | ProbeOutcome:
        await asyncio.sleep(0)
        if isinstance(asked, ProbeTarget):
            return ProbeOutcome(asked.endpoint, Answer.RESPONSE if self._answers(asked) else None, 0.0, "")
        return ProbeResult(
            answered={target.endpoint: 0.0 for target in asked.targets if self._answers(target)},
            unanswered=tuple(target.endpoint for target in asked.targets if not self._answers(target)),
        )

    def renew(self) -> None:
        """There are no ports."""

    def close(self) -> None:
        """Nothing is open."""


@one_database
def test_health_never_falls_while_keys_are_replaced(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "REREAD_S", 0.2)
    monkeypatch.setattr(probe_keys, "LEAST_STEP_S", 1.0)
    config = world.config()
    found = serving(world, config, "fra1", "ams1", "par1")
    before = public_keys(world, config)
    wire = Wire(world, config, {f"{node.endpoint_addresses[0]}:51820": node for node in found})
    monitor = monitor_on(wire, world, found, monkeypatch)

    async def watch() -> None:
        task = monitor.start()
        try:
            await asyncio.sleep(0.5)
            rotate(world, config)
            async with asyncio.timeout(30):
                await asyncio.sleep(0.1)
                while step(world, config) is not None:
                    await asyncio.sleep(0.1)
                    for node in found:
                        world.sync(config, node)
                        await asyncio.sleep(0.1)
                    look(world)
            await asyncio.sleep(0.5)
        finally:
            await task.stop()
            await asyncio.sleep(0.3)  # its last transaction is not cancelled with it

    on_paper(monkeypatch, watch)
    with world.store.read() as tx:
        assert not health_service.history(tx, config.id)
    assert not before & public_keys(world, config)


@one_database
def test_a_new_key_that_is_used_before_a_node_confirmed_it_is_found_out(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the other tests of this file rest on."""
    config = world.config()
    serving(world, config, "fra1", "ams1")
    rotate(world, config)
    check(world, config)
    monkeypatch.setattr(probe_keys, "knows_new", lambda row, _assignment: row is not None)
    with pytest.raises(AssertionError, match="the panel is not known"):
        check(world, config)


@one_database
def test_one_that_stands_still_is_said_without_names(world: World) -> None:
    config = world.config()
    serving(world, config, "ams1", "fra1")
    rotate(world, config)
    with world.store.read() as tx:
        assert probe_keys.held_up(tx, clock.now() - 600) is None
        assert "of 1 config are" in (probe_keys.held_up(tx, clock.now()) or "")
