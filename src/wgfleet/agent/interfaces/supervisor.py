"""Supervisor of all interfaces that the agent keeps: it watches them all the time and changes them when the panel asks.

Owns the order of the durable steps (journal, ledger, machine), so that the next start repairs a kill between any two of
them.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import structlog

from wgfleet.agent.interfaces import admission
from wgfleet.agent.interfaces.address_record import boot_id
from wgfleet.agent.interfaces.admission import KeptInterface, RefusedError, Situation
from wgfleet.agent.interfaces.floating_addresses import FloatingAddresses
from wgfleet.agent.interfaces.ownership import Ownership
from wgfleet.agent.interfaces.reconciler import InterfaceReconciler
from wgfleet.agent.interfaces.takeover import Takeovers, call_again
from wgfleet.agent.interfaces.tasks import InterfaceTasks, Watches
from wgfleet.agent.interfaces.usage import CountedChanges, UsageMeter
from wgfleet.agent.interfaces.watch_board import WatchBoard
from wgfleet.agent.interfaces.way_out import WayOut
from wgfleet.agent.kernel import backbone_links, changes
from wgfleet.agent.kernel.commands import KernelError
from wgfleet.agent.kernel.load import LoadMeter
from wgfleet.agent.kernel.machine import Machine, link_exists
from wgfleet.agent.state.adoptions import Adoptions
from wgfleet.agent.state.journal import Journal
from wgfleet.agent.state.ledger import Ledger
from wgfleet.agent.state.session_files import SessionFiles
from wgfleet.protocol.desired import (
    DesiredInterface,
    InterfaceDelta,
    Push,
    apply_delta,
    check_allowed_ips,
    check_not_itself,
)
from wgfleet.protocol.ids import ConfigId, Generation, InterfaceName
from wgfleet.protocol.keys import PrivateKey, PublicKey
from wgfleet.protocol.messages import Applied, Refusal

if TYPE_CHECKING:
    from wgfleet.agent.interfaces.mute import MuteWatch

_PANEL_SAYS_S = 0.5  # that the panel, which has just connected, takes to push what it has decided meanwhile
_log = structlog.get_logger()


class InterfaceSupervisor:
    """All interfaces of this agent."""

    def __init__(
        self,
        machine: Machine,
        journal: Journal,
        ledger: Ledger,
        make_watches: Callable[[InterfaceReconciler, FloatingAddresses, WatchBoard], Watches],
        *,
        interval_s: float = 1.0,
        repair: bool = True,
        way_out: WayOut | None = None,
        kept_down: Callable[[], bool] = bool,
        panel_reads_s: Callable[[], float] = float,
        session_files: SessionFiles | None = None,
        usage: UsageMeter | None = None,
        adoptions: Adoptions | None = None,
    ) -> None:
        self.machine = machine
        self.reconcilers: dict[InterfaceName, InterfaceReconciler] = {}
        self.meter = LoadMeter()
        self.board = WatchBoard(self.reconcilers.values, time.time, self.meter.load)
        self.usage = CountedChanges(self.board, usage or UsageMeter(), self.reconcilers)
        self.repair = repair
        self.floating = FloatingAddresses(ledger)
        self.takeovers = Takeovers(machine)
        self._make_watches = make_watches
        self._mutes: dict[InterfaceName, MuteWatch] = {}
        self._journal = journal
        self._way_out = way_out
        self._kept_down = kept_down
        self._panel_reads_s = panel_reads_s
        self._ledger = ledger
        self._interval_s = interval_s
        self._locks: dict[InterfaceName, asyncio.Lock] = {}
        self._tasks: dict[InterfaceName, InterfaceTasks] = {}
        self._boot = boot_id()
        self._ownership = Ownership(machine, ledger, adoptions, self._boot)
        self._session_files = session_files or SessionFiles(self._boot)
        self._attention = asyncio.Event()
        self._calls: set[asyncio.Task[None]] = set()  # a task that nobody refers to may be collected
        self._removed_by_hand: dict[InterfaceName, InterfaceReconciler] = {}
        self._broken: BaseException | None = None

    @property
    def notes(self) -> list[str]:
        """What is not as it should be with the agent as a whole, a sentence each."""
        return list(self._journal.notes)

    @property
    def scan_interval_s(self) -> float:
        """Time between two scans of the interface that is scanned most rarely."""
        return max((each.interval_s for each in self._tasks.values()), default=self._interval_s)

    @property
    def stuck_for_s(self) -> float:
        """Time since the interface that was looked at least recently was looked at."""
        return max((each.unseen_s for each in self._tasks.values()), default=0.0)

    def uses(self, port: int) -> bool:
        """Whether an interface of the agent is to listen at this UDP port."""
        return any(each.desired.settings.listen_port == port for each in self.reconcilers.values())

    def reconciler(self, name: InterfaceName) -> InterfaceReconciler:
        """Return the reconciler of an interface; raise `RefusedError` (404) if there is none."""
        if name not in self.reconcilers:
            foreign = link_exists(name) and name not in self._ledger.owned()
            raise RefusedError(admission.foreign(name) if foreign else admission.not_found(name))
        return self.reconcilers[name]

    async def start(self) -> None:
        """Finish removals and apply what is on disk. A broken interface does not delay the others."""
        await self.machine.remove_leftover_source_routes()
        for name, owned in self._ledger.owned().items():
            if owned.deleting:
                try:
                    await self._finish_delete(name, foreign=await self._ownership.is_foreign(name, None))
                except (KernelError, OSError) as error:
                    _log.error("interface.removal_failed", interface=name, reason=str(error))
        for name, desired in self._journal.load().items():
            try:
                if await self._ownership.is_foreign(name, None, desired.settings.private_key):
                    _log.error("interface.foreign", interface=name, reason=admission.foreign(name).detail)
                    continue
                self._ledger.claim(name, desired.settings.config_id, self._boot)
                if self._ledger.lost:
                    await self.floating.recover(desired.settings)
            except (KernelError, OSError) as error:
                _log.error("interface.not_read", interface=name, reason=str(error))
            self._keep(desired, first=True)
        try:
            wanted = (each.effective.settings for each in self.reconcilers.values())
            ports = [each.backbone.port for each in wanted if each.enabled and each.backbone is not None]
            await backbone_links.remove_others(self.machine, ports, {*self.reconcilers, *self._ledger.owned()})
        except (KernelError, OSError) as error:
            _log.error("backbone.removal_failed", reason=str(error))
        for note in self._journal.notes:
            _log.warning("state.fields_skipped", reason=note)

    async def run(self) -> None:
        """Have the scans read links again when the machine's links or firewall change, until cancelled.

        Raise what broke a task of an interface: an agent that answers but no longer scans is worse than one that ends
        and is restarted.
        """
        loop = asyncio.get_running_loop()
        sources = changes.open_sources()
        for source in sources:
            loop.add_reader(source.events, self._attention.set)
        try:
            while True:
                await self._attention.wait()
                self._attention.clear()
                if self._broken is not None:
                    raise self._broken
                changed = [source.drain() for source in sources]
                if any(changed):
                    self.look_again()
                # Our own changes come back as events too; all that they cause is one reading at the next scan.
                await asyncio.sleep(0.1)
        finally:
            for source in sources:
                loop.remove_reader(source.events)
                source.close()
            for each in self._tasks.values():
                each.stop()

    def look_again(self) -> None:
        """Have the next scan of each interface read everything."""
        for reconciler in self.reconcilers.values():
            reconciler.refresh_link()
        for tasks in self._tasks.values():
            tasks.look_again()

    async def push(self, name: InterfaceName, push: Push, heard_at: float) -> Applied:
        """Check, store and apply a push. `heard_at`: when the panel last heard this agent, in s of the monotonic clock.

        `RefusedError` or `FieldError`, `OSError` (not stored, so not applied) or `KernelError`.
        """
        async with self._exclusive(name):
            key = push.settings.private_key if push.settings is not None else None
            situation = await self._situation(name, admission.config_of(push), key)
            if situation.foreign and (found := await self._ownership.same_key(name, push)) is not None:
                situation = replace(situation, foreign=not found.adopted, same_key=found)
                if found.adopted:
                    self.usage.meter.begin_here(admission.config_of(push))
            refusal = admission.check_push(push, situation)
            if refusal is not None:
                raise RefusedError(refusal)
            speaks_from = heard_at
            if isinstance(push, InterfaceDelta):
                reconciler = self.reconcilers[name]
                reconciler.allowed_ips.check(push)
                desired = apply_delta(reconciler.desired, push)
                await self._check_way_out(reconciler.desired, desired)
                await asyncio.to_thread(self._journal.append, push, desired)
                applied = await self._apply(reconciler, partial(reconciler.apply_delta, push, desired), heard_at)
            else:
                kept = self.reconcilers.get(name)
                await self._check_way_out(None if kept is None else kept.desired, push)
                if name in self._mutes and not any(peer.allowed_ips for peer in push.peers.values()):
                    # It was replaced. Its WireGuard may hang, and must not draw users here before it has dropped them.
                    await self._mutes[name].mute("its users are with other nodes")
                    speaks_from = float("inf")  # with nobody left to draw here
                applied = await self._apply_whole(push, heard_at=heard_at)
            self._release(name, speaks_from)
            return applied

    def unmute(self, name: InterfaceName, heard_at: float) -> None:
        """Let an interface send again if it is muted: the panel says that it has what it is to have.

        `RefusedError` where the panel, which last heard this agent at `heard_at`, may have said so before it was muted.
        """
        if not self._release(name, heard_at):
            raise RefusedError(
                Refusal(
                    title="the panel may not know yet",
                    status=409,
                    detail=f"interface {name} fell silent after the panel last heard this agent; say it again",
                    reason="late",
                )
            )

    def _release(self, name: InterfaceName, heard_at: float) -> bool:
        return name not in self._mutes or self._mutes[name].release(heard_at)

    async def _check_way_out(self, old: DesiredInterface | None, new: DesiredInterface) -> None:
        """Refuse settings that would cut this machine off, and put others that could on trial."""
        if self._way_out is not None and (refusal := await self._way_out.check(old, new)) is not None:
            raise RefusedError(refusal)

    async def change(self, name: InterfaceName, change: Callable[[DesiredInterface], DesiredInterface]) -> Applied:
        """Store and apply a change that a person makes by hand to the generation that is there. Errors as `push`."""
        async with self._exclusive(name):
            desired = change(self.reconciler(name).desired)
            check_allowed_ips(desired.peers)
            check_not_itself(desired)
            if self._way_out is not None:
                self._way_out.trial(name).begin(self.reconciler(name).desired.settings, desired.settings)
            return await self._apply_whole(desired, heard_at=None)

    async def _apply_whole(self, desired: DesiredInterface, *, heard_at: float | None) -> Applied:
        """Store and apply; `heard_at` as in `push`, None: it is not of the panel."""
        name = desired.settings.name
        await asyncio.to_thread(self._journal.write, desired)
        if name not in self.reconcilers:
            try:
                self._ledger.add(name, desired.settings.config_id, self._boot)
            except OSError:
                self._journal.remove(name)
                raise
            self._ownership.adopted(name)
            self._keep(desired)
        reconciler = self.reconcilers[name]
        return await self._apply(reconciler, partial(reconciler.apply_whole, desired), heard_at)

    async def _apply(
        self, reconciler: InterfaceReconciler, work: Callable[[], Awaitable[Applied]], heard_at: float | None
    ) -> Applied:
        async with reconciler.lock:
            if heard_at is not None:
                # Not before: a scan that is under way would take what was wanted so far, as if the panel had said that.
                self.floating.confirm(reconciler.name, heard_at)
            try:
                return await work()
            except KernelError as error:
                reconciler.failed(str(error))
                raise

    async def delete(self, name: InterfaceName, config_id: ConfigId | None, generation: Generation | None) -> None:
        """Remove an interface; nothing there is no error. Errors as `push`."""
        async with self._exclusive(name):
            kept = self.reconcilers.get(name)
            situation = await self._situation(name, config_id or (kept.config_id if kept else ConfigId("")))
            refusal = admission.check_delete(situation, config_id, generation)
            if refusal is not None:
                raise RefusedError(refusal)
            config_id = config_id or (kept.config_id if kept else None)
            past = admission.past_after_delete(situation.kept, generation)
            if past is not None and config_id is not None:
                self._ledger.bury(name, config_id, past)
            if kept is not None:
                async with kept.lock:
                    # Only now, when neither is in the middle of making a link.
                    self._tasks.pop(name).stop()
                    del self._mutes[name]
                    await self.usage.ending(kept)
                    del self.reconcilers[name]
                    if generation is None:  # a person's; the panel brings it back
                        self._removed_by_hand[name] = kept
                    try:
                        await kept.backbone.remove()
                    except (KernelError, OSError) as error:  # nobody's access depends on it; the next start removes it
                        _log.error("backbone.removal_failed", interface=name, reason=str(error))
                    await self._finish_delete(name, foreign=situation.foreign)
            elif name in self._ledger.owned():  # a removal before this one failed halfway
                await self._finish_delete(name, foreign=situation.foreign)
            else:
                return
            self.board.gone(name)
            _log.info("interface.removed", interface=name, config_id=config_id)

    async def _finish_delete(self, name: InterfaceName, *, foreign: bool) -> None:
        self._journal.remove(name)
        await self.floating.forget(name)
        if not foreign:
            await self.machine.delete(name)
        self._ledger.drop(name)
        self._session_files.remove(name)
        if self._way_out is not None:
            self._way_out.forget(name)

    def _keep(self, desired: DesiredInterface, *, first: bool = False) -> None:
        """Keep an interface from now on; `first`: since before this run of the agent."""
        name = desired.settings.name
        reconciler = self.reconcilers[name] = InterfaceReconciler(
            self.machine,
            desired,
            self.usage,
            self.floating,
            self._call_again,
            None if self._way_out is None else self._way_out.trial(name),
            self._kept_down,
        )
        before = self._removed_by_hand.pop(name, None)
        if before is not None and before.config_id == reconciler.config_id:
            reconciler.remember(before)
        elif first:
            self.usage.meter.kept_before(reconciler.config_id)
            kept = self._session_files.read(name, reconciler.config_id)
            reconciler.restore({key: session for key, session in kept.items() if key in desired.peers})
        watches = self._make_watches(reconciler, self.floating, self.board)
        self._mutes[name] = watches[1]
        self._tasks[name] = InterfaceTasks(
            reconciler,
            self.machine,
            watches,
            self._break,
            self._session_files,
            interval_s=self._interval_s,
            repair=self.repair,
        )

    def _call_again(self, reconciler: InterfaceReconciler, endpoints: dict[PublicKey, str], panel_first: bool) -> None:
        """Call peers whose sessions ended; `panel_first`: once the panel has had time to say that others serve them."""

        def may_speak() -> bool:
            if reconciler.muted is not None:
                return False
            return not panel_first or self._panel_reads_s() >= _PANEL_SAYS_S

        task = asyncio.create_task(call_again(self.takeovers, reconciler, endpoints, may_speak))
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)

    def _break(self, error: BaseException) -> None:
        self._broken = error
        self._attention.set()

    @asynccontextmanager
    async def _exclusive(self, name: InterfaceName) -> AsyncIterator[None]:
        """One push or removal of an interface at a time."""
        lock = self._locks.setdefault(name, asyncio.Lock())
        async with lock:
            yield

    async def _situation(
        self, name: InterfaceName, config_id: ConfigId, private_key: PrivateKey | None = None
    ) -> Situation:
        reconciler = self.reconcilers.get(name)
        return Situation(
            name=name,
            kept=None
            if reconciler is None
            else KeptInterface(reconciler.config_id, reconciler.generation, reconciler.desired.history),
            foreign=await self._ownership.is_foreign(name, reconciler, private_key),
            past=self._ledger.tombstone(name, config_id),
        )
