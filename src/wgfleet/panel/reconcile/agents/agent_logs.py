"""Logs of agents, read when a person asks, by the process of the API: the connections of the core are not its own.

It calls with a certificate of its own, of the same start, which is issued when somebody asks for the first time. What
an agent said is kept for a minute after somebody looked, and shared by all who do.
"""

import asyncio

from wgfleet.panel import clock
from wgfleet.panel.agents.answers import AgentRefused
from wgfleet.panel.agents.authorities import Authorities, AuthorityState
from wgfleet.panel.agents.client import AgentClient
from wgfleet.panel.errors import Conflict, TransientError, Unavailable
from wgfleet.panel.reconcile.agents.log_copy import LogCopy, LogPart
from wgfleet.panel.reconcile.agents.own_certificates import OwnCertificates
from wgfleet.panel.reconcile.agents.panel_start import BegunStart, go_on
from wgfleet.panel.services import incarnations
from wgfleet.panel.services.fleet import nodes
from wgfleet.panel.store import Store
from wgfleet.panel.store.tables import Node
from wgfleet.panel.vault import Vault
from wgfleet.protocol.messages import LOG_LINES, AgentLog
from wgfleet.protocol.panel_name import PanelName
from wgfleet.protocol.reasons import Reason
from wgfleet.protocol.secret_forms import without_secrets

NOT_FOUND = 404
KEPT_S = 60.0
MOST_KEPT = 32  # copies, each of 4 MB at most


class AgentLogs:
    """Reads logs; `days`: for how long a certificate is issued."""

    def __init__(self, store: Store, vault: Vault, authorities: Authorities, days: int) -> None:
        self._store, self._vault, self._authorities, self._days = store, vault, authorities, days
        self._turn = asyncio.Lock()
        self._own: tuple[PanelName, OwnCertificates] | None = None
        self._copies: dict[str, LogCopy] = {}
        self._forgets = False

    async def read(self, reference: str, lines: int, place: str = "") -> LogPart:
        """Return the newest lines of a node's agent, oldest first; of those behind a place of an earlier answer.

        `NotFound` where there is no such node, `Conflict` where no agent has joined or it keeps no log for the panel,
        `Unavailable` where it does not answer.
        """
        node = await asyncio.to_thread(self._node, reference)
        copy = self._copy(node.id)
        await copy.refresh(lambda run, after: self._ask(node, run, after))
        return copy.part(lines, place)

    def _copy(self, node: str) -> LogCopy:
        """Return the copy of a node's log; those that nobody looks at are forgotten."""
        copy = self._copies.pop(node) if node in self._copies else LogCopy()
        self._copies[node] = copy
        if len(self._copies) > MOST_KEPT:
            del self._copies[next(iter(self._copies))]
        self._forget_later()
        return copy

    def _forget_later(self) -> None:
        if not self._forgets and self._copies:
            asyncio.get_running_loop().call_later(KEPT_S, self._forget)
            self._forgets = True

    def _forget(self) -> None:
        before = clock.monotonic() - KEPT_S
        self._copies = {node: copy for node, copy in self._copies.items() if copy.asked_at >= before}
        self._forgets = False
        self._forget_later()

    async def _ask(self, node: Node, run: str, after: int) -> AgentLog:
        async with self._turn:
            name, own = await self._certificates()
            await own.renew_due()
            state, revoked = await asyncio.to_thread(self._state, own)
            line = await own.line(state, node.trusts, revoked)
        client = AgentClient(node.agent_host, node.agent_port, node.id, line.tls, name)
        client.accept_keys(node.agent_keys)
        try:
            said = await client.log(LOG_LINES, run, after)
            lines = await asyncio.to_thread(tuple, map(without_secrets, said.lines))
            return AgentLog(lines, said.run, said.last)
        except AgentRefused as refused:
            if refused.refusal.status != NOT_FOUND:
                raise Conflict(
                    Reason("the agent of node {node!r} refuses: {refused}", node=node.name, refused=refused)
                ) from None
            raise Conflict(
                Reason(
                    "the agent of node {node!r} ({version}) keeps no log for the "
                    "panel; upgrade it, and look on the node until then: journalctl -u wgfleet-agent",
                    node=node.name,
                    version=node.agent_version or Reason("of an older release"),
                )
            ) from None
        except TransientError as error:
            raise Unavailable(Reason("{error}; look on the node: journalctl -u wgfleet-agent", error=error)) from None
        finally:
            await client.aclose()

    def _node(self, reference: str) -> Node:
        with self._store.read() as tx:
            node = nodes.get(tx, reference)
            if not node.certificate_expires_at:
                raise Conflict(Reason("no agent has joined as node {node!r} yet", node=node.name))
            return node

    def _state(self, own: OwnCertificates) -> tuple[AuthorityState, frozenset[str]]:
        with self._store.read() as tx:
            return own.read(tx)

    async def _certificates(self) -> tuple[PanelName, OwnCertificates]:
        """Return those of the start that decides now."""
        number = await asyncio.to_thread(self._number)
        if self._own is None or self._own[0].number != number:
            self._own = await asyncio.to_thread(self._issue)
        return self._own

    def _number(self) -> int | None:
        with self._store.read() as tx:
            incarnation = incarnations.newest(tx)
            return None if incarnation is None else incarnation.number

    def _issue(self) -> tuple[PanelName, OwnCertificates]:
        with self._store.read() as tx:
            incarnation = incarnations.newest(tx)
            if incarnation is None:
                raise Unavailable(Reason("the panel has not begun its work yet; ask again"))
            name, authority = incarnations.name(tx, self._vault, incarnation), self._authorities.read(tx).current
            refused = incarnation.refused
        certificate = go_on(self._store, name.number, authority, self._days)
        start = BegunStart(name, refused, certificate)
        return name, OwnCertificates(self._store, self._authorities, self._days, start)
