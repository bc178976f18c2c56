"""Peers that move from node to node, from rows: place them, take their sessions over, wait for the old nodes, close.

Failovers, drains and rebalances are this; what differs between them is a service module each (`Work`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from wgfleet.panel import clock, faultpoints
from wgfleet.panel.reconcile.agents.links import NodeLink
from wgfleet.panel.reconcile.engine.threads import in_thread
from wgfleet.panel.reconcile.moves.session_reports import Reports
from wgfleet.panel.reconcile.moves.takeovers import Takeovers
from wgfleet.panel.services import operations
from wgfleet.panel.services.moves import steps
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


@dataclass(frozen=True, slots=True)
class Stage:
    """How far an operation is, read at once: clients may be without a node meanwhile, and each read costs a wait.

    `waiting`: sessions are to be called. `sources`: the nodes that have to be heard before its peers are placed.
    """

    finished: bool
    placed: bool
    waiting: bool
    sources: tuple[str, ...]


class MoveReconciler:
    """Carries operations of one kind of work out. `links`: those to the agents, by node id."""

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
        stage = await in_thread(self._stage, operation_id)
        if stage.finished:
            return None
        waiting = stage.waiting
        if not stage.placed:
            if not await self._reports.gather(stage.sources):
                return POLL_S
            waiting = await in_thread(self._place, operation_id)
            faultpoints.reached("moves.place.after")
        while waiting:
            pause = await self._takeovers.round(operation_id)
            faultpoints.reached("moves.takeover.after")
            if pause is not None:
                return pause
            waiting = await in_thread(self._waiting, operation_id)
        if await in_thread(self._awaited, operation_id):
            return POLL_S
        await in_thread(self._close, operation_id)
        return None

    def _stage(self, operation_id: str) -> Stage:
        with self._store.read() as tx:
            finished = operations.get(tx, operation_id).finished_at is not None
            placed = steps.placed(tx, operation_id) or self._work.over(tx, operation_id) is not None
            return Stage(
                finished=finished,
                placed=placed,
                waiting=placed and self._is_waiting(tx, operation_id),
                sources=() if placed else tuple(self._work.sources(tx, operation_id)),
            )

    def _place(self, operation_id: str) -> bool:
        """Place the peers; tell whether sessions are to be called."""
        with self._store.write() as tx:
            self._work.place(tx, operation_id, live_within_s=self._drain.live_s)
            return self._is_waiting(tx, operation_id)

    def _waiting(self, operation_id: str) -> bool:
        with self._store.read() as tx:
            return self._is_waiting(tx, operation_id)

    def _is_waiting(self, tx: Tx, operation_id: str) -> bool:
        return self._work.over(tx, operation_id) is None and steps.waiting(tx, operation_id)

    def _awaited(self, operation_id: str) -> bool:
        """Whether a node that lost sessions may still say that it has dropped those peers."""
        with self._store.read() as tx:
            holding, ends_at = steps.holding(tx, operation_id), steps.ends_at(tx, operation_id)
        in_time = clock.now() < ends_at + self._drain.unreachable_s
        return in_time and any(self._reports.may_come(node_id) for node_id in holding)

    def _close(self, operation_id: str) -> None:
        with self._store.write() as tx:
            self._work.close(tx, operation_id)
