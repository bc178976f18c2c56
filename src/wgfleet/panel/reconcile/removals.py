"""The removal of a node from a config, one idempotent step at a time. `domain.removal` says which comes next.

All state is in rows: the operation, the assignment's phase, homes, moves, the cleanup owed. Killed anywhere, it goes
on from there.
"""

import asyncio
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import structlog

from wgfleet.panel import clock, faultpoints
from wgfleet.panel.domain.removal import RemovalStep, RemovalView, next_step
from wgfleet.panel.errors import PermanentError, TransientError
from wgfleet.panel.reconcile.links import NodeLink
from wgfleet.panel.reconcile.seam import in_thread
from wgfleet.panel.services import operations, removals
from wgfleet.panel.services.removals import Call
from wgfleet.panel.settings.model import Drain
from wgfleet.panel.store import Store
from wgfleet.panel.vault import Vault
from wgfleet.protocol.ids import InterfaceName
from wgfleet.protocol.keys import PublicKey
from wgfleet.protocol.messages import Takeover, TakeoverPeer

AGAIN_S = 1.0  # a client that did not answer is called again; WireGuard itself waits 5 s
POLL_S = 0.25  # for a node that is deleting an interface, or has not been heard of yet
NEED_SESSIONS = {RemovalStep.PLACE, RemovalStep.TAKEOVER, RemovalStep.RETIRE}

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Called:
    """What came of one batch of calls."""

    answered: tuple[str, ...]
    unanswered: tuple[str, ...]


class RemovalReconciler:
    """Carries removals out. `links` are the lines to the agents, by node id."""

    def __init__(self, store: Store, vault: Vault, drain: Drain, links: Mapping[str, NodeLink]) -> None:
        self._store = store
        self._vault = vault
        self._drain = drain
        self._links = links
        self._waiting_since: dict[str, float] = {}

    async def reconcile(self, operation_id: str) -> float | None:
        """Do what can be done now; return after how many s to look again, or None when it has ended."""
        while True:
            view = await in_thread(self._view, operation_id)
            step = next_step(view, clock.now())
            if step is RemovalStep.DONE:
                self._waiting_since.pop(operation_id, None)
                return None
            if step in NEED_SESSIONS and not await self._heard(operation_id):
                return POLL_S
            faultpoints.reached(f"removal.{step}.before")
            pause = await self._do(step, operation_id)
            faultpoints.reached(f"removal.{step}.after")
            if pause is not None:
                return pause

    async def _heard(self, operation_id: str) -> bool:
        """Have what the leaving node last said of its sessions in the rows; False while it may still say it.

        Straight after a start the node has not been heard of, and its clients would be taken for idle and be lost.
        """
        node_id = await in_thread(self._node_id, operation_id)
        link = self._links.get(node_id)
        if link is not None and link.connected:
            self._waiting_since.pop(operation_id, None)
            await link.flush()
            return True
        since = self._waiting_since.setdefault(operation_id, clock.monotonic())
        return clock.monotonic() - since >= self._drain.unreachable_s

    def _node_id(self, operation_id: str) -> str:
        with self._store.read() as tx:
            return operations.get(tx, operation_id).node_id or ""

    def _view(self, operation_id: str) -> RemovalView:
        with self._store.read() as tx:
            return removals.view(tx, operation_id)

    async def _do(self, step: RemovalStep, operation_id: str) -> float | None:
        if step is RemovalStep.TAKEOVER:
            return await self._take_over(operation_id)
        if step is RemovalStep.CLEAN:
            return POLL_S
        await in_thread(self._write, step, operation_id)
        return None

    def _write(self, step: RemovalStep, operation_id: str) -> None:
        with self._store.write() as tx:
            if step is RemovalStep.BACKUP:
                removals.back_up(tx, self._vault, operation_id)
            elif step is RemovalStep.PLACE:
                removals.place(tx, operation_id, live_within_s=self._drain.live_s)
            elif step is RemovalStep.RETIRE:
                removals.retire(
                    tx, operation_id, live_within_s=self._drain.live_s, clean_within_s=self._drain.unreachable_s
                )
            else:
                removals.close(tx, operation_id)

    async def _take_over(self, operation_id: str) -> float | None:
        """Have the new homes call the live peers, and settle those that answered; one round."""
        interface, calls = await in_thread(self._calls, operation_id)
        waiting: dict[str, list[Call]] = defaultdict(list)
        for call in calls:
            waiting[call.node_id].append(call)
        ready = [node_id for node_id in waiting if (link := self._links.get(node_id)) is not None and link.connected]
        rounds = [self._call_in_batches(operation_id, node_id, interface, waiting[node_id]) for node_id in ready]
        settled = sum(await asyncio.gather(*rounds))
        # Whoever is left did not answer, or waits for a node: look again a little later.
        return None if calls and settled == len(calls) else AGAIN_S

    def _calls(self, operation_id: str) -> tuple[str, list[Call]]:
        with self._store.write() as tx:
            return removals.calls(tx, operation_id, live_within_s=self._drain.live_s)

    async def _call_in_batches(self, operation_id: str, node_id: str, interface: str, calls: list[Call]) -> int:
        settled = 0
        for start in range(0, len(calls), self._drain.takeover_batch):
            batch = calls[start : start + self._drain.takeover_batch]
            called = await self._call(node_id, interface, batch)
            if called is None:
                break
            faultpoints.reached("removal.takeover.answered")
            await in_thread(self._settle, operation_id, called)
            settled += len(called.answered)
        return settled

    async def _call(self, node_id: str, interface: str, batch: list[Call]) -> Called | None:
        peers = tuple(TakeoverPeer(PublicKey(call.public_key), call.endpoint) for call in batch)
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
            removals.settle(tx, operation_id, called.answered, called.unanswered)
