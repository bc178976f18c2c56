"""A generation belongs to a history: whoever was at the same number in another one gets the whole."""

import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import select

from tests.migrated import migrated_at
from tests.panel.agents.model import ModelAgent, content, settle
from tests.panel.world import ACTOR, World, opened
from wgfleet.panel.services import configs, incarnations
from wgfleet.panel.services.fleet import peers
from wgfleet.panel.store import assignments as assignment_rows
from wgfleet.panel.store.tables import AuditEntry, Config, Node, Peer
from wgfleet.panel.vault import Vault
from wgfleet.protocol.desired import DesiredInterface, InterfaceDelta
from wgfleet.protocol.features import ALL, NONE, Feature
from wgfleet.protocol.ids import ConfigId, InterfaceName


@dataclass
class Copies:
    """A panel's database in SQLite, and copies of it."""

    folder: Path
    stack: ExitStack
    vault: Vault
    made: int = 0

    def open(self, path: Path) -> World:
        """Start a panel on a database, as `wgfleet panel run` does."""
        world = self.stack.enter_context(opened(f"sqlite:///{path}"))
        world.vault = self.vault
        with world.store.write() as tx:
            incarnations.begin(tx)
        return world

    def copy(self) -> Path:
        """Copy the first database."""
        self.made += 1
        target = self.folder / f"copy{self.made}.sqlite"
        with sqlite3.connect(self.folder / "panel.sqlite") as source, sqlite3.connect(target) as copied:
            source.backup(copied)
        source.close()
        copied.close()
        return target


@pytest.fixture
def copies(tmp_path: Path) -> Iterator[Copies]:
    with ExitStack() as stack:
        migrated_at(tmp_path / "panel.sqlite")
        yield Copies(tmp_path, stack, Vault([bytes(32)]))


def delete(world: World, config: Config, peer: Peer) -> None:
    with world.store.write() as tx:
        peers.delete(tx, ACTOR, configs.get(tx, config.id), [peer.id])


def started(copies: Copies) -> tuple[World, Config, Node, ModelAgent]:
    world = copies.open(copies.folder / "panel.sqlite")
    config, node, agent = world.config(), world.node("n1"), ModelAgent()
    world.assign(config, node)
    settle(world, node, agent)
    return world, config, node, agent


def test_after_a_restore_with_the_same_numbers_the_node_gets_what_is_wanted_at_once(copies: Copies) -> None:
    """The agent is two generations of the lost history ahead; the panel makes as many of its own, and more."""
    world, config, node, agent = started(copies)
    fired, _ = world.peers(config, "fired", "bob")
    settle(world, node, agent)
    copy = copies.copy()
    lost = [world.peers(config, name)[0] for name in ("mallory", "temp")]
    settle(world, node, agent)
    had = agent.kept["wg0"].generation
    restored = copies.open(copy)
    delete(restored, config, fired)
    new = [restored.peers(config, f"new{i}")[0] for i in range(3)]
    agent.pushed.clear()
    said = settle(restored, node, agent)
    with restored.store.read() as tx:
        assert configs.get(tx, config.id).generation > had
    assert [type(push) for push in agent.pushed] == [DesiredInterface]
    have = agent.kept["wg0"].peers.keys()
    assert not {fired.public_key, *(peer.public_key for peer in lost)} & have
    assert {peer.public_key for peer in new} <= have
    assert content(agent.kept["wg0"]) == content(restored.whole(config, node), agent.features)
    assert "whole" in said[0]


@pytest.mark.parametrize("ahead", [0, 1, 2, 5])
def test_divergence_shows_and_is_repaired_whatever_the_numbers(copies: Copies, ahead: int) -> None:
    world, config, node, agent = started(copies)
    copy = copies.copy()
    for i in range(2):
        world.peers(config, f"lost{i}")
    settle(world, node, agent)
    restored = copies.open(copy)
    for i in range(ahead):
        restored.peers(config, f"new{i}")
    settle(restored, node, agent)
    assert content(agent.kept["wg0"]) == content(restored.whole(config, node), agent.features)


def test_a_restart_of_the_panel_costs_no_whole(copies: Copies) -> None:
    world, config, node, agent = started(copies)
    world.peers(config, "anna")
    settle(world, node, agent)
    again = copies.open(copies.folder / "panel.sqlite")
    agent.pushed.clear()
    assert settle(again, node, agent) == ["in sync"]
    again.peers(config, "bob")
    settle(again, node, agent)
    assert [type(push) for push in agent.pushed] == [InterfaceDelta]
    assert content(agent.kept["wg0"]) == content(again.whole(config, node))


