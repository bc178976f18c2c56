"""Reconciler of one interface: observe, diff, apply, observe again. Owns the order of work under the interface's lock.

It neither decides whether a change is allowed (`admission`) nor stores anything (journal, ledger): it makes the machine
equal to `desired` and knows what it last saw.
"""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import msgspec

from wgfleet.agent.interfaces.address_places import drift_of_rivals
from wgfleet.agent.interfaces.admission import foreign
from wgfleet.agent.interfaces.allowed_ips import AllowedIpIndex
from wgfleet.agent.interfaces.backbone import BackboneWatch
from wgfleet.agent.interfaces.effective_settings import EffectiveSettings
from wgfleet.agent.interfaces.floating_addresses import FloatingAddresses, ObservedAddresses
from wgfleet.agent.interfaces.forwarding_faults import forwarding_faults
from wgfleet.agent.interfaces.held_peers import HeldPeers
from wgfleet.agent.interfaces.live_sessions import CallBacks, LiveSessions
from wgfleet.agent.interfaces.observing import observed
from wgfleet.agent.interfaces.peer_cache import Comparison, PeerCache
from wgfleet.agent.interfaces.watch_board import MAX_DRIFT, ChangeSink
from wgfleet.agent.kernel.commands import KernelError
from wgfleet.agent.kernel.device_formats import Device
from wgfleet.agent.kernel.machine import Machine, Rules, has_ipv6, index_of
from wgfleet.agent.state.session_files import LiveSession
from wgfleet.protocol.desired import DesiredInterface, InterfaceDelta, tunnels_changed
from wgfleet.protocol.diff import NO_IPV6, Drift, InterfacePlan, PlanStep, diff
from wgfleet.protocol.ids import ConfigId, Generation
from wgfleet.protocol.keys import PublicKey
from wgfleet.protocol.messages import Applied, CallBack, Forwarding
from wgfleet.protocol.observed import PeerStats

if TYPE_CHECKING:
    from wgfleet.agent.interfaces.commit_confirm import SettingsTrial
    from wgfleet.agent.kernel.links import Link

_ROUNDS = 2  # plans executed before what is left is reported as drift
_SMOOTHING = 0.2  # of CPU time: the kernel counts another process's in steps of 10 ms
_LINK_EVERY_S = 30.0  # between two readings of link, addresses, routes and rules, if no event asks for one sooner
# A link that is made again ends all sessions. Clients are called back only if it was missing for so short a time that
# nobody can have taken them over; where the panel pushes, it knows better, and until they help themselves (15 s).
_NOTICED_S = 3.0
_PUSHED_S = 15.0
_ENDING_SESSIONS = {PlanStep.CREATE_LINK, PlanStep.SET_DEVICE, PlanStep.SET_LINK}


