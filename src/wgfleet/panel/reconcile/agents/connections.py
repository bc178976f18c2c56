"""Connections to the agents: one for each node that has an agent, and the certificate that the panel shows."""

import asyncio
from collections.abc import Callable, Iterator, Mapping

import structlog

from wgfleet.panel import clock
from wgfleet.panel.agents.authority import Authority, renewal_due
from wgfleet.panel.agents.client import AgentClient
from wgfleet.panel.agents.tls import client_context, use_identity
from wgfleet.panel.reconcile.agents.clock_check import LIMIT_S, panel_ahead_s, told
from wgfleet.panel.reconcile.agents.connection import AgentConnection
from wgfleet.panel.reconcile.engine.tasks import BackgroundTasks
from wgfleet.panel.reconcile.engine.threads import in_thread
from wgfleet.panel.store import Store
from wgfleet.panel.store import nodes as node_rows
from wgfleet.protocol.panel_name import PanelName

RENEWAL_CHECK_S = 30.0

Address = tuple[str, int]

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
        panel: PanelName | None = None,
    ) -> None:
        self.panel = panel
        self._store = store
        self._authority = authority
        self._identity_days = identity_days
        self._tasks = tasks
        self._changed = changed
        self._identity = authority.issue_panel_client(clock.now(), identity_days)
        self._tls = client_context(authority.certificate_pem, self._identity)
        self._clock_wrong = False
        self._connections: dict[str, AgentConnection] = {}
        self._addresses: dict[str, Address] = {}

    def __getitem__(self, node_id: str) -> AgentConnection:
        return self._connections[node_id]

    def __iter__(self) -> Iterator[str]:
        return iter(self._connections)

    def __len__(self) -> int:
        return len(self._connections)

    async def connection_to(self, node_id: str) -> AgentConnection | None:
        """Return the connection to a node; None where there is no agent.

        It is opened again where its address changed, or its agent has enrolled again.
        """
        address, peers, keys = await in_thread(self._address, node_id)
        connection = self._connections.get(node_id)
        if connection is not None and self._addresses.get(node_id) == address and _is_same(connection, keys):
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

    def _address(self, node_id: str) -> tuple[Address | None, int, frozenset[str]]:
        """Return where a node's agent listens, None where it has none, its peers' number, and its keys."""
        with self._store.read() as tx:
            node = node_rows.find(tx, node_id)
            if node is None or not node.certificate_expires_at:
                return None, 0, frozenset()
            peers = node_rows.peers_carried(tx, node_id)
            return (node.agent_host, node.agent_port), peers, frozenset(node.agent_keys)

    async def keep_identity(self) -> None:
        """Issue the panel's client certificate again when it is due; connections use it from their next request on."""
        while True:
            ahead_s = panel_ahead_s(self.values())
            self._tell_clock(ahead_s)
            # Where all agents that answer say another time, what is there is better than what would be issued.
            right = ahead_s is None or abs(ahead_s) <= LIMIT_S
            if right and renewal_due(self._identity.expires_at, clock.now(), self._identity_days):
                self._identity = self._authority.issue_panel_client(clock.now(), self._identity_days)
                use_identity(self._tls, self._identity)
            await asyncio.sleep(RENEWAL_CHECK_S)

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
