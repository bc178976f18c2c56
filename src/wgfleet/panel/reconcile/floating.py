"""The floating addresses of a config, from rows: handovers that nobody confirms are ended, clouds told who has what.

Who holds an address is decided in the transactions that change what it follows from (`services.floating`); this looks
again now and then, and after a restart.
"""

import traceback
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass

import structlog

from wgfleet.panel import clock
from wgfleet.panel.address_providers import AddressNode, AddressProvider, MeteredAddressProvider
from wgfleet.panel.dns.rate_limits import Limiter
from wgfleet.panel.errors import PermanentError, TransientError
from wgfleet.panel.reconcile.agents.connection import AgentConnection
from wgfleet.panel.reconcile.engine.threads import in_own_thread, in_thread
from wgfleet.panel.services import audit
from wgfleet.panel.services.fleet import node_agents
from wgfleet.panel.services.floating import attempts, brought, carriers, holders, isolation
from wgfleet.panel.services.floating import settings as floating_settings
from wgfleet.panel.services.floating.settings import Task
from wgfleet.panel.services.moves import address_move
from wgfleet.panel.store import Store
from wgfleet.panel.vault import Vault
from wgfleet.protocol.desired import LEASE_MARGIN_S
from wgfleet.protocol.features import Feature
from wgfleet.protocol.quotes import quoted
from wgfleet.protocol.reasons import Reason

POLL_S = 0.1  # while a node that is out of use may still confirm that it gave an address up
LOOK_AGAIN_S = 0.5  # while any node has yet to give one up
BEGUN = 3  # looks at a move that a provider has begun, before it is a failure
STUBBORN_S = 30.0  # an agent that answers but keeps what its dead node had is waited for no longer

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Heard:
    """What is heard of an agent: whether it speaks, and when it did last (s, monotonic)."""

    speaks: bool
    at: float


