"""Node summaries: whether a node is connected, what its agent knows and what its last cycle did.

Written to its row when that changes. Where many nodes have news at once, as when the panel starts, they share a
transaction. That a cycle went well is written a little later (`routine_news.py`): what the node is to have next, and
clients wait for at times, does not wait for words.
"""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wgfleet.panel.agents import claims
from wgfleet.panel.errors import NotFound, Unavailable
from wgfleet.panel.reconcile.agents.connection import AgentConnection
from wgfleet.panel.reconcile.agents.node_cycle import NodeCycle
from wgfleet.panel.reconcile.engine.threads import in_thread
from wgfleet.panel.services.fleet import node_agents
from wgfleet.panel.store import Store, Tx
from wgfleet.protocol.reasons import Reason

if TYPE_CHECKING:
    from wgfleet.protocol.features import Feature

_MAX_NOTE = 500  # characters: it is the agent's text
_MAX_SUMMARY = 4000  # in which agents' names and refusals are quoted


@dataclass(frozen=True, slots=True)
class Summary:
    """What a node's row is to say. `known`: the features of its agent, which says its `version`; None: as it is."""

    node_id: str
    connected: bool
    last_seen_at: float | None
    version: str | None
    known: "frozenset[Feature] | None"
    text: str


class SummaryWriter:
    """Remembers what it wrote last for each node, so that a cycle that found nothing to do costs no write."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._written: dict[str, tuple[bool, frozenset[Feature], str]] = {}
        self._due: dict[str, Summary] = {}
        self._turn = asyncio.Lock()

    async def write(self, connection: AgentConnection, cycle: NodeCycle) -> None:
        """Write a node's summary where it is new. An idle cycle leaves the one of the last change in place."""
        node_id, status = connection.node_id, connection.status
        before, state = self._written.get(node_id), (connection.connected, connection.features)
        if before is not None and before[:2] == state and (cycle.idle or cycle.summary == before[2]):
            return
        notes = status.notes if connection.connected and status else ()
        self._due[node_id] = Summary(
            node_id,
            connection.connected,
            connection.last_seen_at,
            status.version if status else None,
            connection.features if status else None,
            _bounded(with_notes(cycle.summary, notes)),
        )
        if cycle.routine and before is not None and before[:2] == state:
            self._written[node_id] = (*state, cycle.summary)
            return
        async with self._turn:
            # Who has the turn writes what has come up meanwhile; the others then find theirs written.
            if node_id in self._due:
                await self._write_due(node_id)
        self._written[node_id] = (*state, cycle.summary)

    def take(self) -> dict[str, Summary]:
        """Return what is due by node id, for who writes it, and forget it."""
        due, self._due = self._due, {}
        return due

    def give_back(self, due: Mapping[str, Summary]) -> None:
        """Keep what could not be written."""
        self._due = {**due, **self._due}

    def doubt(self, node_ids: Iterable[str]) -> None:
        """Have the next summaries of some nodes written in any case."""
        for node_id in node_ids:
            self._written.pop(node_id, None)

    async def _write_due(self, node_id: str) -> None:
        """Write all that are due. What breaks on one agent's words keeps no other's back, nor this node's own."""
        due = self.take()
        try:
            await in_thread(self._write, due.values())
        except (Unavailable, asyncio.CancelledError):
            self.give_back(due)  # each is tried again by who waits for it
            raise
        except Exception:  # noqa: BLE001 - whatever it is: what was of this node is raised again
            own = due.pop(node_id)
            self.give_back(due)
            await in_thread(self._write, [own])

    def _write(self, due: Iterable[Summary]) -> None:
        with self._store.write() as tx:
            write_in(tx, due)


def write_in(tx: Tx, due: Iterable[Summary]) -> None:
    """Write summaries to the rows of their nodes."""
    for each in due:
        try:
            node_agents.reported(
                tx,
                each.node_id,
                connected=each.connected,
                last_seen_at=each.last_seen_at,
                version=each.version,
                known=each.known,
                summary=each.text,
            )
        except NotFound:
            continue  # it was deleted meanwhile


def _bounded(text: str) -> str:
    said = claims.words(text, _MAX_SUMMARY)
    return text if said == text else said


def with_notes(summary: str, notes: tuple[str, ...]) -> str:
    """Add what an agent says about its machine as a whole: its newest note, and how many there are."""
    if not notes:
        return summary
    more = Reason(" ({count} such notes)", count=len(notes)) if len(notes) > 1 else ""
    return Reason("{what}; the agent says: {note}{more}", what=summary, note=notes[-1][:_MAX_NOTE], more=more)
