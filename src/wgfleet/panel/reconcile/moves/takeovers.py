"""Rounds of takeover: the new homes of an operation's live peers call them, and the answers are written down.

A node is called once at a time for an operation, and nobody waits for one that is slow or dead.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from itertools import groupby

import structlog

from wgfleet.panel import faultpoints
from wgfleet.panel.errors import PanelError, PermanentError, TransientError
from wgfleet.panel.reconcile.agents.connection import AgentConnection
from wgfleet.panel.reconcile.engine.threads import in_thread
from wgfleet.panel.reconcile.moves import relaying
from wgfleet.panel.reconcile.moves.drops import Drops
from wgfleet.panel.reconcile.moves.open_flows import OpenFlows
from wgfleet.panel.services.moves import takeovers
from wgfleet.panel.services.moves.takeovers import TakeoverCall
from wgfleet.panel.settings.drain import DrainSettings
from wgfleet.panel.store import Store
from wgfleet.panel.store.wakes import Topic
from wgfleet.panel.vault import Vault
from wgfleet.protocol.ids import InterfaceName
from wgfleet.protocol.keys import PublicKey
from wgfleet.protocol.messages import Takeover, TakeoverPeer, TakeoverResult
from wgfleet.protocol.reasons import Reason

AGAIN_S = 1.0  # a client that did not answer is called again; WireGuard itself waits 5 s
LOOK_S = 0.25  # while calls are under way: their node may turn out to be dead, and the sessions then go elsewhere
# A packet may be lost, and a client without a node must not wait long for the next. Each try ends the one before, so
# they grow: a client whose answer takes longer than the first is reached by a later one. The last is for those behind a
# router that turns to the new node only when the dead one's hold time is over, after 3 s.
QUICK_TRIES_S = (0.2, 0.4, 0.8, 1.2, 1.2)
# Those who have answered are dropped where they were, though others of their batch are waited for.
SETTLE_S = 0.1
# Batches that a node may be calling at once, of clients that have no node: while some of one are waited for, the next
# are called. A node looks at all its peers for each batch again and again, so there are only some.
AT_ONCE = 4

log = structlog.get_logger()


class TakeoverRounds:
    """Moves live sessions. `connections`: those to the agents, by node id. `urgent`: the clients have no node.

    `drops` and `open_flows`: who sees to what becomes of those who answer, and of their connections.
    """

    def __init__(
        self,
        store: Store,
        vault: Vault,
        drain: DrainSettings,
        connections: Mapping[str, AgentConnection],
        drops: Drops,
        open_flows: OpenFlows,
        *,
        urgent: bool = False,
    ) -> None:
        self._store = store
        self._vault = vault
        self._drain = drain
        self._connections = connections
        self._drops = drops
        self._open_flows = open_flows
        self._tries_s = QUICK_TRIES_S if urgent else ()
        self._under_way: dict[tuple[str, str], asyncio.Task[float | None]] = {}

    async def close(self) -> None:
        """End the calls that are under way; safe to call twice."""
        tasks = list(self._under_way.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def round(self, operation_id: str) -> float | None:
        """Let the new homes call the live peers, and write the answers down.

        Return after how many s to do another round, or None for at once.
        """
        reachable = {node_id for node_id, connection in self._connections.items() if connection.connected}
        # What is read of these may be from before their answers: who is due of them, the next round sees.
        busy = {node_id for operation, node_id in self._under_way if operation == operation_id}
        interface, due = await in_thread(self._due, operation_id, reachable)
        waiting: dict[str, list[TakeoverCall]] = defaultdict(list)
        for call in due:
            waiting[call.node_id].append(call)
        for node_id in (reachable & waiting.keys()) - busy:
            self._begin(operation_id, node_id, interface, waiting[node_id])
        mine = [task for (operation, _), task in self._under_way.items() if operation == operation_id]
        if not mine:
            return None if busy else AGAIN_S
        done, _ = await asyncio.wait(mine, timeout=LOOK_S, return_when=asyncio.FIRST_COMPLETED)
        return max((pause for task in done if (pause := task.result()) is not None), default=None)

    def _due(self, operation_id: str, reachable: set[str]) -> tuple[str, list[TakeoverCall]]:
        with self._store.write() as tx:
            return takeovers.due(tx, self._vault, operation_id, live_within_s=self._drain.live_s, reachable=reachable)

    def _begin(self, operation_id: str, node_id: str, interface: str, waiting: list[TakeoverCall]) -> None:
        task = asyncio.create_task(self._call_all(operation_id, node_id, interface, waiting))
        self._under_way[operation_id, node_id] = task
        task.add_done_callback(lambda _: self._under_way.pop((operation_id, node_id), None))

    async def _call_all(
        self, operation_id: str, node_id: str, interface: str, waiting: list[TakeoverCall]
    ) -> float | None:
        """Call peers in batches; return the pause in s before the next round for this node, None for none."""
        pauses: list[float | None] = []
        calling: set[asyncio.Task[float | None]] = set()
        most = AT_ONCE if self._tries_s else 1
        try:
            for batch, timeout_s in self._batches(waiting):
                early = _Early(lambda calls, said: self._settle(operation_id, node_id, interface, calls, said))
                task = asyncio.create_task(self._call_batch(operation_id, node_id, interface, batch, timeout_s, early))
                calling.add(task)
                await early.all_called(task)
                wait_s = 0.0 if len(calling) < most else None
                done, calling = await asyncio.wait(calling, timeout=wait_s, return_when=asyncio.FIRST_COMPLETED)
                pauses += [each.result() for each in done]
            pauses += await asyncio.gather(*calling)
        except (TransientError, PermanentError, PanelError) as error:
            log.warning("takeover.failed", node_id=node_id, peers=len(waiting), error=str(error))
            await asyncio.gather(*calling, return_exceptions=True)
            return AGAIN_S
        finally:
            for task in calling:
                task.cancel()
        return max((pause for pause in pauses if pause is not None), default=None)

    async def _call_batch(
        self,
        operation_id: str,
        node_id: str,
        interface: str,
        batch: list[TakeoverCall],
        timeout_s: float,
        early: "_Early",
    ) -> float | None:
        """Call some peers; return the pause in s before they are called again, None for none."""
        called, result = await self._call(node_id, interface, batch, timeout_s, early)
        faultpoints.reached("moves.takeover.answered")
        await self._settle(operation_id, node_id, interface, await early.left(called), result)
        return AGAIN_S if result.unanswered and timeout_s == self._drain.takeover_timeout_s else None

    async def _settle(
        self, operation_id: str, node_id: str, interface: str, called: list[TakeoverCall], result: TakeoverResult
    ) -> None:
        generation = await in_thread(self._record, operation_id, node_id, called, result)
        moved = [call for call in called if call.public_key in result.answered]
        self._open_flows.moved(interface, moved)
        if generation is not None:
            self._drops.watch(operation_id, interface, moved, generation)

    def _batches(self, waiting: Sequence[TakeoverCall]) -> Iterator[tuple[list[TakeoverCall], float]]:
        """Give batches of peers that were called equally often, with how long to wait for their answers in s."""
        longest = self._drain.takeover_timeout_s
        for attempts, group in groupby(sorted(waiting, key=_attempts), key=_attempts):
            timeout_s = min(longest, self._tries_s[attempts]) if attempts < len(self._tries_s) else longest
            alike = list(group)
            for start in range(0, len(alike), self._drain.takeover_batch):
                yield alike[start : start + self._drain.takeover_batch], timeout_s

    async def _call(
        self, node_id: str, interface: str, batch: list[TakeoverCall], timeout_s: float, early: "_Early"
    ) -> tuple[list[TakeoverCall], TakeoverResult]:
        """Call peers; return the calls as they were made, and who answered."""
        made = await relaying.begin(self._connections, interface, batch)
        if any(call.via is not None for call in made.calls):
            faultpoints.reached("moves.relay.begun")
        result: TakeoverResult | None = None
        try:
            result = await self._call_at(node_id, interface, made.calls, timeout_s, early)
        finally:
            await relaying.end(self._connections, interface, made, () if result is None else result.answered)
        if any(call.via is not None for call in made.calls):
            faultpoints.reached("moves.relay.answered")
        return made.calls, result

    async def _call_at(
        self, node_id: str, interface: str, batch: list[TakeoverCall], timeout_s: float, early: "_Early"
    ) -> TakeoverResult:
        connection = self._connections.get(node_id)
        if connection is None:
            raise TransientError(Reason("node {node_id} has no agent any more", node_id=node_id))
        peers = tuple(TakeoverPeer(PublicKey(call.public_key), call.endpoint, call.source) for call in batch)
        planned = not self._tries_s
        settle_s = SETTLE_S if len(batch) > 1 or not planned else 0.0
        takeover = Takeover(peers=peers, timeout_s=timeout_s, planned=planned, settle_s=settle_s)
        return await connection.client.takeover(
            InterfaceName(interface), takeover, lambda said: early.hear(batch if planned else [], said)
        )

    def _record(self, operation_id: str, node_id: str, batch: list[TakeoverCall], result: TakeoverResult) -> int | None:
        answered = {call.peer_id: call.endpoint for call in batch if call.public_key in result.answered}
        unanswered = [call.peer_id for call in batch if call.public_key in result.unanswered]
        sources = {call.peer_id: call.source for call in batch if call.source is not None}
        with self._store.write() as tx:
            generation = takeovers.record_answers(tx, operation_id, node_id, answered, unanswered, sources)
            for relaying_id in {call.via.node_id for call in batch if call.via is not None}:
                tx.wake(Topic.RELAY, relaying_id)
        return generation


class _Early:
    """Who of a batch has moved already, while others are still waited for. Those who are relayed count at the end."""

    def __init__(self, settle: Callable[[list[TakeoverCall], TakeoverResult], Coroutine[None, None, None]]) -> None:
        self._settle = settle
        self._writing: list[asyncio.Task[None]] = []
        self._settled: set[str] = set()
        self._called = asyncio.Event()

    async def all_called(self, task: asyncio.Task[float | None]) -> None:
        """Wait until all of the batch have been called, or its `task` has ended: not all agents say so before."""
        task.add_done_callback(lambda _: self._called.set())
        await self._called.wait()

    def hear(self, batch: list[TakeoverCall], said: TakeoverResult) -> None:
        """Have those of `batch` written down who have answered."""
        self._called.set()
        calls = [call for call in batch if call.public_key in said.answered and call.via is None]
        self._settled |= {call.peer_id for call in calls}
        if calls:
            self._writing.append(asyncio.create_task(self._settle(calls, said)))

    async def left(self, called: list[TakeoverCall]) -> list[TakeoverCall]:
        """Return who is not written down, when all others are."""
        await asyncio.gather(*self._writing)
        return [call for call in called if call.peer_id not in self._settled]


def _attempts(call: TakeoverCall) -> int:
    return call.attempts
