"""The dispatcher: turns the wakes of committed transactions into keys to reconcile.

It decides which keys a change concerns. It also wakes all keys every `RESYNC_S`, those of nodes one after another, and
all at once where wakes of other processes may have been lost.
"""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

import structlog

from wgfleet.panel import clock
from wgfleet.panel.agents.allowance import Allowance
from wgfleet.panel.domain.affected import affected
from wgfleet.panel.errors import PanelError
from wgfleet.panel.reconcile.agents.connections import Connections
from wgfleet.panel.reconcile.dns import DnsWorker
from wgfleet.panel.reconcile.engine.keyed_runner import Key, Runner
from wgfleet.panel.reconcile.engine.tasks import came_round
from wgfleet.panel.reconcile.engine.threads import in_thread
from wgfleet.panel.store import Store, owed_recalls
from wgfleet.panel.store import assignments as assignment_rows
from wgfleet.panel.store import dns as dns_rows
from wgfleet.panel.store import floating as floating_rows
from wgfleet.panel.store import nodes as node_rows
from wgfleet.panel.store import operations as operation_rows
from wgfleet.panel.store import relays as relay_rows
from wgfleet.panel.store.wakes import Topic, Wake
from wgfleet.protocol.ids import ConfigId, NodeId

RESYNC_S = 30.0
# A look at a node costs some 10 ms of processor: with many, a round takes longer, and nobody waits for all of them.
NODES_A_SECOND = 4
# How often new peers alone have a config's nodes looked at: the first ones of many at once, the rest together. It costs
# some 10 ms of processor for each node, whether it brings one peer or a hundred.
AT_ONCE, A_SECOND = 8, 4
_SUBJECTS = frozenset({Topic.NODE, Topic.FLOATING, Topic.FENCED, Topic.RELAY})

log = structlog.get_logger()


