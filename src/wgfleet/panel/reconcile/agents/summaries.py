"""Node summaries: whether a node is connected and what its last cycle did, written to its row when that changes."""

from wgfleet.panel.reconcile.agents.links import NodeLink
from wgfleet.panel.reconcile.agents.pusher import NodeCycle
from wgfleet.panel.reconcile.engine.threads import in_thread
from wgfleet.panel.services.fleet import nodes
from wgfleet.panel.store import Store


class SummaryWriter:
    """Remembers what it wrote last for each node, so that a cycle that found nothing to do costs no write."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._written: dict[str, tuple[bool, str]] = {}

    async def write(self, link: NodeLink, cycle: NodeCycle) -> None:
        """Write a node's summary where it is new. An idle cycle leaves the one of the last change in place."""
        before = self._written.get(link.node_id)
        if before is not None and before[0] is link.connected and (cycle.idle or cycle.summary == before[1]):
            return
        self._written[link.node_id] = (link.connected, cycle.summary)
        await in_thread(self._write, link, cycle.summary)

    def _write(self, link: NodeLink, summary: str) -> None:
        with self._store.write() as tx:
            nodes.reported(
                tx,
                link.node_id,
                connected=link.connected,
                last_seen_at=link.last_seen_at,
                version=link.status.version if link.status else None,
                summary=summary,
            )