def test_an_agent_that_learned_something_gets_the_whole(copies: Copies) -> None:
    """What its old version did not know was left out of what it has, at the same generation."""
    world, config, node, agent = started(copies)
    world.peers(config, "anna")
    agent.become(NONE)
    settle(world, node, agent)
    agent.become(ALL)
    agent.pushed.clear()
    settle(world, node, agent)
    assert [type(push) for push in agent.pushed] == [DesiredInterface]


@pytest.mark.parametrize("known", [NONE, ALL], ids=["0.1.0", "now"])
@pytest.mark.parametrize("mode", ["cluster", "independent"])
def test_an_assignment_that_is_made_again_is_a_new_history(
    copies: Copies, mode: str, known: frozenset[Feature]
) -> None:
    """Removed and assigned before the agent did anything: it has the old key and the old peers."""
    world = copies.open(copies.folder / "panel.sqlite")
    config, node, agent = world.config(mode=mode), world.node("n1"), ModelAgent(known)
    world.assign(config, node)
    world.peers(config, "anna")
    settle(world, node, agent)
    before = agent.kept["wg0"]
    with world.store.write() as tx:  # as a removal leaves it that could not reach the node
        row = assignment_rows.get(tx, config.id, node.id)
        assert row is not None
        assignment_rows.remove(tx, row.id)
    world.assign(config, node)
    agent.pushed.clear()
    settle(world, node, agent)
    assert [type(push) for push in agent.pushed] == [DesiredInterface]
    assert content(agent.kept["wg0"]) == content(world.whole(config, node), agent.features)
    assert (agent.kept["wg0"].settings.private_key == before.settings.private_key) is (mode == "cluster")


@pytest.mark.parametrize("known", [NONE, ALL], ids=["0.1.0", "now"])
def test_a_database_that_is_said_to_be_restored_sends_the_whole_to_agents_of_every_release(
    copies: Copies, known: frozenset[Feature]
) -> None:
    world, config, node, agent = started(copies)
    agent.become(known)
    (gone,) = world.peers(config, "gone")
    copy = copies.copy()
    for name in ("lost1", "lost2"):
        world.peers(config, name)
    settle(world, node, agent)
    restored = copies.open(copy)
    delete(restored, config, gone)
    restored.peers(config, "new")
    with restored.store.write() as tx:
        assert incarnations.restored(tx, ACTOR) == 1
    agent.pushed.clear()
    settle(restored, node, agent)
    assert [type(push) for push in agent.pushed] == [DesiredInterface]
    assert content(agent.kept["wg0"]) == content(restored.whole(config, node), agent.features)


@pytest.mark.parametrize("taken", [False, True], ids=["nothing else", "its name is another config's"])
def test_what_a_lost_time_put_on_a_node_is_deleted(copies: Copies, *, taken: bool) -> None:
    """Nobody would revoke anything on it, and its name would be in the way for good."""
    world = copies.open(copies.folder / "panel.sqlite")
    node, agent, copy = world.node("n1"), ModelAgent(), copies.copy()
    lost = world.config()
    world.assign(lost, node)
    world.peers(lost, "mallory")
    settle(world, node, agent)
    restored = copies.open(copy)
    config = restored.config()
    if taken:
        restored.assign(config, node)
    said = settle(restored, node, agent)
    assert "deleted wg0, of a config that is not known here" in said[0]
    assert content(agent.kept.get("wg0")) == content(restored.whole(config, node))
    with restored.store.read() as tx:
        [entry] = tx.session.scalars(select(AuditEntry).where(AuditEntry.action == "stray_deleted"))
    assert (entry.entity_id, entry.details["config_id"]) == (node.id, lost.id)


def test_what_no_panel_made_stays(copies: Copies) -> None:
    """Somebody may have made it by hand, or with a release that had no histories."""
    world, config, node, agent = started(copies)
    whole = agent.kept["wg0"]
    theirs = msgspec.structs.replace(whole.settings, name=InterfaceName("wg7"), config_id=ConfigId("by-hand"))
    agent.kept["wg7"] = msgspec.structs.replace(whole, settings=theirs, history="")
    assert settle(world, node, agent) == ["in sync"]
    assert agent.kept.keys() == {config.name, "wg7"}
