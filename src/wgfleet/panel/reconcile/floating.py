"""The floating addresses of a config, from rows: handovers that nobody confirms are ended, clouds told who has what.

Who holds an address is decided in the transactions that change what it follows from (`services.floating`); this looks
again now and then, and after a restart.
"""

from collections.abc import Collection, Mapping
from contextlib import closing

import structlog

from wgfleet.panel import clock
from wgfleet.panel.reconcile.links import NodeLink
from wgfleet.panel.reconcile.seam import in_own_thread, in_thread
from wgfleet.panel.services import address_providers, audit, floating
from wgfleet.panel.services.address_providers import Task
from wgfleet.panel.store import Store
from wgfleet.panel.vault import Vault

POLL_S = 0.1  # while a node that is out of use may still confirm that it gave an address up

log = structlog.get_logger()


class FloatingReconciler:
    """Makes addresses follow their rows. `links` are the lines to the agents, by node id."""

    def __init__(self, store: Store, vault: Vault, links: Mapping[str, NodeLink]) -> None:
        self._store = store
        self._vault = vault
        self._links = links

    async def reconcile(self, config_id: str) -> float | None:
        """Do what can be done now; return after how many s to look again, or None for when something changes."""
        speaking = {node_id for node_id, link in self._links.items() if not link.silent}
        waiting = await in_thread(self._settle, config_id, speaking)
        task = await in_thread(self._task, config_id)
        if task is not None:
            await in_own_thread(self._bring, config_id, task)
        return POLL_S if waiting else None

    def _settle(self, config_id: str, speaking: Collection[str]) -> bool:
        with self._store.write() as tx:
            silent = floating.carriers(tx, config_id) - set(speaking)
            waiting = floating.overdue(tx, config_id, silent, clock.now())
            floating.settle(tx, config_id, silent=silent)
            return waiting

    def _task(self, config_id: str) -> Task | None:
        with self._store.read() as tx:
            return address_providers.task(tx, self._vault, config_id)

    def _bring(self, config_id: str, task: Task) -> None:
        """Have the provider bring each address to the node that is to hold it, where it is not there already."""
        with closing(task.connect()) as provider:
            for address, node in task.holders:
                before = provider.holder(address, task.nodes)
                if before == node:
                    continue
                provider.assign(address, node)
                log.info("address.assigned", address=address, node=node.name, provider=task.kind.name)
                with self._store.write() as tx:
                    audit.record(
                        tx, audit.PANEL, "assigned", "floating_address", address,
                        config_id=config_id, node=node.name, before=before.name if before else None,
                    )  # fmt: skip
