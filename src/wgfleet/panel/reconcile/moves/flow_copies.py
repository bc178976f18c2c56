"""Copies of what nodes carry: their lists of users' open TCP connections, for the case that a node dies.

A program that only receives learns nothing of the death, since it sends nothing that the next node could refuse: it is
made to, and for that somebody has to know its connection. With a backbone the nodes tell each other. Without one the
panel keeps each node's latest list, in memory alone, where it looks at nothing before the node has died.
"""

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from wgfleet.panel import clock
from wgfleet.panel.errors import PanelError, PermanentError, TransientError
from wgfleet.panel.reconcile.agents.connection import AgentConnection
from wgfleet.panel.reconcile.engine.tasks import keep_looking
from wgfleet.panel.reconcile.engine.threads import in_thread
from wgfleet.panel.store import Store
from wgfleet.panel.store import assignments as assignment_rows
from wgfleet.protocol.features import Feature
from wgfleet.protocol.flow_owners import of_peers
from wgfleet.protocol.keys import PublicKey
from wgfleet.protocol.open_flows import FlowListing

EVERY_S = 2.0
READ_EVERY_S = 15.0  # which nodes are to be asked
_FOR_EACH_S = 0.05  # of all lists: those of 200 nodes are asked for every 10 s
_SHARE = 50  # an agent looks for a fiftieth of its time at most
_AT_ONCE = 8
_KEPT_S = 600.0  # after the node was heard last: by then its users have moved

Carrier = tuple[str, str]
"""A node's id, and an interface."""


@dataclass(frozen=True, slots=True)
class _Copy:
    listing: FlowListing
    at: float


class FlowCopies:
    """Runs until its task is cancelled. `connections`: those to the agents, by node id."""

    def __init__(self, store: Store, connections: Mapping[str, AgentConnection]) -> None:
        self._store = store
        self._connections = connections
        self._copies: dict[Carrier, _Copy] = {}
        self._wanted: list[Carrier] = []
        self._read_at = float("-inf")
        self._next_at: dict[Carrier, float] = {}

    async def run(self) -> None:
        """Ask, again and again."""
        await keep_looking(self.look, EVERY_S, "flow_copies.not_made")

    async def look(self) -> None:
        """Ask those nodes for their lists whose turn it is; one that does not answer keeps the list that there is."""
        now = clock.monotonic()
        if now - self._read_at >= READ_EVERY_S:
            self._wanted = await in_thread(self._read)
            self._read_at = now
            self._next_at = {carrier: self._next_at.get(carrier, now) for carrier in self._wanted}
        self._copies = {carrier: copy for carrier, copy in self._copies.items() if now - copy.at < _KEPT_S}
        turns = asyncio.Semaphore(_AT_ONCE)
        await asyncio.gather(*(self._ask(carrier, turns) for carrier in self._wanted if self._is_due(carrier, now)))

    def of(
        self, node_id: str, interface: str, networks: Mapping[PublicKey, Collection[str]]
    ) -> dict[PublicKey, tuple[bytes, ...]]:
        """Return the connections that a node had of some peers, given with their networks, when it was heard last."""
        copy = self._copies.get((node_id, interface))
        return {} if copy is None else of_peers(networks, copy.listing.flows())

    def _is_due(self, carrier: Carrier, now: float) -> bool:
        connection = self._connections.get(carrier[0])
        if connection is None or not connection.connected or Feature.FLOW_LISTING not in connection.features:
            return False
        return self._next_at[carrier] <= now

    async def _ask(self, carrier: Carrier, turns: asyncio.Semaphore) -> None:
        node_id, interface = carrier
        took_s = 0.0
        async with turns:
            try:
                listing = await self._connections[node_id].client.flow_listing(interface)
            except (TransientError, PermanentError, PanelError, KeyError):
                pass  # it is late, or has gone, which others judge
            else:
                self._copies[carrier] = _Copy(listing, clock.monotonic())
                took_s = listing.took_s
        pause_s = max(EVERY_S, _FOR_EACH_S * len(self._wanted), _SHARE * took_s)
        self._next_at[carrier] = clock.monotonic() + pause_s - EVERY_S / 2

    def _read(self) -> list[Carrier]:
        with self._store.read() as tx:
            return assignment_rows.carriers(tx)
