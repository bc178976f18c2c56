"""All reconcilers of a panel: keeps a line to each node, and turns wakes into work.

Owns which keys are woken and when everything is looked at anew; the work itself is in `nodes` and `removals`.
"""

import asyncio
import contextlib
from collections import defaultdict
from typing import Any

import structlog

from wgfleet.panel import clock
from wgfleet.panel.agents.authority import Authority, renewal_due
from wgfleet.panel.agents.client import AgentClient
from wgfleet.panel.agents.tls import client_context, use_identity
from wgfleet.panel.dns.publisher import Publisher
from wgfleet.panel.domain.affected import affected
from wgfleet.panel.errors import PanelError
from wgfleet.panel.reconcile.agents.heartbeats import HeartbeatWriter
from wgfleet.panel.reconcile.agents.links import NodeLink
from wgfleet.panel.reconcile.agents.pusher import NodeCycle, NodeReconciler
from wgfleet.panel.reconcile.dns import Zones
from wgfleet.panel.reconcile.engine.events import Event, Events
from wgfleet.panel.reconcile.engine.keyed_runner import Key, Runner
from wgfleet.panel.reconcile.engine.threads import in_thread
from wgfleet.panel.reconcile.floating import FloatingReconciler
from wgfleet.panel.reconcile.health import HealthMonitor, Outlook
from wgfleet.panel.reconcile.moves.group_drain import GroupDrainReconciler
from wgfleet.panel.reconcile.moves.removal import RemovalReconciler
from wgfleet.panel.reconcile.moves.worker import MoveReconciler
from wgfleet.panel.reconcile.retention import Retention
from wgfleet.panel.services import operations
from wgfleet.panel.services.fleet import nodes
from wgfleet.panel.services.moves import address_move, drain, failover, group_drain
from wgfleet.panel.settings import Settings
from wgfleet.panel.store import Store
from wgfleet.panel.store import assignments as assignment_rows
from wgfleet.panel.store import floating as floating_rows
from wgfleet.panel.store import nodes as node_rows
from wgfleet.panel.store import operations as operation_rows
from wgfleet.panel.store.tables import Node
from wgfleet.panel.store.wakes import Topic, Wake
from wgfleet.panel.vault import Vault
from wgfleet.protocol.ids import ConfigId, NodeId

NODE, FLOATING = "node", "floating"  # kinds of keys, beside those of operations
RESYNC_S = 30.0  # every key is looked at this often, whatever was or was not heard

log = structlog.get_logger()


