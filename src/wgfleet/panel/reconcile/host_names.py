"""A look now and then at the addresses of host names, which others may change."""

import asyncio
from collections.abc import Mapping, Sequence

from wgfleet.panel import host_names as resolver
from wgfleet.panel.domain.host_names import Lookup
from wgfleet.panel.errors import PanelError
from wgfleet.panel.reconcile.engine.loop import CoreLoop
from wgfleet.panel.reconcile.engine.tasks import keep_looking
from wgfleet.panel.reconcile.engine.threads import in_own_thread, in_thread
from wgfleet.panel.services import host_names
from wgfleet.panel.services.fleet import node_names, nodes
from wgfleet.panel.store import Store

EVERY_S = 300.0
FOLLOW_S = 20.0  # between looks at names of nodes, whose addresses change; the resolver keeps answers for their TTL
AT_ONCE = 8  # names
LIMIT_S = 5.0  # for these; nobody waits for them


class HostNameWatch:
    """Runs until its task is cancelled. `panel`: the panel's own hosts, each with words."""

    def __init__(self, store: Store, panel: Mapping[str, str]) -> None:
        self._store = store
        self._panel = panel
        self._round = 0
        self._refused: dict[str, str] = {}  # by node: why the addresses of its name are not used

    def remember(self) -> None:
        """Have agents be reached at once, where the resolver says nothing, whose names were found before the start."""
        loop = asyncio.get_running_loop()
        if isinstance(loop, CoreLoop):
            with self._store.read() as tx:
                loop.remember(host_names.last_found(tx))

    async def run(self) -> None:
        """Look all names up, again and again."""
        await keep_looking(self.look, EVERY_S, "host_names.not_looked_up")

    async def look(self) -> None:
        """Look all names up, and write down what is news."""
        await self._look_up(await in_thread(self._names))

    async def follow(self) -> None:
        """Look the names of nodes up, again and again, and have the nodes their addresses."""
        await keep_looking(self.look_at_nodes, FOLLOW_S, "host_names.not_followed")

    async def look_at_nodes(self) -> None:
        """Look the names of nodes up, and have the nodes their addresses."""
        names = await in_thread(self._names_of_nodes)
        await self._look_up(names)
        if names:
            await in_thread(self._follow)

    async def _look_up(self, names: Sequence[str]) -> None:
        """Look names up, a few at a time."""
        for start in range(0, len(names), AT_ONCE):
            found = await in_own_thread(resolver.look_up, names[start : start + AT_ONCE], LIMIT_S)
            await in_thread(self._record, found)

    def _names_of_nodes(self) -> list[str]:
        with self._store.read() as tx:
            return node_names.names(tx)

    def _follow(self) -> None:
        with self._store.read() as tx:
            moved = node_names.moved(tx)
        self._refused = {node_id: why for node_id, why in self._refused.items() if node_id in dict(moved)}
        for node_id, addresses in moved:
            try:
                with self._store.write() as tx:
                    nodes.follow_name(tx, node_id, addresses)
            except PanelError as error:
                if self._refused.get(node_id) != str(error):
                    self._refused[node_id] = str(error)
                    with self._store.write() as tx:
                        node_names.refused(tx, node_id, addresses, error)

    def _names(self) -> list[str]:
        """Return the names in use, and forget all others."""
        with self._store.read() as tx:
            used = host_names.in_order(tx, host_names.in_use(tx, self._panel), self._round)
            idle = host_names.unused(tx, used)
        self._round += 1
        if idle:
            with self._store.write() as tx:
                host_names.forget(tx, idle)
        return used

    def _record(self, found: Mapping[str, Lookup]) -> None:
        with self._store.read() as tx:
            if not host_names.news(tx, found):
                return
        with self._store.write() as tx:
            host_names.record(tx, found)
