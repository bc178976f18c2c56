"""Telemetry: the sessions, load and refused strangers that all nodes reported, written once a second.

In few transactions, however many nodes there are: each one costs more than the rows in it. None is long, so that a
decision waits for one of them at most.
"""

import math
from collections.abc import Iterable, Iterator, Mapping

import structlog

from wgfleet.panel import clock
from wgfleet.panel.errors import Unavailable
from wgfleet.panel.reconcile.agents import call_back_buffer, refusal_buffer
from wgfleet.panel.reconcile.agents.connection import AgentConnection, NodeReports
from wgfleet.panel.reconcile.agents.counter_pace import SETTLES_S, CounterPace
from wgfleet.panel.reconcile.agents.shared_files import SharedFiles
from wgfleet.panel.reconcile.agents.visits import Visits
from wgfleet.panel.reconcile.engine.tasks import keep_looking
from wgfleet.panel.reconcile.engine.threads import in_thread
from wgfleet.panel.reconcile.outlook import Outlook
from wgfleet.panel.services.fleet import loads
from wgfleet.panel.store import Store
from wgfleet.panel.store import assignments as assignment_rows
from wgfleet.panel.store import sessions as session_rows
from wgfleet.panel.store import visits as visit_rows
from wgfleet.panel.store.sessions import NodeSessions
from wgfleet.panel.store.visits import VisitRow

FLUSH_S = 1.0
CATCHES_UP = 2  # as many nodes' counters are written in a round as there are due in one, and as many more
ROWS = 1000  # of sessions in one transaction, which takes some 20 ms: who writes waits for it

log = structlog.get_logger()

Part = tuple[str, NodeReports]
"""A node's id, and some of what it said."""


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

    async def run(self) -> None:
        """Write again and again until cancelled; what a database that is away misses is written when it is back."""
        await keep_looking(self.flush, FLUSH_S, "telemetry.kept")

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
        try:
            for batch in batches(left):
                for each in await in_thread(self._write, batch):
                    lines[each.node_id].forget_sessions(each.config_id)
                left = left[len(batch) :]
        finally:
            for node_id, part in left:
                lines[node_id].give_back(part)

    def _taken(self, lines: Mapping[str, AgentConnection]) -> list[Part]:
        """Return what is due. Where the pace has become faster the counters of very many nodes are, and take turns."""
        every_s = self._pace.every_s
        left = math.ceil(CATCHES_UP * len(lines) * FLUSH_S / every_s)
        found: list[Part] = []
        for node_id, line in lines.items():
            counters = left > 0 and line.counters_are_due(every_s)
            left -= counters
            found += [(node_id, part) for part in line.take_reports(every_s if counters else None).parts(ROWS)]
        return found

    def _write(self, batch: list[Part]) -> list[NodeSessions]:
        """Write a batch; return what nodes have no say about. What breaks on one node's words keeps no other's back."""
        try:
            return self._written(batch)
        except Unavailable:
            raise
        except Exception:
            if len(batch) == 1:
                log.exception("telemetry.dropped", node_id=batch[0][0])
                return []
            return [each for part in batch for each in self._write([part])]

    def _written(self, batch: list[Part]) -> list[NodeSessions]:
        said = [
            NodeSessions(node_id, config_id, stats)
            for node_id, part in batch
            for config_id, stats in part.sessions.items()
        ]
        visits = self._noted(said)
        try:
            return self._recorded(batch, said, visits)
        except Unavailable:
            self._visits.give_back(visits)
            raise

    def _noted(self, said: list[NodeSessions]) -> list[VisitRow]:
        """Return what is to be written of visits: worked out before the turn to write, for which others wait."""
        with self._store.read() as tx:
            carried = assignment_rows.carried(tx, {each.node_id for each in said})
            known = [each for each in said if (each.node_id, each.config_id) in carried]
            return self._visits.note(tx, known, clock.now(), clock.steady())

    def _recorded(self, batch: list[Part], said: list[NodeSessions], visits: list[VisitRow]) -> list[NodeSessions]:
        with self._store.write() as tx:
            not_carried = session_rows.record(tx, said, clock.steady())
            refused = {(each.node_id, each.config_id) for each in not_carried}
            carried = [each for each in said if (each.node_id, each.config_id) not in refused]
            visit_rows.write(tx, [each for each in visits if (each.node_id, each.config_id) not in refused])
            loads.report(tx, {node_id: part.load for node_id, part in batch if part.load is not None})
            for node_id, part in batch:
                refusal_buffer.record(tx, node_id, part.refusals)
                call_back_buffer.record(tx, node_id, part.called_back)
        self._shared.note(carried, clock.monotonic())
        return not_carried


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