class Fleet:
    """Runs until it is closed. `start` and `close` are called in the event loop."""

    def __init__(
        self,
        store: Store,
        vault: Vault,
        authority: Authority,
        settings: Settings,
        events: Events,
        outlook: Outlook,
        publisher: Publisher,
    ) -> None:
        self._store = store
        self._authority = authority
        self._settings = settings
        self._events = events
        self._links: dict[str, NodeLink] = {}
        self._addresses: dict[str, tuple[str, int]] = {}
        self._summaries: dict[str, tuple[bool, str]] = {}
        self._carriers: dict[ConfigId, frozenset[NodeId]] = {}
        self._identity = authority.issue_panel_client(clock.now(), settings.certificates.panel_days)
        self._tls = client_context(authority.certificate_pem, self._identity)
        self._nodes = NodeReconciler(
            store, vault, authority, settings.certificates.agent_days, settings.health.give_up_after_s
        )
        self._floating = FloatingReconciler(store, vault, self._links)
        removing = RemovalReconciler(store, vault, settings.drain, self._links)
        failing_over = MoveReconciler(store, settings.drain, self._links, failover)
        maintaining = MoveReconciler(store, settings.drain, self._links, drain)
        moving_addresses = MoveReconciler(store, settings.drain, self._links, address_move)
        self._moving = (removing, failing_over, maintaining, moving_addresses)
        self._operations = {
            operations.REMOVE_NODE: removing.reconcile,
            failover.FAILOVER: failing_over.reconcile,
            operations.DRAIN: maintaining.reconcile,
            operations.REBALANCE: maintaining.reconcile,
            address_move.MOVE_ADDRESS: moving_addresses.reconcile,
            group_drain.DRAIN_GROUP: GroupDrainReconciler(store).reconcile,
        }
        self._health = HealthMonitor(
            store, vault, settings.health.rules, settings.health.timeout_s, self._links, outlook
        )
        self._zones = Zones(store, vault, publisher, settings.dns)
        self._runner = Runner(self._reconcile)
        self._woken: dict[Wake, None] = {}
        self._woken_event = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin: connect to all nodes, take up all operations that have not ended."""
        loop = asyncio.get_running_loop()

        def committed(wakes: list[Wake]) -> None:
            # A transaction may commit while the loop is being closed; the next start reads everything anew.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(self._hear, wakes)

        self._store.listen(committed)
        heartbeats = HeartbeatWriter(self._store, self._links)
        retention = Retention(self._store, self._settings.audit.keep_days)
        lasting = (self._resync, self._spread, heartbeats.run, retention.run)
        self._tasks = [asyncio.create_task(work()) for work in lasting]
        self._health.start()

    async def close(self) -> None:
        """End all work where it stands."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._health.close()
        await self._zones.close()
        await self._runner.close()
        for moving in self._moving:
            await moving.close()
        await asyncio.gather(*(link.close() for link in self._links.values()), return_exceptions=True)

    def _hear(self, wakes: list[Wake]) -> None:
        self._woken.update(dict.fromkeys(wakes))
        self._woken_event.set()

    async def _spread(self) -> None:
        """Turn what was committed into keys, many commits at a time."""
        while True:
            await self._woken_event.wait()
            self._woken_event.clear()
            woken, self._woken = list(self._woken), {}
            try:
                await self._wake(woken)
            except PanelError as error:
                log.warning("wake.lost", error=str(error), seconds_to_resync=RESYNC_S)

    async def _wake(self, woken: list[Wake]) -> None:
        by_topic: dict[Topic, list[str]] = defaultdict(list)
        for wake in woken:
            by_topic[wake.topic].append(wake.id)
            if wake.kind is not None:
                self._runner.wake(Key(wake.kind, wake.id))
        for node_id in by_topic[Topic.NODE]:
            self._runner.wake(Key(NODE, node_id))
        for config_id in by_topic[Topic.FLOATING]:
            self._runner.wake(Key(FLOATING, config_id))
        if by_topic[Topic.CONFIG] or by_topic[Topic.PEERS]:
            changed = [ConfigId(config_id) for config_id in {*by_topic[Topic.CONFIG], *by_topic[Topic.PEERS]}]
            after = await in_thread(self._carried_by, changed)
            for node_id in affected(changed, self._carriers, after):
                self._runner.wake(Key(NODE, node_id))
            self._carriers.update(after)
        await self._zones.wake(
            syncs=by_topic[Topic.DNS],
            configs=by_topic[Topic.CONFIG] + by_topic[Topic.FLOATING],
            assignments=by_topic[Topic.ASSIGNMENT],
            nodes=by_topic[Topic.NODE],
        )
        if self._events.has_subscribers:
            for kind, identifier in dict.fromkeys((wake.topic.shown_as, wake.id) for wake in woken):
                self._events.publish(Event(kind, identifier, await in_thread(self._data, kind, identifier)))

    def _carried_by(self, config_ids: list[ConfigId]) -> dict[ConfigId, frozenset[NodeId]]:
        with self._store.read() as tx:
            found = assignment_rows.nodes_of(tx, config_ids)
        return {ConfigId(config): frozenset(NodeId(node) for node in carriers) for config, carriers in found.items()}

    def _data(self, kind: str, identifier: str) -> dict[str, Any]:
        if kind != "operation":
            return {}
        with self._store.read() as tx:
            operation = operations.get(tx, identifier)
        return {
            "kind": operation.kind,
            "state": operation.state,
            "step": operation.step,
            "progress": operation.progress,
            "result": operation.result,
            "error": operation.error,
        }

    async def _resync(self) -> None:
        """Wake every key now and then: what was missed costs at most this long."""
        first = True
        while True:
            try:
                if first:
                    await in_thread(self._forget_connections)
                    first = False
                await self._zones.wake_all()
                node_ids, active, floating_ids = await in_thread(self._keys)
                for node_id in {*node_ids, *self._links}:
                    self._runner.wake(Key(NODE, node_id))
                for kind, operation_id in active:
                    self._runner.wake(Key(kind, operation_id))
                for config_id in floating_ids:
                    self._runner.wake(Key(FLOATING, config_id))
            except PanelError as error:
                log.warning("resync.failed", error=str(error))
            self._renew_identity()
            await asyncio.sleep(RESYNC_S)

    def _forget_connections(self) -> None:
        """Say of no node that it is connected before its line is up: the rows are from before the start."""
        with self._store.write() as tx:
            node_rows.all_disconnected(tx)

    def _keys(self) -> tuple[list[str], list[tuple[str, str]], list[str]]:
        with self._store.read() as tx:
            return node_rows.ids(tx), operation_rows.active(tx), floating_rows.configs_with(tx)

    def _renew_identity(self) -> None:
        days = self._settings.certificates.panel_days
        if renewal_due(self._identity.expires_at, clock.now(), days):
            self._identity = self._authority.issue_panel_client(clock.now(), days)
            use_identity(self._tls, self._identity)

    async def _reconcile(self, key: Key) -> float | None:
        kind, identifier = key
        if kind == NODE:
            await self._reconcile_node(identifier)
            return None
        if kind == FLOATING:
            return await self._floating.reconcile(identifier)
        try:
            return await self._operations[kind](identifier)
        except Exception as error:
            await in_thread(self._stumble, identifier, str(error))
            raise

    def _stumble(self, operation_id: str, error: str) -> None:
        with self._store.write() as tx:
            operations.stumbled(tx, operation_id, error)

    async def _reconcile_node(self, node_id: str) -> None:
        link = await self._line_to(node_id)
        if link is None:
            return
        cycle = NodeCycle("its last cycle failed")
        try:
            cycle = await self._nodes.cycle(link)
        except Exception as error:
            cycle = NodeCycle(str(error))
            raise
        finally:
            await self._say(link, cycle)

    async def _line_to(self, node_id: str) -> NodeLink | None:
        """Return the line to a node, made anew where its address changed; None where there is nobody to call."""
        node = await in_thread(self._node, node_id)
        address = (node.agent_host, node.agent_port) if node is not None and node.certificate_expires_at else None
        link = self._links.get(node_id)
        if link is not None and self._addresses.get(node_id) == address:
            return link
        if link is not None:
            del self._links[node_id]
            await link.close()
        if address is None:
            return None
        client = AgentClient(*address, node_id, self._tls)
        link = NodeLink(node_id, client, self._store, lambda: self._runner.wake(Key(NODE, node_id)))
        self._links[node_id], self._addresses[node_id] = link, address
        link.start()
        return link

    def _node(self, node_id: str) -> Node | None:
        with self._store.read() as tx:
            return node_rows.find(tx, node_id)

    async def _say(self, link: NodeLink, cycle: NodeCycle) -> None:
        """Keep the sentence of the last cycle where people see it, if it says anything new."""
        if cycle.idle and self._summaries.get(link.node_id, (None, ""))[0] is link.connected:
            return
        if self._summaries.get(link.node_id) == (link.connected, cycle.summary):
            return
        self._summaries[link.node_id] = (link.connected, cycle.summary)
        await in_thread(self._report, link, cycle.summary)

    def _report(self, link: NodeLink, summary: str) -> None:
        with self._store.write() as tx:
            nodes.reported(
                tx,
                link.node_id,
                connected=link.connected,
                last_seen_at=link.last_seen_at,
                version=link.status.version if link.status else None,
                summary=summary,
            )
