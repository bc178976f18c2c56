"""The watch over the data plane of every serving node: probes from here and from other nodes, and what they mean.

The decision is `domain.health.decide`, a pure function, within the quorum of all nodes; this is its hands. It decides
every `interval_s`, and at once when a probe says anything new. It judges by the monotonic clock: setting the machine's
clock makes no node fresh, silent or stable.
"""

import asyncio
import contextlib
import math
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
    Standing,
    Witness,
    decide,
)
from wgfleet.panel.errors import PanelError
from wgfleet.panel.reconcile.agents.connection import AgentConnection
from wgfleet.panel.reconcile.engine.loop_thread import calls_into_this_loop, in_loop_thread
from wgfleet.panel.reconcile.engine.tasks import BackgroundTask, Work, came_round
from wgfleet.panel.reconcile.engine.threads import come_first, in_decision_thread
from wgfleet.panel.reconcile.freeze_notes import FreezeNotes
from wgfleet.panel.reconcile.knocks import Knocks
from wgfleet.panel.reconcile.new_addresses import keep_using
from wgfleet.panel.reconcile.observations import Observations
from wgfleet.panel.reconcile.outlook import Outlook
from wgfleet.panel.reconcile.probes import Probes
from wgfleet.panel.reconcile.sightings import Member
from wgfleet.panel.reconcile.witness_reach import WitnessReach
from wgfleet.panel.services import freezes, health
from wgfleet.panel.services.health import Looker, Probed
from wgfleet.panel.store import Store
from wgfleet.panel.vault import Vault, VaultError
from wgfleet.probing.prober import Prober
from wgfleet.protocol.ids import NodeId

LONGEST_DELAY_S = 1.0
REREAD_S = 1.0  # which assignments there are, and what others wrote of them
ROUND_S = 0.25  # between decisions at most, where nothing new is seen
STOOD_STILL_S = 1.0  # without a decision: this panel was stopped, and heard nobody meanwhile