class InterfaceReconciler:
    """Reconciles one interface. Everything that changes it holds `lock`.

    `sessions_lost` is called when it had to do what ends sessions, with the endpoints of those that were in use, and
    whether it ended together with the agent: then others may serve them, which the panel knows.
    `kept_down`: whether the interface is to be down, whatever is desired.
    """

    def __init__(
        self,
        machine: Machine,
        desired: DesiredInterface,
        changes: ChangeSink,
        floating: FloatingAddresses,
        sessions_lost: Callable[["InterfaceReconciler", dict[PublicKey, str], bool], None] = lambda *_: None,
        trial: "SettingsTrial | None" = None,
        kept_down: Callable[[], bool] = bool,
    ) -> None:
        self.name = desired.settings.name
        self.lock = asyncio.Lock()
        self.desired = desired
        self.allowed_ips = AllowedIpIndex(desired.peers)
        self.summary = "not read yet"
        self._read_failed = True  # `summary` says so, or that nothing was read yet
        self.drift: tuple[Drift, ...] = ()
        self.scan_s = self.scan_cost_s = 0.0  # time that the last scan without repairs took; CPU of such scans
        self.muted: str | None = None  # why the interface sends nothing
        self.calling = Counter[PublicKey]()  # calls that hold a peer's keepalive, and guests
        self.guest_until = float("-inf")  # what comes out of the link until then may be a guest's
        self.forwarding: tuple[Forwarding, ...] = ()
        self.carries = False  # whether its NAT has TCP connections that may go on after their users have moved
        self.settings_changed = asyncio.Event()
        self.sessions = LiveSessions()
        self.call_backs = CallBacks()
        self._restored = False  # `sessions` are of the agent's last run, and the link was not read yet
        self._sessions_lost = sessions_lost
        self.backbone = BackboneWatch(self, machine)
        self._held_peers = HeldPeers(self.name)
        self.trial = trial
        self._effective = EffectiveSettings(trial, kept_down)
        self._up_at = self._link_seen_at = float("-inf")  # when the link was last seen to be up, and at all
        self._machine = machine
        self._changes = changes
        self._floating = floating
        self._addresses = ObservedAddresses()
        self._peers = PeerCache()
        self.recheck = self._peers.desired_changed  # compares peers at the next reading
        self._link: Link | None = None
        self._refused: dict[str, str] = {}  # addresses and routes that the machine would not take, as `diff` has them
        self._own_index: int | None = None  # of the link that is known to be ours
        self._rules = Rules(masquerade=False, filtered=False)
        self._forwarding: tuple[Drift, ...] = ()  # found when link and rules were read

    @property
    def config_id(self) -> ConfigId:
        return self.desired.settings.config_id

    @property
    def generation(self) -> Generation:
        return self.desired.generation

    @property
    def history(self) -> str:
        """The history that `generation` belongs to."""
        return self.desired.history

    @property
    def up(self) -> bool:
        return self._link is not None and self._link.up

    @property
    def stats(self) -> dict[PublicKey, PeerStats]:
        return self._peers.stats

    @property
    def held(self) -> tuple[str, ...] | None:
        """Floating addresses that the machine has for it; None until they were read."""
        present = self._floating.present(self.name)
        return None if present is None else tuple(sorted(present))

    @property
    def sources(self) -> tuple[str, ...]:
        """Addresses that clients may know this node by, beside its own: those from which they may be called."""
        floating = self.desired.settings.floating
        return (*(self.held or ()), *(floating.translated if floating is not None else ()))

    @property
    def rivals(self) -> dict[str, str]:
        """The link addresses of other machines that have floating addresses of this one."""
        return self._floating.conflicts(self.name)

    @property
    def called_back(self) -> CallBack | None:
        """The last time that sessions ended with the interface, and its peers were called."""
        return self.call_backs.last

    def owns(self, index: int) -> bool:
        """Whether the link of this index (the kernel gives none twice) is known to be ours."""
        return index == self._own_index

    @property
    def interface_index(self) -> int | None:
        """The kernel's index of the link that was last seen."""
        return None if self._link is None else self._link.index

    def remember(self, before: "InterfaceReconciler") -> None:
        """Take over what is known of the sessions of an interface that was removed by hand."""
        self.sessions, self._up_at = before.sessions, before._up_at  # noqa: SLF001 - of the same class
        self.sessions.keep(self.desired.peers)

    def restore(self, sessions: Mapping[PublicKey, LiveSession]) -> None:
        """Take over what the agent's last run knew of sessions; if the link is gone by now, they have ended."""
        self.sessions.restore(sessions)
        self._restored = bool(sessions)

    def still_up(self) -> None:
        """Note that the link, which was up when it was last read, is still there."""
        if self.up:
            self._up_at = time.monotonic()

    def set_muted(self, why: str | None) -> None:
        """Report that the interface sends nothing, and why, or that it does (None)."""
        if self.muted != why:
            self.muted = why
            self._changes.changed(self.name)

    def set_forwarding(self, found: tuple[Forwarding, ...]) -> None:
        """Report whether users' packets get through."""
        self.forwarding = found
        self._changes.changed(self.name)

    async def answers(self, within_s: float) -> bool:
        """Whether WireGuard does anything; needs no lock, which a scan holds while it hangs."""
        return await self._machine.answers(self.name, within_s)

    def refresh_link(self) -> None:
        """Have the next scan read link, addresses, routes and rules again: something changed on the machine."""
        self._link_seen_at = float("-inf")

    async def apply_whole(self, desired: DesiredInterface) -> Applied:
        """Make the machine equal to `desired`; the caller holds the lock and has stored it."""
        started = time.monotonic()
        self._work_towards(desired)
        self.sessions.keep(desired.peers)
        self.allowed_ips = AllowedIpIndex(desired.peers)
        self.backbone.changed()
        self._peers.forget()
        self.refresh_link()
        await self._converge_floating()
        self.settings_changed.set()  # by now it is known which addresses another machine still has
        changed = await self._converge(repair=True, sessions_from_s=_PUSHED_S)
        return self._applied(started, changed=changed)

    async def apply_delta(self, delta: InterfaceDelta, desired: DesiredInterface) -> Applied:
        """As `apply_whole`, but change the peers of `delta` before anything is read."""
        started = time.monotonic()
        if delta.remove:
            await self.count_usage()
        self.allowed_ips.apply(delta, self.desired.peers)
        tunnels = tunnels_changed(self.desired.peers, delta.upsert)
        self._work_towards(desired)
        self.sessions.forget(delta.remove)
        self.backbone.changed((*delta.remove, *delta.upsert))
        self._peers.desired_changed((*delta.upsert, *delta.remove))
        await self._held_peers.hold(desired, (*delta.upsert, *delta.remove))
        if self._link is not None:
            await self._machine.change_peers(self.name, upsert=tunnels, remove=delta.remove)
        if delta.settings is not None:
            self.refresh_link()
            await self._converge_floating()
            self.settings_changed.set()
        await self._converge(repair=True, sessions_from_s=_PUSHED_S)
        return self._applied(started, changed=True)

    async def count_usage(self) -> None:
        """Read what peers have used, before some of them, or all, are taken off the link."""
        with contextlib.suppress(KernelError, OSError):
            await self._read()

    async def _converge_floating(self) -> None:
        """Add and remove floating addresses first if the interface exists: reading all of it takes time."""
        if self._link is not None:
            with contextlib.suppress(KernelError):  # tried again, and reported, with the rest
                await self._floating.converge(self.desired.settings)

    async def apply_settings_again(self, why: str) -> None:
        """Apply what the trial of the settings says now, for the reason `why`; the caller does not hold the lock."""
        async with self.lock:
            self.refresh_link()
            await self._converge(repair=True)
            self.say(why)

    @property
    def effective(self) -> DesiredInterface:
        """What is to be made true: what is desired, but for some settings."""
        return msgspec.structs.replace(self.desired, settings=self._effective.of(self.desired.settings))

    def _work_towards(self, desired: DesiredInterface) -> None:
        self.desired = desired
        if self.trial is not None:
            self.trial.applying()

    def _applied(self, started: float, *, changed: bool) -> Applied:
        if self.trial is not None:
            self.trial.applied()
        left = len(self.drift)
        said = f"generation {self.generation} with {len(self.desired.peers)} peers applied"
        self.say(said if not left else f"{said}, but {left} fields differ")
        return Applied(
            generation=self.generation,
            changed=changed,
            verified=not left,
            seconds=time.monotonic() - started,
            drift=self.drift[:MAX_DRIFT],
            held=self.held,
        )

    async def scan(self, *, repair: bool) -> bool:
        """Observe, and repair what differs if `repair`; return whether anything was. The caller holds the lock."""
        started, cpu = time.monotonic(), self._machine.cpu_s(self.name)
        drift, held = self.drift, self.held
        repaired = await self._converge(repair=repair)
        if self.trial is not None:
            self.trial.applied()  # where the push that asked for it failed halfway
        if not repaired:
            self.scan_s = time.monotonic() - started
            cost = self._machine.cpu_s(self.name) - cpu
            self.scan_cost_s += _SMOOTHING * (cost - self.scan_cost_s)
        if repaired:
            left = f", {len(self.drift)} fields still differ" if self.drift else ""
            self.say(f"repaired what had changed on the machine{left}")
        elif self._read_failed or (self.drift, self.held) != (drift, held):
            self.say(f"{len(self.drift)} fields differ" if self.drift else "as wanted")
        return repaired

    def failed(self, reason: str) -> None:
        """Report that the interface could not be read or changed."""
        self._peers.forget()
        self.refresh_link()
        if self.summary != reason:
            self.say(reason)
        self._read_failed = True

    def say(self, summary: str) -> None:
        """Report what was done, in a sentence."""
        self.summary, self._read_failed = summary, False
        self._changes.changed(self.name)

    async def _converge(self, *, repair: bool, sessions_from_s: float = _NOTICED_S) -> bool:
        """Observe and repair; sessions that this ends are called again if the link was up `sessions_from_s` ago."""
        changed = False
        if self._link_is_due():  # the last reading is old, or something changed: what was refused may be possible now
            self._refused = {
                field: why for field, why in self._refused.items() if why == NO_IPV6 and not has_ipv6(self.name)
            }
        for round_ in range(_ROUNDS + 1):
            plan = await self._plan(repair=repair)
            others = drift_of_rivals(self._floating.rivals(self.name)) + self.backbone.drift + self._held_peers.drift
            tried = self._forwarding + (() if self.trial is None else self.trial.drift(self.desired.settings))
            self.drift = self._floating.places.drift(self.name) + tried + plan.drift + others
            if not plan or not repair or round_ == _ROUNDS:
                break
            await self._floating.remove(self.name, plan.remove_floating)
            lost = self._ended_by(plan, sessions_from_s)
            self._refused |= await self._machine.execute(plan, self.effective)
            await self._floating.take(self.name, plan.add_floating)
            changed = True
            self.refresh_link()
            if lost:
                self._sessions_lost(self, lost, self._restored)
                self._restored = False
            if PlanStep.CREATE_LINK in plan.steps:
                self._peers.forget()
        return changed

    def _ended_by(self, plan: InterfacePlan, from_s: float) -> dict[PublicKey, str]:
        """Return the sessions that end with a new link, another key or port, or a link that was down."""
        now = time.monotonic()
        was_up = self.effective.settings.enabled and (self._restored or now - self._up_at <= from_s)
        if not was_up or _ENDING_SESSIONS.isdisjoint(plan.steps):
            return {}
        return {key: at for key, at in self.sessions.in_use(now).items() if key in self.desired.peers}

    def _link_is_due(self) -> bool:
        another = self._link is not None and index_of(self.name) != self._link.index  # has its name by now
        return another or time.monotonic() - self._link_seen_at > _LINK_EVERY_S

    async def _plan(self, *, repair: bool) -> InterfacePlan:
        """Observe and diff. Peers that are as wanted, nearly all of them, take no part in the diff."""
        if due := self._link_is_due():
            await self._effective.look()
        wanted = self.effective
        settings = wanted.settings
        if due:
            seen_at = time.monotonic()
            self._link = self._check_own(await self._machine.link(self.name))
            self._rules = await self._machine.rules(settings, self._link)
            self._forwarding = await forwarding_faults(settings, self._link, self.desired.settings.mtu)
            await self._held_peers.look(self.desired, repair=repair)
            # The last: another may take an address between the question who has it and the taking of it.
            self._addresses = await self._floating.observe(settings)
            self._link_seen_at = seen_at
            self.still_up()
        if self._link is None:
            return diff(wanted, None, self._addresses.withheld, self._refused)
        device = await self._read()
        self._restored &= not self._link.up
        wrong = {key: seen for key, seen in self._peers.wrong.items() if key not in self.calling}
        return diff(
            DesiredInterface(
                generation=self.desired.generation,
                settings=settings,
                peers={key: self.desired.peers[key] for key in wrong if key in self.desired.peers},
            ),
            observed(
                self.name,
                self._link,
                device,
                self._rules,
                self._addresses,
                {key: seen for key, seen in wrong.items() if seen is not None},
            ),
            self._addresses.withheld,
            self._refused,
        )

    def _check_own(self, link: "Link | None") -> "Link | None":
        """Raise `KernelError` for a link that somebody made under our name since ours was there."""
        if link is None or link.marked or link.index == self._own_index:
            self._own_index = None if link is None else link.index
            return link
        self._link = None
        raise KernelError(foreign(self.name).detail)

    async def _read(self) -> Device:
        while True:
            async with self._machine.reading(self.name) as reading:
                comparison = Comparison(self._peers, reading.form, self.desired.peers)
                async for blocks in reading.blocks:
                    comparison.feed(blocks)
                    await asyncio.sleep(0)
            moved = comparison.finish()
            if moved is not None:
                if changed := moved.all:
                    self.sessions.note(changed, self._peers.stats, time.monotonic(), time.time())
                    self.backbone.seen(changed)
                    self._changes.changed(self.name, moved.news, moved.counters)
                return reading.device
