"""A panel's database with configs, nodes and peers, and nodes that do what their rows say, without any network."""

import itertools
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from wgfleet.panel import clock
from wgfleet.panel.domain.health.votes import Health, Standing
from wgfleet.panel.domain.moves import MoveStep, next_step
from wgfleet.panel.domain.operations import OperationKind
from wgfleet.panel.domain.phases import Phase
from wgfleet.panel.services import configs, operations
from wgfleet.panel.services import health as health_service
from wgfleet.panel.services.configs import ConfigSpec
from wgfleet.panel.services.fleet import assignments, cordons, desired, nodes, peers
from wgfleet.panel.services.fleet.nodes import NodeSpec
from wgfleet.panel.services.fleet.peers import PeerSpec
from wgfleet.panel.services.moves import drain, kinds, rebalance, removal, takeovers
from wgfleet.panel.services.moves.takeovers import TakeoverCall
from wgfleet.panel.store import Store, Tx
from wgfleet.panel.store import assignments as assignment_rows
from wgfleet.panel.store import operations as operation_rows
from wgfleet.panel.store import sessions as session_rows
from wgfleet.panel.store.schema import migrate
from wgfleet.panel.store.sessions import NodeSessions
from wgfleet.panel.store.tables import Config, Node, Operation, Peer
from wgfleet.panel.store.wakes import Wake
from wgfleet.panel.vault import Vault
from wgfleet.protocol.desired import DesiredInterface, apply_delta
from wgfleet.protocol.observed import PeerStats

ACTOR = "test"
LIVE_S = 180.0
CLEAN_S = 60.0


