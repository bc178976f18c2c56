"""Departures of nodes that were deleted: for a month their agents are asked to delete the interfaces.

A node that was away when it was deleted would otherwise serve its last state for ever, and get no more revocations.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from wgfleet.panel import clock
from wgfleet.panel.agents.client import AgentClient
from wgfleet.panel.domain.authorities import Trust
from wgfleet.panel.errors import PermanentError, TransientError
from wgfleet.panel.reconcile.engine.tasks import keep_looking
from wgfleet.panel.reconcile.engine.threads import in_thread
from wgfleet.panel.reconcile.outlook import Outlook
from wgfleet.panel.services.fleet import nodes
from wgfleet.panel.store import Store
from wgfleet.panel.store.tables import DepartedNode

EVERY_S = 30.0
KEPT_S = 30 * 86400.0


class Departures:
    """Runs until its task is cancelled.

    `client` makes one for a node's agent, by host, port, node id and the CAs that it trusts.
    """

    def __init__(
        self, store: Store, client: Callable[[str, int, str, Trust], Awaitable[AgentClient]], outlook: Outlook
    ) -> None:
        self._outlook = outlook
        self._store = store
        self._client = client

    async def run(self) -> None:
        """Ask again and again."""
        await keep_looking(self.ask_all, EVERY_S, "departures.failed")

    async def ask_all(self) -> None:
        """Ask each departed node's agent once; none while this panel is superseded."""
        if self._outlook.superseded is not None:
            return
        rows = await in_thread(self._rows)
        await asyncio.gather(*(self._ask(row) for row in rows))

    async def _ask(self, row: DepartedNode) -> None:
        client = await self._client(row.agent_host, row.agent_port, row.id, row.trusts)
        client.accept_keys(row.agent_keys)
        deleted: dict[str, str] = {}
        try:
            for interface in (await client.status()).interfaces:
                await client.delete(interface.name, interface.config_id)
                deleted[interface.name] = interface.config_id
        except (TransientError, PermanentError) as error:
            await in_thread(self._failed, row, str(error))
        else:
            await in_thread(self._dismissed, row, deleted)
        finally:
            await client.aclose()

    def _rows(self) -> list[DepartedNode]:
        with self._store.read() as tx:
            return nodes.departed(tx)

    def _failed(self, row: DepartedNode, reason: str) -> None:
        over = clock.now() - row.deleted_at > KEPT_S
        if not over and row.summary == reason:
            return
        with self._store.write() as tx:
            if over:
                nodes.dismissed(tx, row.id, given_up=reason)
            else:
                nodes.not_dismissed(tx, row.id, reason)

    def _dismissed(self, row: DepartedNode, deleted: Mapping[str, str]) -> None:
        with self._store.write() as tx:
            nodes.dismissed(tx, row.id, deleted=deleted)
