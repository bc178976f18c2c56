"""The watch over the data plane of every serving node: probes from here and from other nodes, and what they mean.

The decision is `domain.health.decide`, a pure function, within the quorum of all nodes; this is its hands. It decides
every `interval_s`, and at once when a probe says anything new. It judges by the monotonic clock: setting the machine's
clock makes no node fresh, silent or stable.
"""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import structlog

from wgfleet.panel import clock
from wgfleet.panel.domain.health.judge import (
    PANEL,
    Decision,
    HealthRules,
    Observed,
    Quorum,
    SilentNodes,
    Standing,
    Witness,
    decide,
)
from wgfleet.panel.domain.health.public_endpoints import versions
from wgfleet.panel.errors import PanelError
from wgfleet.panel.reconcile.agents.connection import AgentConnection
from wgfleet.panel.reconcile.engine.loop_thread import calls_into_this_loop, in_loop_thread
from wgfleet.panel.reconcile.engine.tasks import BackgroundTask, Work, came_round
from wgfleet.panel.reconcile.engine.threads import come_first, in_decision_thread
from wgfleet.panel.reconcile.new_addresses import keep_using
from wgfleet.panel.reconcile.outlook import Outlook
from wgfleet.panel.reconcile.probes import Member, Probes
from wgfleet.panel.services import freezes, health
from wgfleet.panel.services.health import Looker, Probed
from wgfleet.panel.store import Store
from wgfleet.panel.vault import Vault, VaultError
from wgfleet.probing.prober import Prober
from wgfleet.protocol.features import Feature
from wgfleet.protocol.ids import NodeId

LONGEST_DELAY_S = 1.0
REREAD_S = 1.0  # which assignments there are, and what others wrote of them
ROUND_S = 0.25  # between decisions at most, where nothing new is seen
STOOD_STILL_S = 1.0  # without a decision: this panel was stopped, and heard nobody meanwhile
START_S = 30.0  # for a panel that starts to reach the agents, of which there may be hundreds
_LOSS_SLOWS = 10  # a line over which half of the packets get lost may need six times as long to come back

Clocked = tuple[Standing, Standing]
"""A standing by the wall clock, as the row has it, and by the monotonic one, by which it is judged."""

log = structlog.get_logger()


class _Rows(NamedTuple):
    """What was read. `written`: how often something had been written here; during a write it may be from before it."""

    written: int
    probed: Sequence[Probed]
    approved: frozenset[str]
    lookers: Sequence[Looker]