@dataclass
class World:
    """`agents` holds, by (node id, config id), what the node's agent has applied.

    `has` are the floating addresses that a node's kernel has by then, those of the nodes in `dead` excepted: nobody
    hears those. An address that is to be asked for is taken only where no other kernel has it, but for agents of the
    nodes in `blind`, which do not ask.
    """

    store: Store
    vault: Vault
    agents: dict[tuple[str, str], DesiredInterface] = field(default_factory=dict)
    has: dict[tuple[str, str], set[str]] = field(default_factory=dict)
    dead: set[str] = field(default_factory=set)
    blind: set[str] = field(default_factory=set)
    wakes: list[Wake] = field(default_factory=list)

    @classmethod
    def open(cls, database_url: str) -> "World":
        store = Store(database_url)
        migrate(store)
        world = cls(store, Vault([clock.new_bytes(32)]))
        store.listen(world.wakes.extend)
        return world

    def config(self, name: str = "wg0", mode: str = "cluster", pools: tuple[str, ...] = ("10.8.0.0/24",)) -> Config:
        with self.store.write() as tx:
            port = 51820 + len(configs.page(tx))
            return configs.create(tx, self.vault, ACTOR, ConfigSpec(name, mode, pools, listen_port=port))

    def node(self, name: str, *, capacity: int | None = None, weight: float = 1.0) -> Node:
        with self.store.write() as tx:
            found = nodes.page(tx, limit=1000)
            taken = {host for each in found for host in (each.agent_host, *each.endpoint_addresses)}
            free = next(address for i in itertools.count(1) if (address := f"192.0.2.{i}") not in taken)
            return nodes.create(tx, ACTOR, NodeSpec(name, [free], capacity=capacity, weight=weight))

    def assign(self, config: Config, node: Node) -> None:
        with self.store.write() as tx:
            assignments.assign(tx, self.vault, ACTOR, configs.get(tx, config.id), node)

    def serving(self, config: Config, *names: str) -> list[Node]:
        """Return new nodes that carry the config and serve it."""
        found = [self.node(name) for name in names]
        for node in found:
            self.assign(config, node)
            self.sync(config, node)
        return found

    def peers(self, config: Config, *names: str) -> list[Peer]:
        drafts = peers.draft(self.vault, [PeerSpec(name) for name in names])
        with self.store.write() as tx:
            return peers.create(tx, ACTOR, configs.get(tx, config.id), drafts).peers()

    def whole(self, config: Config, node: Node) -> DesiredInterface | None:
        """Render what a node must have; None where it must have nothing."""
        with self.store.read() as tx:
            assignment = assignment_rows.get(tx, config.id, node.id)
            if assignment is None or assignment.phase == Phase.REMOVED:
                return None
            return desired.whole(tx, self.vault, configs.get(tx, config.id), assignment)

    def users(self, config: Config, node: Node) -> set[str]:
        """Return the public keys of the users that a node's agent has applied; those that only probe reach nothing."""
        return {key for key, peer in self.agents[node.id, config.id].peers.items() if peer.allowed_ips}

    def sync(self, config: Config, node: Node) -> None:
        """Do what the node's reconciler and its agent would: push what is missing, by delta where there is a base."""
        with self.store.read() as tx:
            assignment = assignment_rows.get(tx, config.id, node.id)
            owed = assignment_rows.cleanup(tx, node.id, config.id)
            if assignment is not None and assignment.phase != Phase.REMOVED:
                fresh = configs.get(tx, config.id)
                has = self.agents.get((node.id, config.id))
                base = desired.usable_base(fresh, assignment, has.generation if has else None)
                if base != fresh.generation:
                    push = desired.push(tx, self.vault, fresh, assignment, base)
                    if isinstance(push, DesiredInterface):
                        self.agents[node.id, config.id] = push
                    else:
                        self.agents[node.id, config.id] = apply_delta(self.agents[node.id, config.id], push)
        if owed is not None:
            self.agents.pop((node.id, config.id), None)
            self.has.pop((node.id, config.id), None)
            with self.store.write() as tx:
                assignments.cleaned(tx, owed)
        has = self.agents.get((node.id, config.id))
        if has is not None:
            held = self._held(config, node, has)
            with self.store.write() as tx:
                assignments.confirmed(tx, config.id, node.id, has.generation, (), "in sync", held=held)

    def _held(self, config: Config, node: Node, wanted: DesiredInterface) -> set[str]:
        """Take what the panel wants as an agent does, and return what the kernel has then."""
        mine = (node.id, config.id)
        floating = wanted.settings.floating
        others = {
            address for each, has in self.has.items() if each != mine and each[0] not in self.dead for address in has
        }
        held = set(floating.addresses) if floating else set()
        if floating and node.id not in self.blind:
            held -= set(floating.ask_first) & others - self.has.get(mine, set())
        self.has[mine] = held
        return held

    def lapse(self, config: Config, node: Node) -> None:
        """Have a node's kernel take off what nobody renews any more."""
        self.has.pop((node.id, config.id), None)

    def sync_all(self, config: Config, *nodes: Node) -> None:
        """Have several nodes catch up."""
        for node in nodes:
            self.sync(config, node)

    def seen(self, config: Config, node: Node, endpoints: Mapping[str, str], in_s: float = 0.0) -> None:
        """Have the node report a fresh handshake of each public key at its endpoint, made some s from now."""
        now = round(clock.steady() + in_s)
        stats = {key: PeerStats(endpoint=endpoint, latest_handshake=now) for key, endpoint in endpoints.items()}
        with self.store.write() as tx:
            session_rows.record(tx, [NodeSessions(node.id, config.id, stats)], clock.steady())

    def remove(self, config: Config, node: Node, *, force: bool = False, window_s: float | None = None) -> Operation:
        with self.store.write() as tx:
            fresh = configs.get(tx, config.id)
            return removal.start(
                tx, ACTOR, fresh, nodes.get(tx, node.id), grace_s=30, force=force, drain_window_s=window_s
            )

    def step(
        self,
        operation: Operation,
        *,
        answers: frozenset[str] | None = None,
        reachable: frozenset[str] | None = None,
    ) -> MoveStep:
        """Do the next step of an operation that moves peers, as its worker would, and return which it was.

        `answers`: ids of the peers that answer a call; `reachable`: of the nodes whose agents answer (None: all).
        """
        with self.store.write() as tx:
            step = next_step(kinds.view(tx, operation.id), clock.now(), confirm_within_s=math.inf)
            if step is MoveStep.TAKEOVER:
                self._call(tx, operation.id, answers, reachable)
            else:
                kinds.perform(tx, self.vault, step, operation.id, live_within_s=LIVE_S, clean_within_s=CLEAN_S)
        return step

    def perform(self, step: MoveStep, operation: Operation) -> None:
        """Do a step that was chosen by an earlier look."""
        with self.store.write() as tx:
            kinds.perform(tx, self.vault, step, operation.id, live_within_s=LIVE_S, clean_within_s=CLEAN_S)

    def drain(self, node: Node, *, force: bool = False, window_s: float | None = None) -> list[Operation]:
        with self.store.write() as tx:
            fresh = nodes.get(tx, node.id)
            return drain.start(tx, ACTOR, fresh, grace_s=30, force=force, drain_window_s=window_s)

    def cordon(self, node: Node) -> None:
        with self.store.write() as tx:
            cordons.cordon(tx, ACTOR, nodes.get(tx, node.id))

    def uncordon(self, node: Node) -> None:
        with self.store.write() as tx:
            cordons.uncordon(tx, ACTOR, nodes.get(tx, node.id))

    def rebalance(self, config: Config) -> Operation:
        with self.store.write() as tx:
            return rebalance.start(tx, ACTOR, configs.get(tx, config.id), grace_s=30)

    def judged(self, config: Config, node: Node, health: Health) -> None:
        """Have the watch decide what a node's health is."""
        with self.store.write() as tx:
            health_service.record(tx, config.id, {node.id: Standing(health, clock.now(), "as the test says", ())})

    def failover(self, config: Config, node: Node) -> Operation:
        """Have a node go down, and return the failover that this begins."""
        self.judged(config, node, Health.DOWN)
        with self.store.read() as tx:
            found = operation_rows.newest(tx, OperationKind.FAILOVER, operations.subject(config.id, node.id))
        assert found is not None
        return found

    def _call(
        self,
        tx: Tx,
        operation_id: str,
        answers: frozenset[str] | None,
        reachable: frozenset[str] | None = None,
    ) -> None:
        by_node: dict[str, list[TakeoverCall]] = defaultdict(list)
        for call in takeovers.due(tx, self.vault, operation_id, live_within_s=LIVE_S, reachable=reachable)[1]:
            by_node[call.node_id].append(call)
        for node_id, called in by_node.items():
            answered = {call.peer_id: call.endpoint for call in called if answers is None or call.peer_id in answers}
            unanswered = [call.peer_id for call in called if call.peer_id not in answered]
            takeovers.record_answers(tx, operation_id, node_id, answered, unanswered)

    def answered(self, operation: Operation, node: Node, called: Iterable[TakeoverCall]) -> None:
        """Have clients answer a node."""
        with self.store.write() as tx:
            takeovers.record_answers(tx, operation.id, node.id, {call.peer_id: call.endpoint for call in called})


@contextmanager
def opened(database_url: str) -> Iterator[World]:
    world = World.open(database_url)
    try:
        yield world
    finally:
        world.store.close()
