"""Connections to the agents: one for each node that has an agent, and the certificate that the panel shows."""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import structlog

from wgfleet.panel import clock
from wgfleet.panel.agents.authority import Authority, renewal_due
from wgfleet.panel.agents.client import AgentClient
from wgfleet.panel.agents.tls import client_context, use_identity
from wgfleet.panel.errors import PanelError
from wgfleet.panel.reconcile.agents.clock_check import LIMIT_S, panel_ahead_s, told
from wgfleet.panel.reconcile.agents.connection import AgentConnection
from wgfleet.panel.reconcile.agents.panel_start import BegunStart, go_on
from wgfleet.panel.reconcile.engine.tasks import BackgroundTasks
from wgfleet.panel.reconcile.engine.threads import in_thread
from wgfleet.panel.services import certificates
from wgfleet.panel.store import Store
from wgfleet.panel.store import nodes as node_rows
from wgfleet.protocol.panel_name import PanelName

RENEWAL_CHECK_S = 30.0

Address = tuple[str, int]


@dataclass(frozen=True, slots=True)
class _Row:
    """What a connection to a node depends on. `address` None: there is no agent.

    `revoked`: a key was revoked that the agent could show so far; `own_revoked`: this panel's own certificate was.
    """

    address: Address | None
    peers: int
    keys: frozenset[str]
    revoked: bool
    own_revoked: bool


log = structlog.get_logger()


class Connections(Mapping[str, AgentConnection]):
    """The connections by node id. `changed` is called with a node's id when its reconciler has something to look at.

    `panel` is how this panel names itself to agents.
    """

    def __init__(
        self,
        store: Store,
        authority: Authority,
        identity_days: int,
        tasks: BackgroundTasks,
        changed: Callable[[str], None],
        start: BegunStart,
    ) -> None:
        self.panel = start.name
        self._store = store
        self._authority = authority
        self._identity_days = identity_days
        self._tasks = tasks
        self._changed = changed
        self._own = start.certificate
        self._tls = client_context(authority.certificate_pem, self._own.identity)
        self._turn = asyncio.Lock()
        self._clock_wrong = False
        self._connections: dict[str, AgentConnection] = {}
        self._addresses: dict[str, Address] = {}
        self._opened_with: dict[str, str] = {}
        self._revoked: set[str] = set()

    def __getitem__(self, node_id: str) -> AgentConnection:
        return self._connections[node_id]

    def __iter__(self) -> Iterator[str]:
        return iter(self._connections)

    def __len__(self) -> int:
        return len(self._connections)

    async def connection_to(self, node_id: str) -> AgentConnection | None:
        """Return the connection to a node; None where there is no agent.

        It is opened again where its address changed, its agent has enrolled again, or a certificate was revoked that
        either side may have shown on it.
        """
        connection = self._connections.get(node_id)
        row = await in_thread(self._row, node_id, frozenset() if connection is None else connection.client.keys)
        if row.own_revoked:
            await self._replace_identity()
        address, peers, keys = row.address, row.peers, row.keys
        if (
            connection is not None
            and self._addresses.get(node_id) == address
            and not row.revoked
            and _is_same(connection, keys)
            and self._opened_with.get(node_id) not in self._revoked
        ):
            connection.client.peers = peers
            connection.client.accept_keys(keys)
            return connection
        if connection is not None:
            del self._connections[node_id]
            await connection.close()
        if address is None:
            return None
        client = self.client(*address, node_id)
        client.peers = peers
        client.accept_keys(keys)
        connection = AgentConnection(node_id, client, self._store, lambda: self._changed(node_id))
        self._connections[node_id], self._addresses[node_id] = connection, address
        self._opened_with[node_id] = self._own.id
        connection.start(self._tasks)
        return connection

    def rename(self, panel: PanelName) -> None:
        """Have all connections name this panel so from their next request on."""
        self.panel = panel
        for connection in self._connections.values():
            connection.client.rename(panel)

    def client(self, host: str, port: int, node_id: str) -> AgentClient:
        """Make a client of an agent."""
        return AgentClient(host, port, node_id, self._tls, self.panel)

    def _row(self, node_id: str, known: frozenset[str]) -> _Row:
        """Read what a connection to a node depends on; `known`: keys that its agent could show so far."""
        with self._store.read() as tx:
            own_revoked = certificates.is_revoked(tx, self._own.id)
            node = node_rows.find(tx, node_id)
            if node is None or not node.certificate_expires_at:
                return _Row(None, 0, frozenset(), revoked=False, own_revoked=own_revoked)
            peers, keys = node_rows.peers_carried(tx, node_id), frozenset(node.agent_keys)
            revoked = certificates.revoked_by_somebody(tx, known - keys)
            return _Row((node.agent_host, node.agent_port), peers, keys, revoked=revoked, own_revoked=own_revoked)

    async def _replace_identity(self) -> None:
        """Take a new certificate of our own, as the present one was revoked."""
        async with self._turn:
            if not await in_thread(self._own_is_revoked):
                return  # somebody else did it meanwhile
            before = self._own.id
            await self._take_identity()
            self._revoked.add(before)
            log.warning("panel.certificate_replaced", certificate=before, replaced_by=self._own.id)

    def _own_is_revoked(self) -> bool:
        with self._store.read() as tx:
            return certificates.is_revoked(tx, self._own.id)

    async def _take_identity(self) -> None:
        # One that is not listed could not be revoked, so none is used.
        self._own = await in_thread(go_on, self._store, self.panel.number, self._authority, self._identity_days)
        use_identity(self._tls, self._own.identity)

    async def keep_identity(self) -> None:
        """Issue the panel's client certificate again when it is due; connections use it from their next request on."""
        while True:
            ahead_s = panel_ahead_s(self.values())
            self._tell_clock(ahead_s)
            # Where all agents that answer say another time, what is there is better than what would be issued.
            right = ahead_s is None or abs(ahead_s) <= LIMIT_S
            if right and renewal_due(self._own.identity.expires_at, clock.now(), self._identity_days):
                async with self._turn:
                    await self._renew_identity()
            await asyncio.sleep(RENEWAL_CHECK_S)

    async def _renew_identity(self) -> None:
        try:
            await self._take_identity()
        except PanelError as error:
            log.warning("panel.certificate_not_renewed", error=str(error), seconds_to_next=RENEWAL_CHECK_S)

    def _tell_clock(self, ahead_s: float | None) -> None:
        wrong = ahead_s is not None and abs(ahead_s) > LIMIT_S
        if wrong and not self._clock_wrong and ahead_s is not None:
            log.error("clock.differs", reason=told(ahead_s), panel_ahead_s=round(ahead_s))
        self._clock_wrong = wrong

    async def close(self) -> None:
        """Close all connections."""
        await asyncio.gather(*(connection.close() for connection in self._connections.values()), return_exceptions=True)


def _is_same(connection: AgentConnection, keys: frozenset[str]) -> bool:
    """Whether the agent is the one that we are connected to: one that has enrolled again shares no key with it."""
    known = connection.client.keys
    return not known or not known.isdisjoint(keys)
