"""Connections to the agents: one for each node that has an agent."""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import structlog

from wgfleet.panel.agents.authorities import AuthorityState
from wgfleet.panel.agents.client import AgentClient
from wgfleet.panel.domain.authorities import Trust
from wgfleet.panel.reconcile.agents.clock_check import LIMIT_S, panel_ahead_s, told
from wgfleet.panel.reconcile.agents.connection import AgentConnection
from wgfleet.panel.reconcile.agents.own_certificates import Line, OwnCertificates
from wgfleet.panel.reconcile.engine.tasks import BackgroundTasks
from wgfleet.panel.reconcile.engine.threads import in_thread
from wgfleet.panel.services import certificates
from wgfleet.panel.store import Store, homes
from wgfleet.panel.store import nodes as node_rows
from wgfleet.protocol.panel_name import PanelName

RENEWAL_CHECK_S = 30.0

Address = tuple[str, int]


@dataclass(frozen=True, slots=True)
class _Row:
    """What a connection to a node depends on. `address` None: there is no agent.

    `revoked`: a key was revoked that the agent could show so far. `trusts`: which CAs it trusts of those that `state`
    has; `own_revoked`: ids of this panel's own certificates that were revoked.
    """

    state: AuthorityState
    own_revoked: frozenset[str]
    address: Address | None = None
    trusts: Trust = Trust.CURRENT
    peers: int = 0
    keys: frozenset[str] = frozenset()
    revoked: bool = False


@dataclass(frozen=True, slots=True)
class _Open:
    """A connection, and what it was opened with."""

    connection: AgentConnection
    address: Address
    line: Line


log = structlog.get_logger()


class Connections(Mapping[str, AgentConnection]):
    """The connections by node id. `changed` is called with a node's id when its reconciler has something to look at.

    `panel` is how this panel names itself to agents.
    """

    def __init__(
        self,
        store: Store,
        own: OwnCertificates,
        tasks: BackgroundTasks,
        changed: Callable[[str], None],
        panel: PanelName,
    ) -> None:
        self.panel = panel
        self._store = store
        self._own = own
        self._tasks = tasks
        self._changed = changed
        self._clock_wrong = False
        self._open: dict[str, _Open] = {}
        self._coming: dict[str, _Open] = {}

    def __getitem__(self, node_id: str) -> AgentConnection:
        return self._open[node_id].connection

    def __iter__(self) -> Iterator[str]:
        return iter(self._open)

    def __len__(self) -> int:
        return len(self._open)

    async def connection_to(self, node_id: str) -> AgentConnection | None:
        """Return the connection to a node; None where there is no agent.

        It is opened again where its address changed, its agent has enrolled again, or a certificate was revoked that it
        may have shown; and, without an interruption, where the panel shows another certificate from now on.
        """
        here = self._open.get(node_id)
        row = await in_thread(self._row, node_id, frozenset() if here is None else here.connection.client.keys)
        if row.address is None:
            if here is not None:
                await self._end(node_id)
            return None
        line = await self._own.line(row.state, row.trusts, row.own_revoked)
        if here is not None and _must_end(here, row):
            await self._end(node_id)
            here = None
        if here is None:
            here = self._open[node_id] = self._begin(node_id, row.address, row, line)
        elif here.line is not line:
            here = await self._replaced(node_id, here, row, line)
        here.connection.client.peers = row.peers
        here.connection.client.accept_keys(row.keys)
        return here.connection

    def _begin(self, node_id: str, address: Address, row: _Row, line: Line) -> _Open:
        client = self._client(*address, node_id, line)
        client.peers = row.peers
        client.accept_keys(row.keys)
        connection = AgentConnection(node_id, client, self._store, lambda: self._changed(node_id))
        connection.issuer = line.certificate.issuer
        connection.start(self._tasks)
        return _Open(connection, address, line)

    async def _replaced(self, node_id: str, here: _Open, row: _Row, line: Line) -> _Open:
        """Have one that is opened with `line` take over once it stands; until then, the one that is there goes on."""
        coming = self._coming.get(node_id)
        if coming is not None and coming.line is not line:
            await self._coming.pop(node_id).connection.close()
            coming = None
        if coming is None:
            coming = self._coming[node_id] = self._begin(node_id, here.address, row, line)
        coming.connection.client.accept_keys(row.keys)
        if here.connection.connected and not coming.connection.connected:
            return here
        self._open[node_id] = self._coming.pop(node_id)
        await here.connection.close()
        return coming

    async def _end(self, node_id: str) -> None:
        for each in (self._open.pop(node_id), self._coming.pop(node_id, None)):
            if each is not None:
                await each.connection.close()

    def rename(self, panel: PanelName) -> None:
        """Have all connections name this panel so from their next request on."""
        self.panel = panel
        for each in (*self._open.values(), *self._coming.values()):
            each.connection.client.rename(panel)

    async def client(self, host: str, port: int, node_id: str, trusts: Trust) -> AgentClient:
        """Make a client of the agent of a node that has no connection any more."""
        state, revoked = await in_thread(self._own_state)
        return self._client(host, port, node_id, await self._own.line(state, trusts, revoked))

    def _client(self, host: str, port: int, node_id: str, line: Line) -> AgentClient:
        return AgentClient(host, port, node_id, line.tls, self.panel)

    def _own_state(self) -> tuple[AuthorityState, frozenset[str]]:
        with self._store.read() as tx:
            return self._own.read(tx)

    def _row(self, node_id: str, known: frozenset[str]) -> _Row:
        """Read what a connection to a node depends on; `known`: keys that its agent could show so far."""
        with self._store.read() as tx:
            state, own_revoked = self._own.read(tx)
            place = node_rows.agent_place(tx, node_id)
            if place is None:
                return _Row(state, own_revoked)
            peers, keys = homes.carried(tx, node_id), frozenset(place.keys)
            revoked = certificates.revoked_by_somebody(tx, known - keys)
            return _Row(state, own_revoked, (place.host, place.port), place.trusts, peers, keys, revoked)

    async def keep_identity(self) -> None:
        """Issue the panel's client certificates again when they are due."""
        while True:
            ahead_s = panel_ahead_s(self.values())
            self._tell_clock(ahead_s)
            # Where all agents that answer say another time, what is there is better than what would be issued.
            if ahead_s is None or abs(ahead_s) <= LIMIT_S:
                await self._own.renew_due()
            await asyncio.sleep(RENEWAL_CHECK_S)

    def _tell_clock(self, ahead_s: float | None) -> None:
        wrong = ahead_s is not None and abs(ahead_s) > LIMIT_S
        if wrong and not self._clock_wrong and ahead_s is not None:
            log.error("clock.differs", reason=told(ahead_s), panel_ahead_s=round(ahead_s))
        self._clock_wrong = wrong

    async def close(self) -> None:
        """Close all connections."""
        ends = (each.connection.close() for each in (*self._open.values(), *self._coming.values()))
        await asyncio.gather(*ends, return_exceptions=True)


def _must_end(here: _Open, row: _Row) -> bool:
    """Tell whether a connection may not even go on until another one stands."""
    revoked = row.revoked or here.line.certificate.id in row.own_revoked
    return here.address != row.address or revoked or not _is_same(here.connection, row.keys)


def _is_same(connection: AgentConnection, keys: frozenset[str]) -> bool:
    """Whether the agent is the one that we are connected to: one that has enrolled again shares no key with it."""
    known = connection.client.keys
    return not known or not known.isdisjoint(keys)
