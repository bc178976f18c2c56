"""Rounds of takeover: the new homes of an operation's live peers call them, and those that answer are settled."""

import asyncio
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import structlog

from wgfleet.panel import faultpoints
from wgfleet.panel.errors import PermanentError, TransientError
from wgfleet.panel.reconcile.links import NodeLink
from wgfleet.panel.reconcile.seam import in_thread
from wgfleet.panel.services import calls
from wgfleet.panel.services.calls import Call
from wgfleet.panel.settings.model import Drain
from wgfleet.panel.store import Store
from wgfleet.protocol.ids import InterfaceName
from wgfleet.protocol.keys import PublicKey
from wgfleet.protocol.messages import Takeover, TakeoverPeer

AGAIN_S = 1.0  # a client that did not answer is called again; WireGuard itself waits 5 s

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Called:
    """What came of one batch of calls."""

    answered: tuple[str, ...]
    unanswered: tuple[str, ...]


class Takeovers:
    """Moves live sessions. `links` are the lines to the agents, by node id."""

    def __init__(self, store: Store, drain: Drain, links: Mapping[str, NodeLink]) -> None:
        self._store = store
        self._drain = drain
        self._links = links

    async def round(self, operation_id: str) -> float | None:
        """Have the new homes call the live peers, and settle those that answered.

        Return after how many s to do another round, or None where all that were called have answered.
        """
        interface, due = await in_thread(self._due, operation_id)
        waiting: dict[str, list[Call]] = defaultdict(list)
        for call in due:
            waiting[call.node_id].append(call)
        ready = [node_id for node_id in waiting if (link := self._links.get(node_id)) is not None and link.connected]
        rounds = [self._call_in_batches(operation_id, node_id, interface, waiting[node_id]) for node_id in ready]
        settled = sum(await asyncio.gather(*rounds))
        # Whoever is left did not answer, or waits for a node: look again a little later.
        return None if due and settled == len(due) else AGAIN_S

    def _due(self, operation_id: str) -> tuple[str, list[Call]]:
        with self._store.write() as tx:
            return calls.due(tx, operation_id, live_within_s=self._drain.live_s)

    async def _call_in_batches(self, operation_id: str, node_id: str, interface: str, waiting: list[Call]) -> int:
        settled = 0
        for start in range(0, len(waiting), self._drain.takeover_batch):
            batch = waiting[start : start + self._drain.takeover_batch]
            called = await self._call(node_id, interface, batch)
            if called is None:
                break
            faultpoints.reached("removal.takeover.answered")
            await in_thread(self._settle, operation_id, called)
            settled += len(called.answered)
        return settled

    async def _call(self, node_id: str, interface: str, batch: list[Call]) -> Called | None:
        peers = tuple(TakeoverPeer(PublicKey(call.public_key), call.endpoint, call.source) for call in batch)
        takeover = Takeover(peers=peers, timeout_s=self._drain.takeover_timeout_s)
        try:
            result = await self._links[node_id].client.takeover(InterfaceName(interface), takeover)
        except (TransientError, PermanentError) as error:
            log.warning("takeover.failed", node_id=node_id, peers=len(batch), error=str(error))
            return None
        by_key = {call.public_key: call.peer_id for call in batch}
        answered = tuple(by_key[key] for key in result.answered if key in by_key)
        unanswered = tuple(by_key[key] for key in result.unanswered if key in by_key)
        return Called(answered, unanswered)

    def _settle(self, operation_id: str, called: Called) -> None:
        with self._store.write() as tx:
            calls.settle(tx, operation_id, called.answered, called.unanswered)
