"""Usage, collected from all nodes: each is asked now and then, and told with the next question what is committed.

What several nodes said is written in one transaction. A batch that could not be written is not acknowledged, so the
node says it again: nobody has to keep it here.
"""

import asyncio
from collections.abc import Callable, Collection, Mapping

import structlog

from wgfleet.panel import clock
from wgfleet.panel.agents import client
from wgfleet.panel.agents.answers import AgentRefused
from wgfleet.panel.errors import PanelError, PermanentError, TransientError, Unavailable
from wgfleet.panel.reconcile.agents.connection import AgentConnection
from wgfleet.panel.reconcile.agents.shared_files import SharedFiles
from wgfleet.panel.reconcile.engine.tasks import keep_looking
from wgfleet.panel.reconcile.engine.threads import in_thread
from wgfleet.panel.reconcile.lateness import COUNTERS_S
from wgfleet.panel.reconcile.outlook import Outlook
from wgfleet.panel.services import usage
from wgfleet.panel.services.usage import Acknowledged, NodeBatch
from wgfleet.panel.store import Store
from wgfleet.protocol.features import Feature
from wgfleet.protocol.usage import UsageRequest

ROUND_S = 1.0
EVERY_S = 60.0
SOON_S = 2.0  # between two questions to a node on whose counters limits depend
REFUSED_S = 3600.0  # until one that does not know the question is asked again
FEW, FIRST_S = 20, 0.15  # nodes that are asked as soon as they are there; of more, each has so long on average
AT_ONCE = 16  # questions under way: each answer is some 100 kB that the event loop decodes
AT_A_STRETCH = 20  # questions to a node with very many peers: a batch has a thousand rows
ROWS = 1000  # in a transaction, which takes some 20 ms: who writes waits for it, decisions too

log = structlog.get_logger()


class UsageCollector:
    """Asks the nodes of `connections` (by node id); more often those that `counting` returns, for limits."""

    def __init__(
        self,
        store: Store,
        connections: Mapping[str, AgentConnection],
        outlook: Outlook | None = None,
        every_s: float = EVERY_S,
        counting: Callable[[], Collection[str]] = tuple,
        shared: SharedFiles | None = None,
    ) -> None:
        self._store = store
        self._connections = connections
        self._outlook = outlook or Outlook()
        self._every_s = every_s
        self._counting = counting
        self._shared = shared or SharedFiles()
        self._due: dict[str, float] = {}
        self._asked: set[str] = set()
        self._acknowledged: dict[str, Acknowledged] = {}
        self._asking: dict[str, asyncio.Task[NodeBatch | None]] = {}

    async def run(self) -> None:
        """Ask again and again until cancelled."""
        try:
            await keep_looking(self.collect, ROUND_S, "usage.kept")
        finally:
            for task in self._asking.values():
                task.cancel()

    async def collect(self) -> None:
        """Ask who is due, and write what has come by now. Who has more to say is asked again, 20 times at most."""
        for _ in range(AT_A_STRETCH):
            if not await self._round():
                break

    async def _round(self) -> bool:
        """Ask and write once; tell whether somebody has more to say."""
        more = False
        await self._ask()
        if self._asking:
            await asyncio.wait(self._asking.values(), timeout=ROUND_S)
        done = {node_id: task for node_id, task in self._asking.items() if task.done()}
        come = []
        for node_id, task in done.items():
            del self._asking[node_id]
            if (said := task.result()) is not None:
                come.append(said)
        while come:
            batches: list[NodeBatch] = []
            rows = 0
            while come and (not batches or rows + come[-1].batch.rows <= ROWS):
                rows += come[-1].batch.rows
                batches.append(come.pop())
            self._acknowledged |= await in_thread(self._write, batches)
            for each in batches:
                if each.batch.more:
                    self._due[each.node_id] = 0.0
                    more = True
        return more

    async def _ask(self) -> None:
        now = clock.monotonic()
        share = self._outlook.counters_every_s / COUNTERS_S
        soon, spread_s = self._counting(), FIRST_S * max(0, len(self._connections) - FEW)
        for gone in self._due.keys() - self._connections.keys():
            del self._due[gone]
            self._asked.discard(gone)
            self._acknowledged.pop(gone, None)
        due: list[str] = []
        for node_id, line in self._connections.items():
            if not line.connected or Feature.USAGE not in line.features or node_id in self._asking:
                continue
            # Many nodes have a moment each from the first time on: a panel that starts has more urgent things to do.
            at = self._due.setdefault(node_id, now + clock.fraction() * min(self._every_s, spread_s))
            every_s = share * (min(SOON_S, self._every_s) if node_id in soon else self._every_s)
            at = self._due[node_id] = min(at, now + every_s)  # a limit may be new
            counters_s = 0.0 if self._shared.watches(line.config_ids) else client.COUNTERS_S
            if counters_s != line.client.counters_s:
                line.client.counters_s, at = counters_s, now  # the question says it
            if (now >= at or line.usage_ended) and len(self._asking) + len(due) < AT_ONCE:
                due.append(node_id)
                self._due[node_id] = now + every_s * (1.0 if node_id in self._asked else clock.fraction())
                self._asked.add(node_id)
        new = [node_id for node_id in due if node_id not in self._acknowledged]
        if new:
            self._acknowledged |= await in_thread(self._last, new)
        for node_id in due:
            line = self._connections[node_id]
            line.usage_ended = False
            last = self._acknowledged.get(node_id, usage.NONE)
            self._asking[node_id] = asyncio.create_task(self._answer(node_id, line, last), name=f"usage {node_id}")

    async def _answer(self, node_id: str, line: AgentConnection, last: Acknowledged) -> NodeBatch | None:
        try:
            return NodeBatch(node_id, await line.client.usage(UsageRequest(*last)), last)
        except AgentRefused as error:
            log.warning("usage.refused_to_say", node_id=node_id, error=str(error))
            self._due[node_id] = clock.monotonic() + REFUSED_S
        except (TransientError, PermanentError, PanelError) as error:
            log.info("usage.not_said", node_id=node_id, error=str(error))
        return None

    def _last(self, node_ids: list[str]) -> dict[str, Acknowledged]:
        with self._store.read() as tx:
            return usage.last_batches(tx, node_ids)

    def _write(self, batches: list[NodeBatch]) -> dict[str, Acknowledged]:
        """Write what nodes said. What breaks on one node's words keeps no other's back."""
        try:
            now = clock.now()
            with self._store.read() as tx:
                weighed = usage.weigh(tx, batches, now)
            with self._store.write() as tx:
                return usage.take(tx, batches, now, weighed)
        except Unavailable:
            raise
        except Exception:
            if len(batches) == 1:
                log.exception("usage.dropped", node_id=batches[0].node_id)
                return {}
            return {node_id: said for each in batches for node_id, said in self._write([each]).items()}