class HealthMonitor:
    """Judges the nodes of all configs. `connections`: those to the agents, by node id; `site`: the panel's own."""

    def __init__(
        self,
        store: Store,
        vault: Vault,
        rules: HealthRules,
        connections: Mapping[str, AgentConnection],
        outlook: Outlook,
        site: str = "",
    ) -> None:
        self._store = store
        self._vault = vault
        self._rules = rules
        self._connections = connections
        self._outlook = outlook
        self._site = site
        self._probes = Probes(rules, connections)
        self._quorum = Quorum(rules)
        self._probed: dict[Member, Probed] = {}
        self._standings: dict[Member, Clocked] = {}
        self._lookers: Sequence[Looker] = ()
        self._approved: frozenset[str] = frozenset()
        self._said: dict[str, str] = {}
        self._told: SilentNodes | None = None
        self._told_at: float | None = None  # None: the row may be from before the start
        self._reread_at = 0.0
        self._reading: asyncio.Task[_Rows] | None = None
        self._stale = True
        self._written = 0
        self._began_at = clock.monotonic()
        self._decided_at = self._awake_at = self._began_at

    def start(self) -> BackgroundTask:
        """Begin to watch in the loop that runs, until the task is stopped."""
        return self._start(self._watch)

    def start_apart(self) -> BackgroundTask:
        """Begin to watch in a thread with a loop of its own; agents are asked in the one that runs."""
        self._probes.call = calls_into_this_loop()
        return self._start(lambda: in_loop_thread("health", self._watch, come_first))

    def _start(self, work: Work) -> BackgroundTask:
        # Nobody else notices a dead node, so that a bug must not keep it from looking for long.
        return self._outlook.tasks.start(
            "health", work, longest_delay_s=LONGEST_DELAY_S, every_s=self._rules.interval_s
        )

    async def _watch(self) -> None:
        self._probes.begin()
        self._reading, self._stale = None, True
        prober = Prober()
        # Its probes would be in the way of those of the panel that decides.
        beside = [
            asyncio.create_task(self._probes.keep_probing(prober, self._may_probe)),
            asyncio.create_task(self._probes.keep_surveying(prober, self._may_probe)),
            asyncio.create_task(keep_using(self._store, lambda: self._probed, self._probes.public_endpoints)),
        ]
        due_at = clock.monotonic()
        try:
            while not any(task.done() for task in beside):
                came_round()
                self._probes.news.clear()
                try:
                    if self._outlook.superseded is None:
                        await self._round(prober)
                except PanelError as error:
                    log.warning("health.round_lost", error=str(error))
                    self._probes.news.clear()
                now = clock.monotonic()
                self._outlook.decisions.decided(due_at, now)
                self._outlook.decisions.probes_left_out = self._probes.left_out
                pause_s = min(self._probes.interval_s, ROUND_S)
                due_at = now + pause_s
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(pause_s):
                        await self._probes.news.wait()
                    due_at = self._probes.news_at
            next(task for task in beside if task.done()).result()
        finally:
            for task in filter(None, (*beside, self._reading)):
                task.cancel()
            await self._probes.close()
            prober.close()

    def _may_probe(self) -> bool:
        return self._outlook.superseded is None

    async def _round(self, prober: Prober) -> None:
        await self._know_rows()
        self._probes.look(prober)
        await self._decide()

    async def _know_rows(self) -> None:
        """Take what was read of the rows; wait for it only where it is not known what was written last."""
        if self._reading is None and (self._stale or clock.monotonic() >= self._reread_at):
            self._reading = asyncio.create_task(self._read_rows())
        while self._reading is not None and (self._stale or self._reading.done()):
            reading, self._reading = self._reading, None
            rows = await reading
            self._reread_at = clock.monotonic() + REREAD_S
            if rows.written == self._written:
                self._take(rows)
            elif self._stale:
                self._reading = asyncio.create_task(self._read_rows())

    async def _read_rows(self) -> _Rows:
        return _Rows(self._written, *await in_decision_thread(self._read))

    def _take(self, rows: _Rows) -> None:
        self._approved, self._stale = rows.approved, False
        self._standings = {(probed.config_id, probed.node_id): self._clocked(probed) for probed in rows.probed}
        self._probed = {
            member: replace(probed, standing=standing)
            for (member, (_, standing)), probed in zip(self._standings.items(), rows.probed, strict=True)
        }
        self._lookers = rows.lookers
        self._probes.watch(self._probed, rows.lookers)

    def _clocked(self, probed: Probed) -> Clocked:
        """Return the standing that was read as it is judged: where it is what was written last, as it was then."""
        known = self._standings.get((probed.config_id, probed.node_id))
        if known is not None and known[0] == probed.standing:
            return known
        return probed.standing, probed.standing.shifted(clock.monotonic() - clock.now())

    def _read(self) -> tuple[list[Probed], frozenset[str], list[Looker]]:
        with self._store.read() as tx:
            given = tx, self._vault, self._unreadable, self._site
            return health.watched(*given), freezes.approved(tx), health.lookers(*given)

    async def _decide(self) -> None:
        """Judge every node, write down what changed, and have looked at those that are due."""
        now = clock.monotonic()
        if now - self._decided_at > STOOD_STILL_S:
            self._awake_at = now
        self._decided_at = now
        reached = self._reached()
        observed = {member: self._observed(member, probed, reached, now) for member, probed in self._probed.items()}
        frozen = self._quorum.look(
            [(observed[member], probed.standing) for member, probed in self._probed.items()],
            now,
            {looker.node_id for looker in self._lookers},
        )
        by_config: dict[str, list[Probed]] = defaultdict(list)
        for probed in self._probed.values():
            by_config[probed.config_id].append(probed)
        # Beside each other: what is wrong with the rows of one config, or holds them, keeps no other from its decision.
        found = await asyncio.gather(
            *(
                self._decide_config(config_id, members, observed, now, frozen=frozen is not None)
                for config_id, members in by_config.items()
            ),
            return_exceptions=True,
        )
        one_sided: set[NodeId] = set()
        gone: set[NodeId] = set()
        for (config_id, members), result in zip(by_config.items(), found, strict=True):
            if isinstance(result, BaseException):
                self._undecided(members[0], result)
            else:
                self._said.pop(config_id, None)
                one_sided |= set(result[0].one_sided)
                gone |= result[1]
        await self._tell(frozen, one_sided, gone & self._approved)

    async def _decide_config(
        self,
        config_id: str,
        members: Sequence[Probed],
        observed: Mapping[Member, Observed],
        now: float,
        *,
        frozen: bool,
    ) -> tuple[Decision, set[NodeId]]:
        """Judge the nodes of one config and act on it; return the decision, and who was taken out of use by it."""
        decision = decide(
            {probed.node_id: observed[config_id, probed.node_id] for probed in members},
            {probed.node_id: probed.standing for probed in members},
            self._rules,
            min_nodes=members[0].min_nodes,
            frozen=frozen,
            now=now,
            approved={NodeId(node_id) for node_id in self._approved},
            paused=members[0].paused,
            witnesses=[
                Witness(each.node_id, self._is_connected(each.node_id), each.domain)
                for each in self._lookers
                if each.config_id == config_id
            ],
            unsure=self._quorum.unsure,
        )
        self._probes.cross_check(config_id, decision.cross_checks)
        return decision, await self._write(config_id, members, decision, now)

    async def _write(self, config_id: str, members: Sequence[Probed], decision: Decision, now: float) -> set[NodeId]:
        """Write down what changed in a config; return the nodes that were taken out of use."""
        changed = [
            (probed, standing)
            for probed in members
            if (standing := decision.standings[probed.node_id]) is not probed.standing
        ]
        if not changed:
            return set()
        by_wall = clock.now() - clock.monotonic()
        await in_decision_thread(self._record, [(probed, standing.shifted(by_wall)) for probed, standing in changed])
        # What was written (the fence) has to be read before a node can be judged again.
        self._stale, self._written = True, self._written + 1
        for probed, standing in changed:
            self._probed[config_id, probed.node_id] = replace(probed, standing=standing)
            self._standings[config_id, probed.node_id] = standing.shifted(by_wall), standing
        gone = {
            probed.node_id for probed, standing in changed if probed.standing.state.in_use and not standing.state.in_use
        }
        for node_id in gone:
            self._quorum.taken_out(node_id, now)
        return gone

    def _unreadable(self, config_name: str, error: VaultError) -> None:
        if self._say_once(f"reading {config_name}", str(error)):
            log.error("health.not_watched", config=config_name, error=str(error))

    def _undecided(self, probed: Probed, error: BaseException) -> None:
        if isinstance(error, asyncio.CancelledError):
            raise error
        trouble = f"{type(error).__name__}: {error}"
        if self._say_once(probed.config_id, trouble):
            known = isinstance(error, PanelError)
            log.error("health.undecided", config=probed.config_name, error=trouble, exc_info=None if known else error)

    def _say_once(self, about: str, trouble: str) -> bool:
        """Tell whether a trouble is news; what cannot be decided is tried again several times a second."""
        news = self._said.get(about) != trouble
        self._said[about] = trouble
        return news

    def _is_connected(self, node_id: str) -> bool:
        connection = self._connections.get(node_id)
        return connection is not None and connection.connected and Feature.WITNESS in connection.features

    def _reached(self) -> frozenset[int]:
        """Return the IP versions by which the panel has just had an answer of any node."""
        found = [(member, probed, self._probes.public_endpoints(member)) for member, probed in self._probed.items()]
        if not any(endpoints and endpoints.trouble for _, _, endpoints in found):
            return frozenset()  # nobody asks
        answering: list[str] = []
        for member, probed, endpoints in found:
            if endpoints is not None:
                answering += endpoints.answering
            elif any(
                each.vantage == PANEL and each.last_ok_at and not each.doubts for each in self._probes.verdicts(member)
            ):
                answering.append(probed.endpoint)
        return versions(answering)

    def _observed(self, member: Member, probed: Probed, reached: frozenset[int], now: float) -> Observed:
        endpoints = self._probes.public_endpoints(member)
        connection = self._connections.get(probed.node_id)
        connected = connection is not None and connection.connected
        heard_at = self._awake_at if connection is None else max(connection.heard_at, self._awake_at)
        patience_s = self._rules.unmanaged_after_s * (1 + _LOSS_SLOWS * self._probes.loss(PANEL, member))
        unheard = not connected and (connection is None or connection.last_seen_at is None)
        if unheard:
            patience_s = max(patience_s, START_S)
        missed = not connected and now - heard_at > patience_s
        return Observed(
            node_id=probed.node_id,
            agent_connected=connected,
            verdicts=self._probes.verdicts(member),
            fenced=probed.applied_generation >= probed.fence_generation,
            beside_panel=probed.beside_panel,
            domain=probed.domain,
            leaving=probed.leaving,
            agent_missed=missed,
            agent_unheard=unheard and not missed,
            unseen=self._probes.unsent.get(member, ""),
            partly=endpoints.trouble if endpoints else "",
            silent_addresses=endpoints.silent_addresses(reached) if endpoints else (),
        )

    def _record(self, changed: Sequence[tuple[Probed, Standing]]) -> None:
        """Write down what was decided of nodes of one config."""
        connections = {probed.node_id: self._connections.get(probed.node_id) for probed, _ in changed}
        silent = {node_id for node_id, connection in connections.items() if connection is None or connection.silent}
        with self._store.write() as tx:
            standings: dict[str, Standing] = {probed.node_id: standing for probed, standing in changed}
            health.record(tx, changed[0][0].config_id, standings, silent=silent)
        for probed, standing in changed:
            if standing.state is not probed.standing.state:
                log.info(
                    "health.changed",
                    config=probed.config_name,
                    node_id=probed.node_id,
                    before=probed.standing.state.value,
                    after=standing.state.value,
                    reason=standing.reason,
                )

    async def _tell(self, frozen: SilentNodes | None, one_sided: set[NodeId], spent: set[NodeId]) -> None:
        """Say which nodes are left in use until a person decides, and why."""
        told = frozen
        if told is None and one_sided:
            told = SilentNodes(
                "all that miss these nodes stand in one site, which may be what is cut off", tuple(sorted(one_sided))
            )
        if spent:
            self._approved = frozenset()
            await in_decision_thread(self._spend, sorted(spent))
        if (told is None) != (self._outlook.frozen is None):
            log.warning("health.frozen" if told else "health.unfrozen", reason=told.reason if told else "")
        self._outlook.frozen = told.reason if told else None
        now = clock.monotonic()
        if self._told_at is None:
            due = told is not None or now - self._began_at > self._rules.fresh_s
        else:
            # The list grows and shrinks with each probe at first; the row follows within a second.
            turned = (told is None) != (self._told is None)
            due = turned or (told != self._told and now - self._told_at > REREAD_S)
        if due:
            await in_decision_thread(self._keep, told)
            self._told, self._told_at = told, now

    def _spend(self, nodes: Sequence[NodeId]) -> None:
        with self._store.write() as tx:
            freezes.spend(tx, nodes)

    def _keep(self, told: SilentNodes | None) -> None:
        with self._store.write() as tx:
            if told is None:
                freezes.end(tx)
            else:
                freezes.begin(tx, told.reason, told.nodes)
