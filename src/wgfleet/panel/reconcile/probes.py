"""The probes of the watch: from the panel and, through their agents, from nodes.

Looks run beside each other and nobody waits for a slow one. What was seen is kept in `sightings.py`, and what it means
is decided elsewhere.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import product

import structlog

from wgfleet.panel import clock
from wgfleet.panel.domain.health.public_endpoints import PublicEndpoints
from wgfleet.panel.domain.health.votes import PANEL, HealthRules
from wgfleet.panel.errors import PermanentError, TransientError
from wgfleet.panel.reconcile.agents.connection import AgentConnection
from wgfleet.panel.reconcile.endpoint_survey import survey
from wgfleet.panel.reconcile.engine.loop_thread import LoopCall, here
from wgfleet.panel.reconcile.sightings import Member, Sightings
from wgfleet.panel.services.health import Looker, Probed
from wgfleet.probing.prober import PACE_S, Prober
from wgfleet.protocol.features import Feature
from wgfleet.protocol.ids import InterfaceName, NodeId
from wgfleet.protocol.keys import PrivateKey, PublicKey
from wgfleet.protocol.messages import HEARTBEAT_S, ProbeRequest, ProbeResult, ProbeTarget

AT_ONCE = 16  # probes, before other tasks get their turn
NOBODY_S = 0.05  # between looks for somebody to probe
MOST_AT_ONCE = 3  # requests to a node beside each other; each needs a connection
_PATIENCE = 3
SURVEY_S = 10.0  # between looks at all public endpoints of a node
SURVEY_LOOK_S = 1.0
MOST_PER_S = 500.0  # probes from here; each costs 0.3 ms of a processor
CALM = 4  # times as long between rounds of very many while nobody is in doubt
UNHEARD_S = 1.2 * HEARTBEAT_S  # a line on which nothing came for so long: its node is worth a probe
LOOK_S = 0.05  # between looks whether somebody is, until a round is due

_Look = tuple[Member, str, str]
"""What is under way: the assignment that is looked at, by whom, and the kind of look."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class CrossLook:
    """What a node or a witness is asked: as one of which config, how often to probe, whether there is doubt."""

    vantage: Member
    tries: int
    doubtful: bool


