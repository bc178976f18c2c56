"""The watch over the data plane of every serving node: probes from here and from other nodes, and what they mean.

The decision is `domain.health.decide`, a pure function; this is its eyes and its hands. Looks run beside each other and
nobody waits for a slow one; it decides every `interval_s`, and at once when a probe says anything new. It judges by the
monotonic clock: setting the machine's clock makes no node fresh, silent or stable.
"""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import product

import structlog

from wgfleet.panel import clock
from wgfleet.panel.domain.health.judge import (
    PANEL,
    CrossCheck,
    Health,
    HealthRules,
    Observed,
    Standing,
    Verdict,
    cut_off,
    decide,
)
from wgfleet.panel.errors import PanelError, PermanentError, TransientError
from wgfleet.panel.reconcile.agents.connection import AgentConnection
from wgfleet.panel.reconcile.engine.tasks import BackgroundTask
from wgfleet.panel.reconcile.engine.threads import in_decision_thread
from wgfleet.panel.reconcile.outlook import Outlook
from wgfleet.panel.services import health
from wgfleet.panel.services.health import Probed
from wgfleet.panel.store import Store
from wgfleet.panel.vault import Vault, VaultError
from wgfleet.probing.prober import Prober
from wgfleet.protocol.ids import InterfaceName, NodeId
from wgfleet.protocol.keys import PrivateKey, PublicKey
from wgfleet.protocol.messages import ProbeRequest, ProbeResult, ProbeTarget

LONGEST_DELAY_S = 1.0
REREAD_S = 1.0  # which assignments there are, and what others wrote of them

Verdicts = dict[str, Verdict]
Member = tuple[str, NodeId]
"""A node of a config, by the config's id and its own."""
"""An assignment: config and node."""

Clocked = tuple[Standing, Standing]
"""A standing by the wall clock, as the row has it, and by the monotonic one, by which it is judged."""

log = structlog.get_logger()


