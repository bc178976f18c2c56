"""Peers that move from node to node, from rows: place them, take their sessions over, wait for the old nodes, close.

Failovers, drains and rebalances are this; what differs between them is a service module each (`Work`).
"""

from collections.abc import Mapping
from typing import Protocol

from wgfleet.panel import clock, faultpoints
from wgfleet.panel.reconcile.links import NodeLink
from wgfleet.panel.reconcile.reports import Reports
from wgfleet.panel.reconcile.seam import in_thread
from wgfleet.panel.reconcile.takeovers import Takeovers
from wgfleet.panel.services import moves, operations
from wgfleet.panel.settings.model import Drain
from wgfleet.panel.store import Store, Tx

POLL_S = 0.25  # for a node that has not been heard of yet, or that has not dropped the peers it lost


class Work(Protocol):
    """What an operation of some kind does at each step; all of it in the caller's transaction.

    `URGENT`: clients are without a node, so nobody waits for its report and calls are soon repeated. `over` says in
    words why there is nothing more to move, or None while there is.
    """

    URGENT: bool

    def sources(self, tx: Tx, operation_id: str) -> list[str]: ...
    def place(self, tx: Tx, operation_id: str, *, live_within_s: float) -> None: ...
    def over(self, tx: Tx, operation_id: str) -> str | None: ...
    def close(self, tx: Tx, operation_id: str) -> None: ...


class MoveReconciler:
    """Carries operations of one kind of work out. `links` are the lines to the agents, by node id."""

    def __init__(self, store: Store, drain: Drain, links: Mapping[str, NodeLink], work: Work) -> None:
        self._store = store
        self._drain = drain
        self._work = work
        self._takeovers = Takeovers(store, drain, links, urgent=work.URGENT)
        self._reports = Reports(links, 0.0 if work.URGENT else drain.unreachable_s)

    async def close(self) -> None:
        """End the calls that are under way."""
        await self._takeovers.close()

    async def reconcile(self, operation_id: str) -> float | None:
        """Do what can be done now; return after how many s to look again, or None when it has ended."""
        if await in_thread(self._finished, operation_id):
            return None
        if not await in_thread(self._placed, operation_id):
            if not await self._reports.gather(await in_thread(self._sources, operation_id)):
                return POLL_S
            await in_thread(self._place, operation_id)
            faultpoints.reached("moves.place.after")
        while await in_thread(self._waiting, operation_id):
            pause = await self._takeovers.round(operation_id)
            faultpoints.reached("moves.takeover.after")
            if pause is not None:
                return pause
        if await in_thread(self._awaited, operation_id):
            return POLL_S
        await in_thread(self._close, operation_id)
        return None

    def _finished(self, operation_id: str) -> bool:
        with self._store.read() as tx:
            return operations.get(tx, operation_id).finished_at is not None

    def _sources(self, operation_id: str) -> list[str]:
        with self._store.read() as tx:
            return self._work.sources(tx, operation_id)

    def _placed(self, operation_id: str) -> bool:
        with self._store.read() as tx:
            return moves.placed(tx, operation_id) or self._work.over(tx, operation_id) is not None

    def _place(self, operation_id: str) -> None:
        with self._store.write() as tx:
            self._work.place(tx, operation_id, live_within_s=self._drain.live_s)

    def _waiting(self, operation_id: str) -> bool:
        with self._store.read() as tx:
            return self._work.over(tx, operation_id) is None and moves.waiting(tx, operation_id)

    def _awaited(self, operation_id: str) -> bool:
        """Whether a node that lost sessions may still say that it has dropped those peers."""
        with self._store.read() as tx:
            holding, ends_at = moves.holding(tx, operation_id), moves.ends_at(tx, operation_id)
        in_time = clock.now() < ends_at + self._drain.unreachable_s
        return in_time and any(self._reports.may_come(node_id) for node_id in holding)

    def _close(self, operation_id: str) -> None:
        with self._store.write() as tx:
            self._work.close(tx, operation_id)