class Probes:
    """All looks at the watched assignments; what they see is in `seen`.

    `call` awaits what belongs to the `connections`, which may be of another event loop.
    """

    def __init__(self, rules: HealthRules, connections: Mapping[str, AgentConnection]) -> None:
        self.unsent: dict[Member, str] = {}
        self.seen = Sightings(rules)
        self.call: LoopCall = here
        self._rules = rules
        self._connections = connections
        self._probed: dict[Member, Probed] = {}
        self._endpoints: dict[Member, PublicEndpoints] = {}  # of those that have several
        self._lookers: Mapping[Member, Looker] = {}
        self._under_way: set[_Look] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._loss_due_at = 0.0
        self._in_doubt = False
        self._unheard: dict[Member, float] = {}  # those that were probed as nothing was heard since
        self.begun_at = 0.0
        """When those from here were last sent."""
        self.left_out = 0
        """How many probes from here were not sent, because this process was late."""

    @property
    def interval_s(self) -> float:
        """Seconds between two probes of an assignment from here at least; longer where there are very many."""
        return min(max(self._rules.interval_s, len(self._probed) / MOST_PER_S), self._rules.fresh_s / 2)

    @property
    def calm_s(self) -> float:
        """Seconds between two probes of an assignment from here at most; no longer pace for what is not known yet."""
        if self.interval_s <= self._rules.interval_s or self.seen.learning:
            return self.interval_s
        return max(self.interval_s, min(CALM * self.interval_s, self._rules.fresh_s / 2))

    def watch(self, probed: Mapping[Member, Probed], lookers: Iterable[Looker] = ()) -> None:
        """Take what is to be probed from now on, and the witnesses that may be asked to; the rest is forgotten."""
        for member, each in probed.items():
            if member in self._probed and self._endpoint(member) not in (each.endpoint, *each.endpoints):
                self.seen.moved(member)
        self._probed = {member: self._by_endpoint(member, each) for member, each in probed.items()}
        self._endpoints = {member: each for member, each in self._endpoints.items() if member in probed}
        self._lookers = {(looker.config_id, looker.node_id): looker for looker in lookers}
        self.unsent = {member: why for member, why in self.unsent.items() if member in probed}
        self._unheard = {member: at for member, at in self._unheard.items() if member in probed}
        in_use = [member for member, each in probed.items() if each.standing.state.in_use]
        self.seen.forget_all_but(probed.keys(), in_use)

    async def keep_probing(self, prober: Prober, may_probe: Callable[[], bool]) -> None:
        """Probe all from here, each every `calm_s`, while that may be done; until cancelled.

        All in the same moment, as far as that goes: nodes that fall silent together have to be missed together, or the
        first of them would be judged before it is known that most have. So all are probed when one is in doubt.
        """
        due_at = clock.monotonic()
        while True:
            left_out = int((clock.monotonic() - due_at) / self.calm_s)
            self.left_out += left_out * len(self._probed)
            due_at += (left_out + 1) * self.calm_s
            self.begun_at, self._in_doubt = clock.monotonic(), False
            for number, member in enumerate(tuple(self._probed) if may_probe() else (), start=1):
                if (probed := self._probed.get(member)) is not None:
                    self._start(self._probe(prober, member, probed))
                if number % AT_ONCE == 0:
                    await asyncio.sleep(0)  # answers are read, and what is urgent is sent
            if not self._probed:
                due_at = clock.monotonic() + NOBODY_S
            due_at = await self._next_round(prober, due_at, may_probe)

    async def _next_round(self, prober: Prober, due_at: float, may_probe: Callable[[], bool]) -> float:
        """Wait for the next round, until `due_at` or somebody is in doubt; return when it was due."""
        while self.calm_s > self.interval_s and clock.monotonic() < due_at - LOOK_S:
            await asyncio.sleep(LOOK_S)
            if self._in_doubt and clock.monotonic() >= self.begun_at + self.interval_s:
                return clock.monotonic()
            if may_probe():
                self._probe_unheard(prober)
        await asyncio.sleep(max(0.0, due_at - clock.monotonic()))
        return due_at

    def _probe_unheard(self, prober: Prober) -> None:
        """Probe each node whose agent has not been heard when it should have been, once until it is heard again."""
        now = clock.monotonic()
        for member, probed in self._probed.items():
            line = self._connections.get(member[1])
            heard_at = now if line is None else line.heard_at
            if self.begun_at < heard_at + UNHEARD_S <= now and self._unheard.get(member) != heard_at:
                self._unheard[member] = heard_at
                self._start(self._probe(prober, member, probed))

    async def keep_surveying(self, prober: Prober, may_probe: Callable[[], bool]) -> None:
        """Look at all public endpoints of nodes that have several, each every `SURVEY_S`; until cancelled."""
        while True:
            due = [each for each, of in self._endpoints.items() if clock.monotonic() - of.looked_at >= SURVEY_S]
            at_most = 1 + int(len(self._endpoints) * SURVEY_LOOK_S / SURVEY_S)  # so that they are spread
            for member in due[:at_most] if may_probe() else ():
                self._begin_survey(prober, member)
            await asyncio.sleep(SURVEY_LOOK_S)

    def public_endpoints(self, member: Member) -> PublicEndpoints | None:
        """Return what is known of the public endpoints of an assignment; None: it has one alone."""
        return self._endpoints.get(member)

    def look(self, prober: Prober) -> None:
        """Probe those from here at once, and often, that begin to be missed."""
        if clock.monotonic() >= self._loss_due_at:
            self.seen.compare({looker.node_id for looker in self._lookers.values()})
            self._loss_due_at = clock.monotonic() + self.interval_s
        for member, probed in self._probed.items():
            verdict = self.seen.from_here(member)
            if verdict is not None and verdict.doubts:
                left = self.seen.needed(PANEL, member) - verdict.doubts
                if left > 0 and (member, PANEL, "burst") not in self._under_way:
                    prober.renew()
                    self._in_doubt = True
                    self._begin_survey(prober, member)
                    self._start(self._burst(prober, member, probed, left), [(member, PANEL, "burst")])

    def cross_check(self, config_id: str, checks: Iterable[tuple[NodeId, NodeId]]) -> None:
        """Have nodes and witnesses (first of each pair) look at others (second)."""
        asked: dict[CrossLook, list[Member]] = defaultdict(list)
        for vantage, target in checks:
            member = config_id, target
            tries = self.seen.tries(vantage, member)
            look = CrossLook((config_id, vantage), max(tries, 1), doubtful=tries > 0)
            if (member, vantage, _kind(look)) not in self._under_way:
                asked[look].append(member)
        for look, members in asked.items():
            keys = [(member, look.vantage[1], _kind(look)) for member in members]
            self._start(self._cross_check(look, [self._probed[member] for member in members]), keys)

    async def close(self) -> None:
        """End all looks."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _start(self, look: Coroutine[None, None, None], keys: Iterable[_Look] = ()) -> None:
        taken = set(keys)
        self._under_way |= taken
        task = asyncio.create_task(look)
        self._tasks.add(task)

        def ended(task: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            self._under_way -= taken
            if not task.cancelled() and (error := task.exception()) is not None:
                log.error("health.probe_failed", error=str(error), exc_info=error)

        task.add_done_callback(ended)

    def _by_endpoint(self, member: Member, probed: Probed) -> Probed:
        """Return an assignment with the endpoint by which it is looked at."""
        if len(probed.endpoints) <= 1:
            self._endpoints.pop(member, None)
            return probed
        known = self._endpoints.get(member)
        if known is None or known.known != probed.endpoints or known.of_clients != set(probed.client_endpoints):
            known = PublicEndpoints(probed.endpoints, frozenset(probed.client_endpoints), probed.endpoint)
            self._endpoints[member] = known
        return replace(probed, endpoint=known.used)

    def _begin_survey(self, prober: Prober, member: Member) -> None:
        endpoints, key = self._endpoints.get(member), (member, PANEL, "survey")
        if endpoints is not None and member in self._probed and key not in self._under_way:
            self._start(self._survey(prober, member, self._probed[member], endpoints), [key])

    async def _survey(self, prober: Prober, member: Member, probed: Probed, endpoints: PublicEndpoints) -> None:
        """Probe all endpoints of a node; from then on it is looked at by the best that answers.

        Where it is in doubt, by the first that does, and at once.
        """

        def took(endpoint: str, sent_at: float, seconds: float) -> None:
            verdict = self.seen.from_here(member)
            if endpoint != self._endpoint(member) and (verdict is None or verdict.doubts):
                self._look_by(member, endpoint)
                self.seen.answered(PANEL, member, sent_at, seconds)

        await survey(prober, probed, endpoints, self.seen.wait_s(PANEL, member), took)
        self._look_by(member, endpoints.used)

    def _endpoint(self, member: Member) -> str:
        """Return where an assignment is looked at; "": it is not any more."""
        return self._probed[member].endpoint if member in self._probed else ""

    def _look_by(self, member: Member, endpoint: str) -> None:
        if (probed := self._probed.get(member)) is not None and probed.endpoint != endpoint:
            self._probed[member] = replace(probed, endpoint=endpoint)
            self.unsent.pop(member, None)
            if member in self._endpoints:
                self._endpoints[member].used = endpoint

    async def _burst(self, prober: Prober, member: Member, probed: Probed, count: int) -> None:
        """Probe a node often, until it has answered; return when a verdict can be had of it."""
        begun = clock.monotonic()
        for _ in range(count):
            if self.seen.has_answered_since(PANEL, member, begun):
                return
            self._start(self._probe(prober, member, probed))
            await asyncio.sleep(PACE_S)
        await asyncio.sleep(self.seen.wait_s(PANEL, member))

    async def _probe(self, prober: Prober, member: Member, probed: Probed) -> None:
        """Probe a node from here. An answer that is late was a miss for as long as it was not here."""
        sent_at = clock.monotonic()
        target = ProbeTarget(probed.endpoint, PublicKey(probed.public_key), PrivateKey(probed.panel_key))
        verdict = self.seen.from_here(member)
        patient = verdict is None or verdict.failures <= 2 * self.seen.needed(PANEL, member)
        known, wait_s = self.seen.is_known(PANEL, member), self.seen.wait_s(PANEL, member)
        late = False

        def is_late() -> None:
            nonlocal late
            if not known and self.seen.was_hasty(PANEL, member, wait_s):
                return
            late = True
            if self._endpoint(member) == probed.endpoint:
                self.seen.missed(PANEL, member, sent_at)

        notices = [(wait_s, is_late)]
        doubt_s = self.seen.doubt_s(PANEL, member)
        if doubt_s < wait_s:
            notices.append((doubt_s, lambda: self.seen.doubted(member, sent_at)))
        outcome = await prober.probe(target, self._rules.longest_timeout_s if patient else wait_s, notices)
        if outcome.answer is not None and outcome.seconds is not None:
            self.unsent.pop(member, None)
            self.seen.answered(PANEL, member, sent_at, outcome.seconds, late=late)
        elif not outcome.sent and (verdict is None or verdict.last_ok_at is None):
            # A machine that could never send to it, as one without IPv6, has seen nothing.
            self.unsent[member] = outcome.reason
        elif not late and self._endpoint(member) == probed.endpoint:
            # One that could, and cannot any more, misses it like others; they decide.
            self.seen.missed(PANEL, member, sent_at)

    async def _cross_check(self, look: CrossLook, targets: list[Probed]) -> None:
        """Have a node probe others: in doubt several times in short succession, else once and with patience."""
        vantage = look.vantage[1]
        connection = self._connections.get(vantage)
        own = self._probed.get(look.vantage) or self._lookers.get(look.vantage)
        if connection is None or own is None or not connection.connected:
            return
        series = Feature.PROBE_SERIES in connection.features
        request = ProbeRequest(
            interface=InterfaceName(own.config_name),
            targets=tuple(
                ProbeTarget(probed.endpoint, PublicKey(probed.public_key), PrivateKey(own.key_towards(probed)))
                for probed in targets
            ),
            timeout_s=self._cross_wait_s(look, targets),
            tries=look.tries if series else 1,
        )

        unknown = {each.endpoint for each in targets if not self.seen.is_known(vantage, (each.config_id, each.node_id))}

        async def one(number: int) -> tuple[float, ProbeResult]:
            await asyncio.sleep(number * 2 * PACE_S)
            sent_at = clock.monotonic()
            return sent_at, await self.call(connection.client.probe(request))

        try:
            requests = 1 if series else min(look.tries, MOST_AT_ONCE)
            results = await asyncio.gather(*(one(number) for number in range(requests)))
        except (TransientError, PermanentError) as error:
            log.debug("health.not_asked", vantage=vantage, error=str(error))
            return
        for probed, (sent_at, result) in product(targets, results):
            self._take(vantage, probed, sent_at, result, request, unknown)

    def _cross_wait_s(self, look: CrossLook, targets: list[Probed]) -> float:
        members = [(probed.config_id, probed.node_id) for probed in targets]
        wait_s = max(self.seen.wait_s(who, member) for member in members for who in (look.vantage[1], PANEL))
        # Without doubt there is time to find out that an answer takes longer than it did.
        return wait_s if look.doubtful else min(_PATIENCE * wait_s, self._rules.longest_timeout_s)

    def _take(
        self,
        vantage: str,
        probed: Probed,
        sent_at: float,
        result: ProbeResult,
        request: ProbeRequest,
        unknown: Collection[str],
    ) -> None:
        """Take what a node saw of another. `unknown`: endpoints that it had no answer of when it was asked."""
        member, endpoint = (probed.config_id, probed.node_id), probed.endpoint
        if self._endpoint(member) != endpoint:
            return  # it answers elsewhere, and is looked at there by now
        if (seconds := result.answered.get(endpoint)) is not None:
            seconds = min(max(seconds, 0.0), self._rules.longest_timeout_s)
            self.seen.answered(vantage, member, sent_at, seconds)
            self.seen.answered_in_series(vantage, member, request.tries, result.lost.get(endpoint, 0))
        elif endpoint in {*result.unanswered} - {*result.unsent}:
            # One that has no way to send has seen nothing, and confirms nothing.
            if endpoint in unknown and self.seen.was_hasty(vantage, member, request.timeout_s):
                return
            for _ in range(request.tries):
                self.seen.missed(vantage, member, sent_at)


def _kind(look: CrossLook) -> str:
    return "doubt" if look.doubtful else "routine"