class HealthMonitor:
    """Judges the nodes of all configs. `connections`: those to the agents, by node id."""

    def __init__(
        self,
        store: Store,
        vault: Vault,
        rules: HealthRules,
        timeout_s: float,
        connections: Mapping[str, AgentConnection],
        outlook: Outlook,
    ) -> None:
        self._store = store
        self._vault = vault
        self._rules = rules
        self._timeout_s = timeout_s
        self._connections = connections
        self._outlook = outlook
        self._probed: dict[Member, Probed] = {}
        self._standings: dict[Member, Clocked] = {}
        self._verdicts: dict[Member, Verdicts] = defaultdict(dict)
        self._under_way: set[tuple[Member, str]] = set()
        self._probes: set[asyncio.Task[None]] = set()
        self._said: dict[str, str] = {}
        self._news = asyncio.Event()
        self._reread_at = 0.0

    def start(self) -> BackgroundTask:
        """Begin to watch, until the task is stopped."""
        # Nobody else notices a dead node, so that a bug must not keep it from looking for long.
        return self._outlook.tasks.start("health", self._watch, longest_delay_s=LONGEST_DELAY_S)

    async def _watch(self) -> None:
        prober = Prober()
        next_probes_at = 0.0
        try:
            while True:
                self._news.clear()
                due = clock.monotonic() >= next_probes_at
                if due:
                    next_probes_at = clock.monotonic() + self._rules.interval_s
                try:
                    await self._round(prober, due=due)
                except PanelError as error:
                    log.warning("health.round_lost", error=str(error))
                    self._news.clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(max(0.0, next_probes_at - clock.monotonic())):
                        await self._news.wait()
        finally:
            for probe in self._probes:
                probe.cancel()
            await asyncio.gather(*self._probes, return_exceptions=True)
            prober.close()

    async def _round(self, prober: Prober, *, due: bool) -> None:
        if clock.monotonic() >= self._reread_at:
            await self._reread()
        for member, probed in self._probed.items():
            if due or self._is_missed(member):
                self._begin([(member, PANEL)], self._probe(prober, member, probed))
        checks = await self._decide()
        asked: dict[tuple[Member, int], list[Probed]] = defaultdict(list)
        for config_id, (vantage, target) in checks:
            member = config_id, target
            if (member, vantage) not in self._under_way:
                asked[(config_id, vantage), self._tries(member)].append(self._probed[member])
        for (vantage_member, tries), targets in asked.items():
            keys = [((probed.config_id, probed.node_id), vantage_member[1]) for probed in targets]
            self._begin(keys, self._cross_check(vantage_member, targets, tries))

    def _tries(self, member: Member) -> int:
        """Return how often a node probes in one call: often enough for a verdict if somebody has begun to miss it."""
        failures = self._rules.failures
        return failures if any(0 < verdict.failures <= failures for verdict in self._verdicts[member].values()) else 1

    def _is_missed(self, member: Member) -> bool:
        """Tell whether the panel has begun to miss a node: it has waited for an answer already, and probes at once."""
        verdict = self._verdicts[member].get(PANEL)
        return verdict is not None and 0 < verdict.failures < self._rules.failures

    def _begin(self, keys: Iterable[tuple[Member, str]], probe: Coroutine[None, None, None]) -> None:
        """Run a probe beside the others. `keys`: who probes what; nothing is begun while one of them is under way."""
        taken = set(keys)
        if taken & self._under_way:
            probe.close()
            return
        self._under_way |= taken
        task = asyncio.create_task(probe)
        self._probes.add(task)

        def ended(task: asyncio.Task[None]) -> None:
            self._probes.discard(task)
            self._under_way -= taken
            if not task.cancelled() and (error := task.exception()) is not None:
                log.error("health.probe_failed", error=str(error), exc_info=error)

        task.add_done_callback(ended)

    async def _reread(self) -> None:
        found = await in_decision_thread(self._read)
        self._standings = {(probed.config_id, probed.node_id): self._clocked(probed) for probed in found}
        self._probed = {}
        for probed in found:
            member = (probed.config_id, probed.node_id)
            self._probed[member] = replace(probed, standing=self._standings[member][1])
        for member in self._verdicts.keys() - self._probed.keys():
            del self._verdicts[member]
        self._reread_at = clock.monotonic() + REREAD_S

    def _clocked(self, probed: Probed) -> Clocked:
        """Return the standing that was read as it is judged: where it is what was written last, as it was then."""
        known = self._standings.get((probed.config_id, probed.node_id))
        if known is not None and known[0] == probed.standing:
            return known
        return probed.standing, probed.standing.shifted(clock.monotonic() - clock.now())

    def _read(self) -> list[Probed]:
        with self._store.read() as tx:
            return health.watched(tx, self._vault, self._unreadable)

    def _unreadable(self, config_name: str, error: VaultError) -> None:
        if self._say_once(f"reading {config_name}", str(error)):
            log.error("health.not_watched", config=config_name, error=str(error))

    async def _probe(self, prober: Prober, member: Member, probed: Probed) -> None:
        """Probe a node from here."""
        target = ProbeTarget(probed.endpoint, PublicKey(probed.public_key), PrivateKey(probed.panel_key))
        outcome = await prober.probe(target, self._timeout_s)
        # Where this machine has no way to send, that is a failure of ours to reach it like others, and others decide.
        self._note(member, PANEL, answered=outcome.answer is not None)

    async def _cross_check(self, vantage: Member, targets: list[Probed], tries: int) -> None:
        """Have a node probe others, several times within the time of two tries: their waits for an answer overlap."""
        connection, own = self._connections.get(vantage[1]), self._probed.get(vantage)
        if connection is None or own is None or not connection.connected:
            return
        request = ProbeRequest(
            interface=InterfaceName(own.config_name),
            targets=tuple(
                ProbeTarget(probed.endpoint, PublicKey(probed.public_key), PrivateKey(own.node_key))
                for probed in targets
            ),
            timeout_s=self._timeout_s,
        )

        async def one(number: int) -> ProbeResult:
            await asyncio.sleep(number * self._timeout_s / tries)
            return await connection.client.probe(request)

        try:
            results = await asyncio.gather(*(one(number) for number in range(tries)))
        except (TransientError, PermanentError) as error:
            log.debug("health.not_asked", vantage=vantage[1], error=str(error))
            return
        for probed, result in product(targets, results):
            # One that has no way to send has seen nothing, and confirms nothing.
            if probed.endpoint in result.answered or probed.endpoint in {*result.unanswered} - {*result.unsent}:
                member = (probed.config_id, probed.node_id)
                self._note(member, vantage[1], answered=probed.endpoint in result.answered)

    def _note(self, member: Member, vantage: str, *, answered: bool) -> None:
        now = clock.monotonic()
        before = self._verdicts[member].get(vantage) or Verdict(vantage, 0, None, None)
        if answered:
            self._verdicts[member][vantage] = Verdict(vantage, 0, now, now)
        else:
            self._verdicts[member][vantage] = replace(before, failures=before.failures + 1, last_try_at=now)
        if answered is (before.failures > 0) or 0 < before.failures < self._rules.failures:
            self._news.set()

    async def _decide(self) -> list[tuple[str, CrossCheck]]:
        """Judge every node, write down what changed; return the cross-checks to make now, by config."""
        now = clock.monotonic()
        observed = {member: self._observed(member, probed) for member, probed in self._probed.items()}
        # One that is known to be down says nothing of the panel, nor does its return, which others may see first.
        counted = [seen for member, seen in observed.items() if self._probed[member].standing.state is not Health.DOWN]
        self._freeze(cut_off(counted, now, self._rules))
        by_config: dict[str, list[Probed]] = defaultdict(list)
        for probed in self._probed.values():
            by_config[probed.config_id].append(probed)
        checks: list[tuple[str, CrossCheck]] = []
        # Beside each other: what is wrong with the rows of one config, or holds them, keeps no other from its decision.
        found = await asyncio.gather(
            *(self._decide_config(config_id, members, observed, now) for config_id, members in by_config.items()),
            return_exceptions=True,
        )
        for (config_id, members), result in zip(by_config.items(), found, strict=True):
            if isinstance(result, BaseException):
                self._undecided(members[0], result)
            else:
                self._said.pop(config_id, None)
                checks += [(config_id, check) for check in result]
        return checks

    async def _decide_config(
        self, config_id: str, members: Sequence[Probed], observed: Mapping[Member, Observed], now: float
    ) -> Sequence[CrossCheck]:
        """Judge the nodes of one config, write down what changed; return the cross-checks to make now."""
        decision = decide(
            {probed.node_id: observed[config_id, probed.node_id] for probed in members},
            {probed.node_id: probed.standing for probed in members},
            self._rules,
            min_nodes=members[0].min_nodes,
            frozen=self._outlook.frozen is not None,
            now=now,
        )
        changed = [
            (probed, standing)
            for probed in members
            if (standing := decision.standings[probed.node_id]) is not probed.standing
        ]
        if not changed:
            return decision.cross_checks
        by_wall = clock.now() - clock.monotonic()
        await in_decision_thread(self._record, [(probed, standing.shifted(by_wall)) for probed, standing in changed])
        # What was written (the fence) has to be read before a node can be judged again.
        self._reread_at = 0.0
        for probed, standing in changed:
            self._probed[config_id, probed.node_id] = replace(probed, standing=standing)
            self._standings[config_id, probed.node_id] = standing.shifted(by_wall), standing
        return decision.cross_checks

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

    def _observed(self, member: Member, probed: Probed) -> Observed:
        connection = self._connections.get(probed.node_id)
        return Observed(
            node_id=probed.node_id,
            agent_connected=connection is not None and connection.connected,
            verdicts=tuple(self._verdicts[member].values()),
            fenced=probed.applied_generation >= probed.fence_generation,
            beside_panel=probed.is_panel_node,
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

    def _freeze(self, reason: str | None) -> None:
        if (reason is None) != (self._outlook.frozen is None):
            log.warning("health.frozen" if reason else "health.unfrozen", reason=reason or "the nodes are seen again")
        self._outlook.frozen = reason
