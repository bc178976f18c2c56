"""Whatever administrators, nodes and faults do in whatever order, the rows keep their promises.

Checked after every step: no peer without a home while a node serves; homes are nodes that carry the config; no
address twice; no node may have a peer again before it dropped it; what an agent reaches by deltas is what a fresh
rendering gives; every node whose rendering a transaction changed is among those that are told.
"""

import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from sqlalchemy import event

from tests.migrated import migrated_at
from tests.panel.world import World
from wgfleet.panel import clock
from wgfleet.panel.domain.affected import affected
from wgfleet.panel.domain.moves import MoveStep
from wgfleet.panel.domain.operations import OperationKind
from wgfleet.panel.domain.phases import Phase
from wgfleet.panel.errors import PanelError
from wgfleet.panel.reconcile.agents.render_cache import RenderCache
from wgfleet.panel.services import configs, operations, retention
from wgfleet.panel.services.fleet import desired, peers
from wgfleet.panel.services.fleet.peers import PeerChanges, PeerSpec
from wgfleet.panel.store import assignments as assignment_rows
from wgfleet.panel.store import given_up
from wgfleet.panel.store import operations as operation_rows
from wgfleet.panel.store.tables import Config, Node, Operation
from wgfleet.panel.store.wakes import Topic
from wgfleet.protocol.desired import DesiredInterface, apply_delta
from wgfleet.protocol.ids import ConfigId, NodeId

NAMES = ("one", "two", "three")
NODES_HEAR = {Topic.CONFIG, Topic.PEERS, Topic.NEW_PEERS}
Rendering = dict[tuple[str, str], Any]
Wholes = dict[tuple[str, str], DesiredInterface | None]