class FloatingReconciler:
    """Makes addresses follow their rows. `connections`: those to the agents, by node id."""

    def __init__(self, store: Store, vault: Vault, connections: Mapping[str, AgentConnection]) -> None:
        self._store = store
        self._vault = vault
        self._connections = connections
        self._since = clock.monotonic()  # nodes that are not connected to yet could be heard from here on
        self._asked: dict[str, dict[holders.Handover, float]] = {}
        self._limiter = Limiter(store, vault)
        self._asked_in_vain: dict[tuple[str, str], tuple[str, int]] = {}  # for which node, and how often in a row
        self._settled: dict[tuple[str, str], str] = {}  # by config and address: the node that last had it as it should

    async def reconcile(self, config_id: str) -> float | None:
        """Do what can be done now; return after how many s to look again, or None for when something changes."""
        heard = {node_id: Heard(not each.silent, each.heard_at) for node_id, each in self._connections.items()}
        wait_for_nodes_s = await in_thread(self._reassign, config_id, heard)
        task, addresses, wait_s = await in_thread(self._read, config_id)
        waits = [each for each in (wait_s, wait_for_nodes_s) if each is not None]
        if task is not None and addresses:
            waits += await in_own_thread(self._bring, config_id, task, addresses)
        return min(waits, default=None)

    def _reassign(self, config_id: str, heard: Mapping[str, Heard]) -> float | None:
        now = clock.monotonic()
        with self._store.write() as tx:
            nodes = carriers.nodes(tx, config_id)
            silent = nodes - {node_id for node_id, each in heard.items() if each.speaks}
            lapse_s = isolation.give_up_after_s(tx) + LEASE_MARGIN_S
            lapsing = node_agents.knowing(tx, silent, Feature.ADDRESS_TIMES)
            at = {node_id: heard[node_id].at if node_id in heard else self._since for node_id in lapsing}
            lapsed = {node_id for node_id in lapsing if now - at[node_id] >= lapse_s}
            unheard = self._unheard(config_id, holders.handovers(tx, config_id), silent, lapsed, heard, lapse_s)
            waiting = holders.overdue(tx, config_id, unheard)
            holders.reassign(tx, config_id, silent=silent)
            brought.release(tx, config_id)
            if not carriers.of_config(tx, config_id).on_agent:
                return None
            bad = carriers.unrouted(tx, config_id) | carriers.not_forwarding(tx, config_id)
            address_move.rescue(tx, config_id, lapsed | bad)
            if waiting:
                return POLL_S
            return LOOK_AGAIN_S if holders.handovers(tx, config_id) or lapsing - lapsed else None

    def _unheard(
        self,
        config_id: str,
        handovers: Collection[holders.Handover],
        silent: Collection[str],
        lapsed: Collection[str],
        heard: Mapping[str, Heard],
        lapse_s: float,
    ) -> holders.Unheard:
        """Tell which handovers have had their time. A panel that restarts gives them all of it again.

        `lapsed`: nodes whose kernels have no address any more.
        """
        now, before = clock.monotonic(), self._asked.get(config_id, {})
        asked = self._asked[config_id] = {handover: before.get(handover, now) for handover in handovers}

        def is_over(node_id: str, since: float) -> bool:
            last = max(since, heard[node_id].at) if node_id in heard else since
            return now - last >= lapse_s or now - since >= max(lapse_s, STUBBORN_S)

        over = {(address, node_id) for (address, node_id), since in asked.items() if is_over(node_id, since)}
        return holders.Unheard(
            silent=silent,
            late={each for each, since in asked.items() if now - since >= holders.ANSWER_S},
            lapsed=over | {handover for handover in asked if handover[1] in lapsed},
            over=over,
        )

    def _read(self, config_id: str) -> tuple[Task | PermanentError | None, Sequence[str], float | None]:
        """Return what the provider is to do (or why there is none), for which addresses, and when others are due."""
        with self._store.read() as tx:
            try:
                task = floating_settings.task(tx, self._vault, config_id)
            except PermanentError as error:
                return error, *attempts.due(tx, config_id, clock.now())
            if task is None:
                return None, (), None
            return task, *attempts.due(tx, config_id, clock.now())

    def _bring(self, config_id: str, task: Task | PermanentError, addresses: Sequence[str]) -> list[float]:
        """Have the provider bring each address to the node that is to hold it; return in how many s to try again."""
        if isinstance(task, PermanentError):
            return self._failed(config_id, dict.fromkeys(addresses), task)
        holders = {address: task.holders[address] for address in addresses if address in task.holders}
        waits: list[float] = []
        try:
            with closing(task.connect()) as provider:
                for address, node in holders.items():
                    waits += self._bring_one(config_id, task, provider, address, node)
        except Exception as error:  # noqa: BLE001 - a plugin may raise anything, and it is written down
            waits += self._failed(config_id, {address: node.id for address, node in holders.items()}, error)
        return waits

    def _bring_one(
        self, config_id: str, task: Task, provider: AddressProvider, address: str, node: AddressNode
    ) -> list[float]:
        routine = self._settled.get((config_id, address)) == node.id
        try:
            with self._metered(provider, routine=routine) as may:
                if not may:
                    return []
                before = provider.holder(address, task.nodes)
                there = before == node
                if not there:
                    self._settled.pop((config_id, address), None)
                    provider.assign(address, node)
                    there = (now := provider.holder(address, task.nodes)) == node
        except Exception as error:  # noqa: BLE001 - as above; the other addresses have their turn
            self._settled.pop((config_id, address), None)
            return self._failed(config_id, {address: node.id}, error)
        if not there:
            return self._contradicted(config_id, address, node, now)
        self._settled[config_id, address] = node.id
        self._asked_in_vain.pop((config_id, address), None)
        with self._store.write() as tx:
            if before != node:
                log.info("address.assigned", address=address, node=node.name, provider=task.provider)
                audit.record(
                    tx, audit.PANEL, "assigned", "floating_address", address,
                    config_id=config_id, node=node.name, before=before.name if before else None,
                )  # fmt: skip
            attempts.succeeded(tx, config_id, address)
            brought.is_with(tx, config_id, address, node.id)
        return []

    def _contradicted(self, config_id: str, address: str, node: AddressNode, now: AddressNode | None) -> list[float]:
        """Look again soon at what a provider says it has begun to bring; said again, it is a failure of its."""
        key = config_id, address
        last, times = self._asked_in_vain.get(key, (node.id, 0))
        times = times + 1 if last == node.id else 1
        self._asked_in_vain[key] = node.id, times
        if times <= BEGUN:
            return [LOOK_AGAIN_S * times]
        where = Reason("nobody") if now is None else quoted(now.name)
        error = TransientError(
            Reason(
                "the provider took the order to bring {address} to {node!r}, and says that {where} has it",
                address=address,
                node=node.name,
                where=where,
            )
        )
        return self._failed(config_id, {address: node.id}, error)

    @contextmanager
    def _metered(self, provider: AddressProvider, *, routine: bool) -> Iterator[bool]:
        """Count the calls of a provider against its account. False: what is routine leaves the rest for changes."""
        if not isinstance(provider, MeteredAddressProvider):
            yield True
            return
        account, before = provider.account, provider.calls
        if routine and not self._limiter.allows_routine(account):
            yield False
            return
        with self._limiter.counted(account):
            try:
                yield True
            finally:
                self._limiter.charge(account, provider.calls - before - 1)

    def _failed(self, config_id: str, holders: Mapping[str, str | None], error: Exception) -> list[float]:
        with self._store.write() as tx:
            wait_s = attempts.failed(tx, config_id, holders, error)
            brought.explain(tx, config_id)
        log.warning("address.failing", addresses=list(holders), error=attempts.said(error), at=_raised_at(error))
        return [] if wait_s is None else [wait_s]


def _raised_at(error: Exception) -> str:
    """Return where an error comes from: of a plugin's bug the place is said, for its words may hold a credential."""
    frames = traceback.extract_tb(error.__traceback__)
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else ""