Clocked = tuple[Standing, Standing]
"""A standing by the wall clock, as the row has it, and by the monotonic one, by which it is judged."""
Change = tuple[Probed, Standing]
"""A node as it was read, and its new standing."""

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
        self._outlook = outlook
        self._site = site
        self._probes = Probes(rules, connections)
        self._knocks = Knocks(connections)
        self._observations = Observations(rules, self._probes, connections, self._knocks)
        self._notes = FreezeNotes(store, outlook, rules.fresh_s)
        self._witness_reach = WitnessReach(store, rules)
        self._quorum = Quorum(rules)
        self._probed: dict[Member, Probed] = {}
        self._standings: dict[Member, Clocked] = {}
        self._lookers: Sequence[Looker] = ()
        self._approved: frozenset[str] = frozenset()
        self._said: dict[str, str] = {}
        self._reread_at = 0.0
        self._reading: asyncio.Task[_Rows] | None = None
        self._stale = True
        self._written = 0
        self._decided_at = self._awake_at = clock.monotonic()

    def start(self) -> BackgroundTask:
        """Begin to watch in the loop that runs, until the task is stopped."""
        return self._start(self._watch)

    def start_apart(self) -> BackgroundTask:
        """Begin to watch in a thread with a loop of its own; agents are asked in the one that runs."""
        self._probes.call = self._knocks.call = calls_into_this_loop()
        return self._start(lambda: in_loop_thread("health", self._watch, come_first))

    def _start(self, work: Work) -> BackgroundTask:
        # Nobody else notices a dead node, so that a bug must not keep it from looking for long.
        return self._outlook.tasks.start(
            "health", work, longest_delay_s=LONGEST_DELAY_S, every_s=self._rules.interval_s
        )

    async def _watch(self) -> None:
        self._probes.seen.begin()
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
                self._probes.seen.news.clear()
                try:
                    if self._outlook.superseded is None:
                        await self._round(prober)
                except PanelError as error:
                    log.warning("health.round_lost", error=str(error))
                    self._probes.seen.news.clear()
                now = clock.monotonic()
                self._outlook.decisions.decided(due_at, now)
                self._outlook.decisions.probes_left_out = self._probes.left_out
                due_at = self._next_due(now)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(due_at - now):
                        await self._probes.seen.news.wait()
                    due_at = self._probes.seen.news_at
            next(task for task in beside if task.done()).result()
        finally:
            for task in filter(None, (*beside, self._reading)):
                task.cancel()
            await self._probes.close()
            await self._knocks.close()
            prober.close()

    def _next_due(self, now: float) -> float:
        """Return when to decide next where nothing new is seen: never just after probes, which are sent in one moment.

        To make them, and to read their answers, takes this thread for a while.
        """
        every_s = self._probes.interval_s / math.ceil(self._probes.interval_s / ROUND_S)
        return now + 1.5 * every_s - (now - self._probes.begun_at) % every_s

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
        for member in self._probed:
            if self._probes.seen.tries(PANEL, member):  # somebody has begun to miss it
                self._knocks.knock(member[1])
        observed = self._observations.of_all(self._probed, now, self._awake_at)
        frozen = self._quorum.look(
            [(observed[member], probed.standing) for member, probed in self._probed.items()],
            now,
            {looker.node_id for looker in self._lookers},
        )
        by_config: dict[str, list[Probed]] = defaultdict(list)
        for probed in self._probed.values():
            by_config[probed.config_id].append(probed)
        decided = {
            config_id: decision
            for config_id, members in by_config.items()
            if (decision := self._judge(config_id, members, observed, now, frozen=frozen is not None)) is not None
        }
        one_sided = {node_id for decision in decided.values() for node_id in decision.one_sided}
        gone = await self._write_all(
            {config_id: (by_config[config_id], each) for config_id, each in decided.items()}, now
        )
        if spent := gone & self._approved:
            self._approved = frozenset()
            await in_decision_thread(self._spend, sorted(spent))
        await self._notes.tell(frozen, one_sided)
        await self._witness_reach.tell(self._lookers, observed, now)

    def _judge(
        self,
        config_id: str,
        members: Sequence[Probed],
        observed: Mapping[Member, Observed],
        now: float,
        *,
        frozen: bool,
    ) -> Decision | None:
        """Judge the nodes of one config, and have those cross-checked that need it; None: its rows make no sense.

        Nothing is waited for: the loop would deal with all answers to probes that have come before it went on.
        """
        try:
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
                    Witness(each.node_id, self._observations.looks(each.node_id), each.domain)
                    for each in self._lookers
                    if each.config_id == config_id
                ],
                unsure=self._quorum.unsure,
            )
            self._probes.cross_check(config_id, decision.cross_checks)
        except Exception as error:  # noqa: BLE001 - whatever it is, it keeps no other config from its decision
            self._undecided(members[0], error)
            return None
        return decision

    async def _write_all(self, decided: Mapping[str, tuple[Sequence[Probed], Decision]], now: float) -> set[NodeId]:
        """Write down what changed, config by config beside each other: one whose rows are held keeps no other waiting.

        Return the nodes that were taken out of use.
        """
        changed = {
            config_id: found
            for config_id, (members, decision) in decided.items()
            if (found := _changed(members, decision))
        }
        for config_id in decided.keys() - changed.keys():
            self._said.pop(config_id, None)
        if not changed:
            return set()
        written = await asyncio.gather(
            *(self._write(config_id, each, now) for config_id, each in changed.items()), return_exceptions=True
        )
        gone: set[NodeId] = set()
        for config_id, result in zip(changed, written, strict=True):
            if isinstance(result, BaseException):
                self._undecided(decided[config_id][0][0], result)
            else:
                self._said.pop(config_id, None)
                gone |= result
        return gone

    async def _write(self, config_id: str, changed: Sequence[Change], now: float) -> set[NodeId]:
        """Write down what changed in a config; return the nodes that were taken out of use."""
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

    def _record(self, changed: Sequence[Change]) -> None:
        """Write down what was decided of nodes of one config."""
        silent = self._observations.silent({probed.node_id for probed, _ in changed})
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

    def _spend(self, nodes: Sequence[NodeId]) -> None:
        with self._store.write() as tx:
            freezes.spend(tx, nodes)


def _changed(members: Sequence[Probed], decision: Decision) -> list[Change]:
    return [
        (probed, standing)
        for probed in members
        if (standing := decision.standings[probed.node_id]) is not probed.standing
    ]