class Dispatcher:
    """Hears of every commit once `listen` was called; `run` and `resync` are background tasks.

    `unasked` returns the nodes whose agents have yet to be asked whom they relay.
    """

    def __init__(
        self,
        store: Store,
        runner: Runner,
        connections: Connections,
        dns: DnsWorker,
        unasked: Callable[[], Iterable[str]] = tuple,
    ) -> None:
        self._store = store
        self._runner = runner
        self._connections = connections
        self._dns = dns
        self._unasked = unasked
        self._lost_event = asyncio.Event()
        self._carriers: dict[ConfigId, frozenset[NodeId]] = {}
        self._paces: dict[str, Allowance] = {}
        self._later: dict[str, asyncio.TimerHandle] = {}
        self._woken: dict[Wake, None] = {}
        self._woken_event = asyncio.Event()

    def listen(self) -> None:
        """Begin to collect wakes. Call it in the event loop."""
        loop = asyncio.get_running_loop()

        def committed(wakes: list[Wake]) -> None:
            # A transaction may commit while the loop is being closed; the next start reads everything again.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(self.hear, wakes)

        def lost() -> None:
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(self._lost_event.set)

        self._store.listen(committed, lost)

    def hear(self, wakes: list[Wake]) -> None:
        """Wake the keys that wakes name, and keep them for `dispatch`. Call it in the event loop."""
        # At once, whatever is being read for earlier ones: clients may be without a node.
        self._wake(_named(wakes))
        self._woken.update(dict.fromkeys(wakes))
        self._woken_event.set()

    async def run(self) -> None:
        """Dispatch what was committed, many commits at a time."""
        while True:
            await self._woken_event.wait()
            self._woken_event.clear()
            woken, self._woken = list(self._woken), {}
            try:
                await self.dispatch(woken)
            except PanelError as error:
                log.warning("wake.lost", error=str(error), seconds_to_resync=RESYNC_S)

    async def dispatch(self, woken: Sequence[Wake]) -> None:
        """Wake the keys that some wakes concern beside those that they name."""
        by_topic: dict[Topic, list[str]] = defaultdict(list)
        for wake in woken:
            by_topic[wake.topic].append(wake.id)
        at_once = {*by_topic[Topic.CONFIG], *by_topic[Topic.PEERS]}
        at_once |= {config for config in {*by_topic[Topic.NEW_PEERS]} - at_once if self._may_go(config)}
        await self._wake_carriers({ConfigId(config) for config in at_once})
        await self._wake_names(by_topic)

    def _may_go(self, config_id: str) -> bool:
        """Tell whether nodes are to get a config's new peers now; if not, they are later."""
        if config_id in self._later:
            return False
        pace = self._paces.setdefault(config_id, Allowance(AT_ONCE, A_SECOND))
        if pace.take(1, clock.monotonic()):
            return True
        loop = asyncio.get_running_loop()
        self._later[config_id] = loop.call_later(pace.wait_s(1), self._go_on, config_id)
        return False

    def _go_on(self, config_id: str) -> None:
        del self._later[config_id]
        self.hear([Wake(Topic.NEW_PEERS, config_id)])

    def _wake(self, keys: Iterable[Key]) -> None:
        for key in keys:
            self._runner.wake(key)

    async def _wake_carriers(self, changed: set[ConfigId]) -> None:
        """Wake the nodes that carry, or carried until now, one of some configs."""
        if changed:
            after = await in_thread(self._carried_by, list(changed))
            self._wake(Key(Topic.NODE, node_id) for node_id in affected(changed, self._carriers, after))
            self._carriers.update(after)

    def _carried_by(self, config_ids: list[ConfigId]) -> dict[ConfigId, frozenset[NodeId]]:
        with self._store.read() as tx:
            found = assignment_rows.nodes_of(tx, config_ids)
        return {ConfigId(config): frozenset(NodeId(node) for node in carriers) for config, carriers in found.items()}

    async def _wake_names(self, by_topic: Mapping[Topic, Sequence[str]]) -> None:
        """Wake the DNS names whose addresses may have changed. Which peers a config has changes none."""
        names = set(by_topic[Topic.DNS])
        configs = [*by_topic[Topic.CONFIG], *by_topic[Topic.FLOATING]]
        assignments, nodes = by_topic[Topic.ASSIGNMENT], by_topic[Topic.NODE]
        if configs or assignments or nodes:
            names |= set(await in_thread(self._dns.concerned, configs, assignments, nodes))
        self._wake(Key(Topic.DNS, sync_id) for sync_id in names)

    async def resync(self) -> None:
        """Wake every key now and then."""
        self._lost_event.set()
        while True:
            came_round()
            lost = self._lost_event.is_set()
            self._lost_event.clear()
            nodes: Collection[str] = ()
            try:
                self._paces.clear()  # of configs that are gone too
                keys, nodes = await in_thread(self._keys)
                self._wake(keys)
                self._wake(Key(Topic.RELAY, node_id) for node_id in self._unasked())
                await in_thread(self._dns.begin_lacking)
            except PanelError as error:
                log.warning("resync.failed", error=str(error))
            nodes = {*nodes, *self._connections}
            if lost:
                self._wake(Key(Topic.NODE, node_id) for node_id in nodes)
                await self._lost_within(RESYNC_S)
            else:
                await self._wake_in_turn(nodes)

    async def _wake_in_turn(self, nodes: Collection[str]) -> None:
        """Wake nodes over a round, until wakes are lost."""
        between_s = max(RESYNC_S / max(1, len(nodes)), 1 / NODES_A_SECOND)
        for node_id in nodes:
            came_round()
            self._runner.wake(Key(Topic.NODE, node_id))
            if await self._lost_within(between_s):
                return
        if not nodes:
            await self._lost_within(RESYNC_S)

    async def _lost_within(self, seconds: float) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                return await self._lost_event.wait()
        return False

    def look_at_everything(self) -> None:
        """Wake every key soon."""
        self._lost_event.set()

    def _keys(self) -> tuple[list[Key], Sequence[str]]:
        """Return the keys of all but nodes, and the nodes."""
        with self._store.read() as tx:
            keys = [
                *(Key(Topic.DNS, sync_id) for sync_id in dns_rows.ids(tx)),
                *(Key(kind, operation_id) for kind, operation_id in operation_rows.active(tx)),
                *(Key(Topic.FLOATING, config_id) for config_id in floating_rows.configs_with(tx)),
                *(Key(Topic.RELAY, node_id) for node_id in relay_rows.nodes_with(tx)),
                *(Key(Topic.FENCED, subject_id) for subject_id in owed_recalls.subjects(tx)),
            ]
            return keys, node_rows.ids(tx)


def _named(woken: Iterable[Wake]) -> Iterator[Key]:
    """Give the keys that wakes name themselves; nothing has to be read for these."""
    for wake in woken:
        if wake.kind is not None:
            yield Key(wake.kind, wake.id)
        if wake.topic in _SUBJECTS:
            yield Key(wake.topic, wake.id)
