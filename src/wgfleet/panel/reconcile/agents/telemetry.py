"""Telemetry: the sessions, load and refused strangers that all nodes reported, written once a second.

In few transactions, however many nodes there are: each one costs more than the rows in it. None is long, so that a
decision waits for one of them at most.
"""

import math
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import NamedTuple

import structlog

from wgfleet.panel import clock
from wgfleet.panel.errors import Unavailable
from wgfleet.panel.reconcile.agents import call_back_buffer, refusal_buffer
from wgfleet.panel.reconcile.agents.connection import AgentConnection, NodeReports
from wgfleet.panel.reconcile.agents.counter_pace import SETTLES_S, CounterPace
from wgfleet.panel.reconcile.agents.shared_files import SharedFiles
from wgfleet.panel.reconcile.agents.visits import Place, Visits
from wgfleet.panel.reconcile.engine.tasks import keep_looking
from wgfleet.panel.reconcile.engine.threads import in_thread
from wgfleet.panel.reconcile.outlook import Outlook
from wgfleet.panel.services.fleet import loads
from wgfleet.panel.store import Store, Tx
from wgfleet.panel.store import assignments as assignment_rows
from wgfleet.panel.store import sessions as session_rows
from wgfleet.panel.store import visits as visit_rows
from wgfleet.panel.store.sessions import NodeSessions
from wgfleet.panel.store.visits import VisitRow

FLUSH_S = 1.0
SOON_S = 2.0  # between counters of a node on which it is looked for devices that share a file
CATCHES_UP = 2  # as many nodes' counters are written in a round as there are due in one, and as many more
ROWS = 1000  # of sessions in one transaction, which takes some 20 ms: who writes waits for it
SAME_S = 1  # between two times of one handshake, by what a node's clock is known to be ahead then and now

log = structlog.get_logger()

Part = tuple[str, NodeReports]
"""A node's id, and some of what it said."""


class Written(NamedTuple):
    """What became of a batch.

    `not_carried`: the node has no say. `known`: what was said, with the public keys whose rows were right already.
    """

    not_carried: list[NodeSessions]
    known: list[tuple[NodeSessions, Collection[str]]]


