"""The panel's connection to one agent: a watch stream that is always being reopened, and what it reported.

It decides nothing: it reports that something changed, and the node's reconciler acts.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import structlog

from wgfleet.panel import clock
from wgfleet.panel.agents import claims
from wgfleet.panel.agents.allowance import Allowance
from wgfleet.panel.agents.answers import AgentRefused, told_of
from wgfleet.panel.agents.client import AgentClient
from wgfleet.panel.domain.backoff import backoff
from wgfleet.panel.errors import PanelError, PermanentError, TransientError
from wgfleet.panel.reconcile.agents.agent_clock import AgentClock
from wgfleet.panel.reconcile.agents.call_back_buffer import CallBackBuffer, ReportedCallBack
from wgfleet.panel.reconcile.agents.load_gauge import LoadGauge
from wgfleet.panel.reconcile.agents.refusal_buffer import Kind, RefusalBuffer
from wgfleet.panel.reconcile.agents.session_buffer import SessionBuffer
from wgfleet.panel.reconcile.engine.tasks import BackgroundTask, BackgroundTasks
from wgfleet.panel.reconcile.engine.threads import in_thread
from wgfleet.panel.reconcile.lateness import COUNTERS_S
from wgfleet.panel.store import Store
from wgfleet.protocol import features
from wgfleet.protocol.diff import Drift
from wgfleet.protocol.features import Feature
from wgfleet.protocol.messages import (
    HEARTBEAT_S,
    AgentStatus,
    Change,
    Forwarding,
    Heartbeat,
    InterfaceReport,
    Load,
    Refusal,
    Refused,
    Snapshot,
    WatchMessage,
)
from wgfleet.protocol.observed import PeerStats
from wgfleet.protocol.reasons import Reason

SILENT_S = 1.5 * HEARTBEAT_S  # a live agent has sent something by then
FIRST_PAUSE_S = 0.25
LONGEST_PAUSE_S = 3.0  # a node that returns is to be seen soon; one try costs a packet
# How often what an agent says has the reconciler look: each look costs reads, and perhaps a push, which others wait
# for. Nothing else waits: health sees at once whether an agent is heard, and rows that changed wake the reconciler too.
WAKES, WAKES_A_SECOND = 20.0, 2.0

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Reported:
    """The last report of an agent on an interface. `held`, `rivals` and what follows are as in `InterfaceReport`.

    Two are equal if they ask for the same work: `summary`, for people, and `carries`, which is looked up, do not count.
    """

    config_id: str
    generation: int
    drift: tuple[Drift, ...]
    held: tuple[str, ...] | None
    summary: str = field(compare=False)
    history: str = ""
    muted: str | None = None
    rivals: tuple[tuple[str, str], ...] = ()
    forwarding: tuple[Forwarding, ...] = ()
    carries: bool = field(default=False, compare=False)


@dataclass(frozen=True, slots=True)
class NodeReports:
    """What a node said that is to be written: sessions by config and public key, its load, refused strangers.

    `called_back`: sessions that ended with an interface, and whose peers it called.
    """

    sessions: Mapping[str, Mapping[str, PeerStats]]
    load: Load | None = None
    refusals: Sequence[tuple[Kind, int]] = ()
    called_back: Sequence[ReportedCallBack] = ()

    @property
    def rows(self) -> int:
        """Return how many rows of sessions these are."""
        return sum(map(len, self.sessions.values()))

    @property
    def says_more(self) -> bool:
        """Whether there is anything but sessions."""
        return bool(self.load or self.refusals or self.called_back)

    def __bool__(self) -> bool:
        return bool(self.sessions) or self.says_more

    def parts(self, most: int) -> Iterator["NodeReports"]:
        """Split it into parts of `most` rows at most."""
        if self.says_more:
            yield NodeReports({}, self.load, self.refusals, self.called_back)
        for config_id, stats in self.sessions.items():
            items = list(stats.items())
            for start in range(0, len(items), most):
                yield NodeReports({config_id: dict(items[start : start + most])})


class AgentConnection:
    """The connection to one node. `changed` is called in the event loop when the node's reconciler ought to look.

    `features`: what the agent knows beyond 0.1.0. `older`: it refuses this panel, as it has obeyed a newer one, and
    `older_proof` is what it shows for that. `issuer`: the CA (its fingerprint) whose certificate the panel shows on it.
    """

    def __init__(self, node_id: str, client: AgentClient, store: Store, changed: Callable[[], None]) -> None:
        self.node_id = node_id
        self.client = client
        self.connected = False
        self.tried = False
        """Whether it is known by now if the agent answers."""
        self.trouble: str = Reason("not connected yet")
        self.status: AgentStatus | None = None
        self.features = features.NONE
        self.issuer: str | None = None
        self.older = False
        self.older_proof: str | None = None
        self.last_seen_at: float | None = None
        self.heard_at = clock.monotonic()  # at first: since when it could have been heard
        self.reported: dict[str, Reported] = {}
        self.refuses = 0
        """The newest revocation (`IssuedCertificate.revocation`) that the agent heard of on this connection."""
        self.usage_ended = False
        """Whether peers, or an interface, were taken off the node: what it counted of them is to be fetched soon."""
        self._store = store
        self._wake = changed
        self._wakes = Allowance(WAKES, WAKES_A_SECOND)
        self._later: asyncio.TimerHandle | None = None
        self._failures = 0  # since it was heard
        self._clock = AgentClock()
        self._buffer = SessionBuffer(node_id)
        self._refusals = RefusalBuffer()
        self._called_back = CallBackBuffer()
        self._load = LoadGauge()
        self._tasks: list[BackgroundTask] = []

    @property
    def silent(self) -> bool:
        """Whether the agent has missed a heartbeat, or the connection is down."""
        return not self.connected or clock.monotonic() - self.heard_at > SILENT_S

    def start(self, tasks: BackgroundTasks) -> None:
        """Begin to keep the connection up."""
        self._tasks = [tasks.start("link_watch", self._keep_up, subject=self.node_id, longest_delay_s=LONGEST_PAUSE_S)]

    async def close(self) -> None:
        """Close it; safe to call twice."""
        for task in self._tasks:
            await task.stop()
        self._tasks = []
        self.connected = False
        if self._later is not None:
            self._later.cancel()
        await self.client.aclose()

    def applied(self, interface: str, reported: Reported) -> None:
        """Note the answer to a push; the stream reports the same a little later, and alone what a node carries."""
        before = self.reported.get(interface)
        self.reported[interface] = reported if before is None else replace(reported, carries=before.carries)

    def forget(self, interface: str) -> None:
        """Doubt what we know of an interface, and have the reconciler look again."""
        self.reported.pop(interface, None)
        self._changed()

    def distrust(self) -> None:
        """Take the agent for one of 0.1.0 until it says again what it knows: it refused a field as unknown."""
        self._knows(features.NONE)
        self.reported = {}
        self._changed()

    def _changed(self) -> None:
        """Have the reconciler look: now, or a little later where this agent has had it look often."""
        if self._later is not None:
            return
        if self._wakes.take(1, clock.monotonic()):
            self._wake()
        else:
            self._later = asyncio.get_running_loop().call_later(self._wakes.wait_s(1), self._changed_before)

    def _changed_before(self) -> None:
        self._later = None
        self._wakes.take(1, clock.monotonic())
        self._wake()

    def _knows(self, known: frozenset[Feature]) -> None:
        self.features = self.client.features = known

    def look_again(self) -> None:
        """Have the reconciler look: something that it left under way has ended."""
        self._wake()

    async def _keep_up(self) -> None:
        while True:
            alone_s = 0.0
            try:
                await self.client.watch(self._hear)
            except (TransientError, PermanentError) as error:
                self._lost(told_of(error))
                alone_s = getattr(error, "retry_after_s", None) or 0.0
                self._refused_as_older(error.refusal if isinstance(error, AgentRefused) else None)
            except Exception:
                log.exception("watch.failed", node_id=self.node_id)
                self._lost(Reason("an error of the panel's own; see its log"))
            self._failures += 1
            pause_s = backoff(self._failures, clock.fraction(), first_s=FIRST_PAUSE_S, longest_s=LONGEST_PAUSE_S)
            await asyncio.sleep(max(pause_s, alone_s))

    def _refused_as_older(self, refusal: Refusal | None) -> None:
        """Note whether this agent says that it has obeyed a newer panel; what that means is not decided here."""
        older = refusal is not None and refusal.reason == "older_panel"
        if refusal is not None and older and not self.older:
            log.error("panel.refused_as_older", node_id=self.node_id, reason=refusal.detail)
        self.older, self.older_proof = older, refusal.proof if refusal is not None and older else None

    def _lost(self, trouble: str) -> None:
        news = self.connected or trouble != self.trouble
        self.connected, self.trouble, self.tried = False, trouble, True
        if news:
            self._changed()

    def _hear(self, message: WatchMessage) -> None:
        self._failures = 0
        self.last_seen_at, self.heard_at = clock.now(), clock.monotonic()
        self._take(message)

    def _take(self, message: WatchMessage) -> None:
        if isinstance(message, Snapshot):
            self.status, self.connected, self.tried = claims.status(message.status), True, True
            self._refused_as_older(None)
            self._knows(features.of_agent(message.status))
            self._set_by(message.status.now)
            self.reported, self.refuses = {}, 0
            for report in message.interfaces:
                self._report(report)
            self._changed()
        elif isinstance(message, Change):
            self._take_change(message)
        elif isinstance(message, Heartbeat):
            self._set_by(message.now)
            if message.load is not None:
                self._load.add(message.load)
        elif isinstance(message, Refused):
            self._refusals.add(message, clock.monotonic())

    @property
    def panel_ahead_s(self) -> float | None:
        """How far the panel's clock is ahead of the agent's; None: the agent has not said yet what its own says."""
        if not self.connected or self.status is None:
            return None
        return clock.now() - (clock.monotonic() + self._clock.ahead_s)

    @property
    def clock_ahead_s(self) -> float | None:
        """How far the agent's clock is ahead of the panel's, to half a second; None before it was heard."""
        if self.status is None:
            return None
        return round(clock.monotonic() + self._clock.ahead_s - clock.now(), 1)

    @property
    def _skew_s(self) -> float:
        """Our clock, which nobody sets, less the agent's as its last heartbeats had it."""
        return clock.steady() - (clock.monotonic() + self._clock.ahead_s)

    def _set_by(self, agents_now: float) -> None:
        self._clock.says(agents_now, clock.monotonic())

    def _take_change(self, change: Change) -> None:
        news = bool(change.gone)
        for name in change.gone:
            gone = self.reported.pop(name, None)
            if gone is not None:
                self._buffer.forget(gone.config_id)
                self._called_back.forget(name)
        for report in change.interfaces:
            news |= self._report(report)
        if news:
            self._changed()

    def _report(self, report: InterfaceReport) -> bool:
        """Take one interface's report; True where the reconciler may have something to do."""
        before = self.reported.get(report.name)
        if before is None and len(self.reported) >= claims.MAX_REPORTED:
            return False
        drift, summary = claims.drift(report.drift), claims.words(report.summary)
        rivals = claims.rivals(report.rivals)
        muted = None if report.muted is None else claims.words(report.muted)
        fresh = Reported(
            report.config_id, report.generation, drift, report.held, summary, report.history, muted, rivals,
            claims.forwarding(report.forwarding), report.carries,
        )  # fmt: skip
        self.reported[report.name] = fresh
        agents_now = clock.monotonic() + self._clock.ahead_s
        self._called_back.note(report.name, report.config_id, report.called_back, summary, agents_now)
        if report.peers:
            self._buffer.add(report.config_id, report.peers, self._skew_s)
        return before != fresh

    @property
    def config_ids(self) -> set[str]:
        """The configs of the interfaces that the node reports."""
        return {each.config_id for each in self.reported.values()}

    def counters_are_due(self, every_s: float) -> bool:
        """Tell whether counters that are written so often are to be written now."""
        return self._buffer.counters_are_due(every_s)

    def take_reports(self, counters_every_s: float | None = COUNTERS_S) -> NodeReports:
        """Return what this node said that is due for the rows, and forget it; None: no bare counters."""
        refusals = self._refusals.take(clock.monotonic())
        return NodeReports(self._buffer.take(counters_every_s), self._load.take(), refusals, self._called_back.take())

    def give_back(self, reports: NodeReports) -> None:
        """Keep for later what could not be written; a load is said again soon."""
        self._buffer.give_back(reports.sessions)
        self._refusals.give_back(reports.refusals)
        self._called_back.give_back(reports.called_back)

    def count_later(self, config_id: str, keys: Iterable[str]) -> None:
        """Take back sessions whose rows are right but for their counters."""
        self._buffer.count_later(config_id, keys)

    def forget_sessions(self, config_id: str) -> None:
        """Forget the sessions that this node reported of a config that it does not carry."""
        self._buffer.forget(config_id)

    async def flush(self) -> None:
        """Write the sessions that this node reported now; kept for later where the database cannot be had.

        Bare counters wait for their time: a takeover waits for this, and nothing in it follows from them.
        """
        due = self._buffer.take(None)
        if not due:
            return
        try:
            for config_id in await in_thread(self._buffer.write, self._store, due):
                self._buffer.forget(config_id)
        except PanelError:
            self._buffer.give_back(due)
            raise
