"""Node summaries: whether a node is connected, what its agent knows and what its last cycle did.

Written to its row when that changes.
"""

from typing import TYPE_CHECKING

from wgfleet.panel.reconcile.agents.connection import AgentConnection
from wgfleet.panel.reconcile.agents.pusher import NodeCycle
from wgfleet.panel.reconcile.engine.threads import in_thread
from wgfleet.panel.services.fleet import nodes
from wgfleet.panel.store import Store

if TYPE_CHECKING:
    from wgfleet.protocol.features import Feature

_MAX_NOTE = 500  # characters: it is the agent's text


class SummaryWriter:
    """Remembers what it wrote last for each node, so that a cycle that found nothing to do costs no write."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._written: dict[str, tuple[bool, frozenset[Feature], str]] = {}

    async def write(self, connection: AgentConnection, cycle: NodeCycle) -> None:
        """Write a node's summary where it is new. An idle cycle leaves the one of the last change in place."""
        before, state = self._written.get(connection.node_id), (connection.connected, connection.features)
        if before is not None and before[:2] == state and (cycle.idle or cycle.summary == before[2]):
            return
        self._written[connection.node_id] = (*state, cycle.summary)
        notes = connection.status.notes if connection.connected and connection.status else ()
        await in_thread(self._write, connection, with_notes(cycle.summary, notes))

    def _write(self, connection: AgentConnection, summary: str) -> None:
        with self._store.write() as tx:
            nodes.reported(
                tx,
                connection.node_id,
                connected=connection.connected,
                last_seen_at=connection.last_seen_at,
                version=connection.status.version if connection.status else None,
                known=connection.features if connection.status else None,
                summary=summary,
            )


def with_notes(summary: str, notes: tuple[str, ...]) -> str:
    """Add what an agent says about its machine as a whole: its newest note, and how many there are."""
    if not notes:
        return summary
    more = f" ({len(notes)} such notes)" if len(notes) > 1 else ""
    return f"{summary}; the agent says: {notes[-1][:_MAX_NOTE]}{more}"