class Rows(RuleBasedStateMachine):
    """Two configs, one of each mode, on up to three nodes."""

    @initialize()
    def begin(self) -> None:
        # In memory: thousands of commits would otherwise wait for the disk.
        self.folder = tempfile.TemporaryDirectory(dir="/dev/shm")
        self.world = World.open(migrated_at(Path(self.folder.name) / "panel.sqlite"))
        self.keeper = RenderCache()
        self.configs: list[Config] = [
            self.world.config("wg0", "cluster", ("10.8.0.0/26", "fd00:8::/64")),
            self.world.config("wg1", "independent", ("10.9.0.0/24",)),
        ]
        self.nodes: list[Node] = [self.world.node(name) for name in NAMES]
        self.names = 0
        self.last: Rendering = {}
        self.rendered: Wholes | None = None
        event.listen(self.world.store.engine, "commit", self.render_again)
        self.removals: list[Operation] = []
        self.planned: list[Operation] = []
        for config in (0, 1):
            for node in (0, 1):
                self.world.assign(self.configs[config], self.nodes[node])
                self.world.sync(self.configs[config], self.nodes[node])
        for config in (0, 1):
            self.create_peers(config, 3, behind=True, disabled=False)
            for node in (0, 1):
                self.world.sync(self.configs[config], self.nodes[node])

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.world.store.close()
            self.folder.cleanup()

    def render_again(self, *_: object) -> None:
        self.rendered = None

    def wholes(self) -> Wholes:
        """Return what every node must have of every config, rendered afresh after each transaction that wrote."""
        if self.rendered is None:
            self.rendered = {
                (node.id, config.id): self.world.whole(config, node) for config in self.configs for node in self.nodes
            }
        return self.rendered

    def renderings(self) -> Rendering:
        """Return what every node must have of every config, but for the generation."""
        return {which: whole and (whole.settings, whole.peers) for which, whole in self.wholes().items()}

    def carriers(self) -> dict[ConfigId, frozenset[NodeId]]:
        with self.world.store.read() as tx:
            found = assignment_rows.nodes_of(tx, [config.id for config in self.configs])
        return {ConfigId(c): frozenset(NodeId(n) for n in nodes) for c, nodes in found.items()}

    def watched(self, action: Any) -> Any:
        """Do something, and check that every node it concerns is told."""
        before, carried_before = self.last or self.renderings(), self.carriers()
        self.world.wakes.clear()
        try:
            result = action()
        except PanelError:
            assert self.renderings() == before, "a refusal changed something"
            return None
        after, carried_after = self.renderings(), self.carriers()
        self.last = after
        changed = [ConfigId(wake.id) for wake in self.world.wakes if wake.topic in NODES_HEAR]
        told = affected(changed, carried_before, carried_after)
        told |= {NodeId(wake.id) for wake in self.world.wakes if wake.topic is Topic.NODE}
        concerned = {node_id for node_id, config_id in after if after[node_id, config_id] != before[node_id, config_id]}
        assert concerned <= told
        return result

    @rule(config=st.integers(0, 1), node=st.integers(0, 2))
    def assign(self, config: int, node: int) -> None:
        self.watched(lambda: self.world.assign(self.configs[config], self.nodes[node]))

    @rule(config=st.integers(0, 1), count=st.integers(1, 4), behind=st.booleans(), disabled=st.booleans())
    def create_peers(self, config: int, count: int, *, behind: bool, disabled: bool) -> None:
        specs = []
        for _ in range(count):
            self.names += 1
            networks = (f"10.{100 + config}.{self.names}.0/24",) if behind else ()
            specs.append(PeerSpec(f"p{self.names}", networks=networks, enabled=not disabled))

        def create() -> None:
            with self.world.store.write() as tx:
                config_now = configs.get(tx, self.configs[config].id)
                peers.create(tx, "test", config_now, peers.draft(self.world.vault, specs))

        self.watched(create)

    @rule(config=st.integers(0, 1), which=st.integers(0, 50), change=st.sampled_from(["toggle", "rotate", "networks"]))
    def change_peer(self, config: int, which: int, change: str) -> None:
        def update() -> None:
            with self.world.store.write() as tx:
                found = peers.page(tx, self.configs[config].id)
                if found:
                    peer = found[which % len(found)]
                    changes = {
                        "toggle": PeerChanges(enabled=not peer.enabled),
                        "rotate": PeerChanges(rotate_keys=True),
                        "networks": PeerChanges(networks=()),
                    }[change]
                    peers.update(tx, self.world.vault, "test", peers.get(tx, peer.id), changes)

        self.watched(update)

    @rule(config=st.integers(0, 1), which=st.integers(0, 50))
    def delete_peer(self, config: int, which: int) -> None:
        def delete() -> None:
            with self.world.store.write() as tx:
                found = peers.page(tx, self.configs[config].id)
                if found:
                    config_now = configs.get(tx, self.configs[config].id)
                    peers.delete(tx, "test", config_now, [found[which % len(found)].id])

        self.watched(delete)

    @rule(config=st.integers(0, 1), mtu=st.sampled_from([None, 1280, 1420]))
    def change_settings(self, config: int, mtu: int | None) -> None:
        def update() -> None:
            with self.world.store.write() as tx:
                configs.update(tx, "test", configs.get(tx, self.configs[config].id), {"mtu": mtu})

        self.watched(update)

    @rule(config=st.integers(0, 1), node=st.integers(0, 2))
    def node_catches_up(self, config: int, node: int) -> None:
        self.world.sync(self.configs[config], self.nodes[node])

    @rule(config=st.integers(0, 1))
    def a_day_passes(self, config: int) -> None:
        def forget() -> None:
            with self.world.store.write() as tx:
                retention.forget_tombstones(tx, self.configs[config].id, clock.now() + 1)

        self.watched(forget)

    @rule(node=st.integers(0, 2), which=st.integers(0, 50))
    def client_connects(self, node: int, which: int) -> None:
        has = self.world.agents.get((self.nodes[node].id, self.configs[0].id))
        users = sorted(self.world.users(self.configs[0], self.nodes[node])) if has is not None else []
        if users:
            key = users[which % len(users)]
            self.world.seen(self.configs[0], self.nodes[node], {key: "198.51.100.7:4000"})

    @rule(config=st.integers(0, 1), node=st.integers(0, 2), force=st.booleans())
    def remove(self, config: int, node: int, *, force: bool) -> None:
        operation = self.watched(lambda: self.world.remove(self.configs[config], self.nodes[node], force=force))
        if operation is not None and operation.finished_at is None:
            self.removals.append(operation)

    @precondition(lambda self: self.removals)
    @rule(which=st.integers(0, 5), everybody=st.booleans())
    def carry_on(self, which: int, *, everybody: bool) -> None:
        operation = self.removals[which % len(self.removals)]
        step = self.watched(lambda: self.world.step(operation, answers=None if everybody else frozenset()))
        if step is MoveStep.DONE:
            self.removals.remove(operation)

    @rule(node=st.integers(0, 2), force=st.booleans())
    def drain(self, node: int, *, force: bool) -> None:
        for operation in self.watched(lambda: self.world.drain(self.nodes[node], force=force)) or []:
            if operation.id not in {known.id for known in self.planned}:
                self.planned.append(operation)

    @rule(node=st.integers(0, 2))
    def uncordon(self, node: int) -> None:
        self.watched(lambda: self.world.uncordon(self.nodes[node]))

    @rule(config=st.integers(0, 1))
    def rebalance(self, config: int) -> None:
        operation = self.watched(lambda: self.world.rebalance(self.configs[config]))
        if operation is not None and operation.id not in {known.id for known in self.planned}:
            self.planned.append(operation)

    @precondition(lambda self: self.planned)
    @rule(which=st.integers(0, 5), everybody=st.booleans())
    def carry_planned_moves_on(self, which: int, *, everybody: bool) -> None:
        operation = self.planned[which % len(self.planned)]
        given_up = self.silent()
        going_on = self.watched(lambda: self.world.step(operation, answers=None if everybody else frozenset()))
        if going_on is False:
            self.planned.remove(operation)
        # Whoever may have a peer again had dropped it: its session went elsewhere.
        for (node_id, config_id), keys in given_up.items():
            released = keys - self.silent().get((node_id, config_id), set())
            has = self.world.agents.get((node_id, config_id))
            assert has is None or not released & has.peers.keys()

    def silent(self) -> dict[tuple[str, str], set[str]]:
        """Return the peers that each node must not serve just now, since another node took their session."""
        with self.world.store.read() as tx:
            return {
                (node.id, config.id): given_up.by_node(tx, node.id, config.id)
                for node in self.nodes
                for config in self.configs
                if (assignment := assignment_rows.get(tx, config.id, node.id)) is not None
                and assignment.phase != Phase.REMOVED
            }

    @invariant()
    def a_delta_gives_what_a_fresh_rendering_gives(self) -> None:
        if not hasattr(self, "world"):
            return
        keeper, wholes = self.keeper, self.wholes()
        for (node_id, config_id), has in self.world.agents.items():
            with self.world.store.read() as tx:
                assignment = assignment_rows.get(tx, config_id, node_id)
                if assignment is None or assignment.phase == Phase.REMOVED:
                    continue
                config = configs.get(tx, config_id)
                whole = wholes[node_id, config_id]
                assert desired.whole(tx, self.world.vault, config, assignment, keeper) == whole
                if has.generation < max(config.oldest_base, assignment.oldest_base):
                    continue
                if has.generation < config.generation:
                    delta = desired.since(tx, self.world.vault, config, assignment, has.generation)
                    assert apply_delta(has, delta) == whole
                    kept = desired.since(tx, self.world.vault, config, assignment, has.generation, keeper)
                    assert kept == delta
                else:
                    assert has == whole

    @invariant()
    def no_peer_without_a_home(self) -> None:
        if not hasattr(self, "world"):
            return
        with self.world.store.read() as tx:
            for config in self.configs:
                carrying = {a.node_id: a.phase for a, _ in assignment_rows.of_config(tx, config.id)}
                serving = {node for node, phase in carrying.items() if phase == Phase.SERVING}
                placed = {
                    o.node_id
                    for o in (operations.get(tx, i) for _, i in operation_rows.active(tx))
                    if o.kind == OperationKind.REMOVE_NODE
                    and o.config_id == config.id
                    and "drain_ends_at" in o.progress
                }
                for peer in peers.page(tx, config.id, limit=1000):
                    if serving:
                        assert peer.home_node_id is not None
                    if peer.home_node_id is not None:
                        assert peer.home_node_id in carrying
                        assert peer.home_node_id not in placed, "its peers have been moved already"

    @invariant()
    def no_address_twice(self) -> None:
        if not hasattr(self, "world"):
            return
        with self.world.store.read() as tx:
            for config in self.configs:
                of = peers.addresses(tx, peers.page(tx, config.id, limit=1000))
                given = [address for addresses in of.values() for address in addresses]
                assert len(given) == len(set(given))


TestRows = pytest.mark.timeout(900)(pytest.mark.slow(Rows.TestCase))
TestRows.settings = settings(max_examples=8, stateful_step_count=20)