class TelemetryWriter:
    """Writes what the `connections` (by node id) have taken in, and the pace of counters to the outlook."""

    def __init__(
        self,
        store: Store,
        connections: Mapping[str, AgentConnection],
        outlook: Outlook | None = None,
        shared: SharedFiles | None = None,
        visits: Visits | None = None,
    ) -> None:
        self._store = store
        self._connections = connections
        self._outlook = outlook or Outlook()
        self._pace = CounterPace()
        self._shared = shared or SharedFiles()
        self._visits = visits or Visits(keep=False)
        self._compared: set[Place] = set()

    async def run(self) -> None:
        """Write again and again until cancelled; what a database that is away misses is written when it is back."""
        await keep_looking(self.flush, FLUSH_S, "telemetry.kept", counts_done=True)

    async def flush(self) -> None:
        """Write what is due."""
        began = clock.monotonic()
        await self._flush()
        now = clock.monotonic()
        self._pace.note(now, now - began, self._outlook.decisions.late_s(now, SETTLES_S))
        if (every_s := self._pace.every_s) != self._outlook.counters_every_s:
            log.warning("telemetry.pace", counters_every_s=every_s, before_s=self._outlook.counters_every_s)
            self._outlook.counters_every_s = every_s

    async def _flush(self) -> None:
        lines = dict(self._connections)
        left = self._taken(lines)
        places = {(node_id, config_id) for node_id, part in left for config_id in part.sessions}
        try:
            for batch in batches(left):
                written = await in_thread(self._write, batch)
                for each in written.not_carried:
                    lines[each.node_id].forget_sessions(each.config_id)
                for each, keys in written.known:
                    lines[each.node_id].count_later(each.config_id, keys)
                left = left[len(batch) :]
        finally:
            for node_id, part in left:
                lines[node_id].give_back(part)
        if not places <= self._compared:
            self._compared = {each for each in self._compared if each[0] in lines} | places

    def _taken(self, lines: Mapping[str, AgentConnection]) -> list[Part]:
        """Return what is due. Where the pace has become faster the counters of very many nodes are, and take turns."""
        pace_s = self._pace.every_s
        left = math.ceil(CATCHES_UP * len(lines) * FLUSH_S / pace_s)
        found: list[Part] = []
        for node_id, line in lines.items():
            if self._shared.watches(line.config_ids):
                every_s, counters = SOON_S, line.counters_are_due(SOON_S)
            else:
                every_s, counters = pace_s, left > 0 and line.counters_are_due(pace_s)
                left -= counters
            found += [(node_id, part) for part in line.take_reports(every_s if counters else None).parts(ROWS)]
        return found

    def _write(self, batch: list[Part]) -> Written:
        """Write a batch. What breaks on one node's words keeps no other's back."""
        try:
            return self._written(batch)
        except Unavailable:
            raise
        except Exception:
            if len(batch) == 1:
                log.exception("telemetry.dropped", node_id=batch[0][0])
                return Written([], [])
            apart = [self._write([part]) for part in batch]
            not_carried = [said for each in apart for said in each.not_carried]
            return Written(not_carried, [known for each in apart for known in each.known])

    def _written(self, batch: list[Part]) -> Written:
        said = [
            NodeSessions(node_id, config_id, stats)
            for node_id, part in batch
            for config_id, stats in part.sessions.items()
        ]
        with self._store.read() as tx:  # worked out before the turn to write, for which others wait
            places = assignment_rows.carried(tx, {each.node_id for each in said})
            carried = [each for each in said if _place(each) in places]
            known = [(each, self._known(tx, each)) for each in carried]
            news = [_without(each, keys) for each, keys in known if len(keys) < len(each.stats)]
            visits = self._visits.note(tx, news, clock.now(), clock.steady())
        try:
            not_carried = self._recorded(batch, news, visits)
        except Unavailable:
            self._visits.give_back(visits)
            raise
        self._shared.note(carried, clock.monotonic())
        return Written(not_carried + [each for each in said if _place(each) not in places], known)

    def _known(self, tx: Tx, said: NodeSessions) -> Collection[str]:
        """Return whose rows say already what a node says of them when it is first heard, but for counters.

        A panel that starts hears of all peers at once, of which next to none has done anything meanwhile, and a row
        that is read costs a fifth of one that is written.
        """
        if _place(said) in self._compared:
            return ()
        rows = session_rows.known(tx, said.node_id, said.config_id, said.stats.keys())
        return {
            key
            for key, (endpoint, handshake) in rows.items()
            if said.stats[key].endpoint == endpoint and abs(said.stats[key].latest_handshake - handshake) <= SAME_S
        }

    def _recorded(self, batch: list[Part], news: list[NodeSessions], visits: list[VisitRow]) -> list[NodeSessions]:
        if not (news or visits or any(part.says_more for _, part in batch)):
            return []
        with self._store.write() as tx:
            not_carried = session_rows.record(tx, news, clock.steady())
            refused = {_place(each) for each in not_carried}
            visit_rows.write(tx, [each for each in visits if (each.node_id, each.config_id) not in refused])
            loads.report(tx, {node_id: part.load for node_id, part in batch if part.load is not None})
            for node_id, part in batch:
                refusal_buffer.record(tx, node_id, part.refusals)
                call_back_buffer.record(tx, node_id, part.called_back)
        return not_carried


def _place(said: NodeSessions) -> Place:
    return said.node_id, said.config_id


def _without(said: NodeSessions, keys: Collection[str]) -> NodeSessions:
    return said._replace(stats={key: stats for key, stats in said.stats.items() if key not in keys}) if keys else said


def batches(parts: Iterable[Part]) -> Iterator[list[Part]]:
    """Put parts together, as long as that makes no more than `ROWS` rows."""
    batch: list[Part] = []
    rows = 0
    for part in parts:
        if batch and rows + part[1].rows > ROWS:
            yield batch
            batch, rows = [], 0
        batch.append(part)
        rows += part[1].rows
    if batch:
        yield batch
