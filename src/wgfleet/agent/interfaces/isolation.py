"""Isolation of this machine: it gives up an interface's floating addresses, and reclaims them when the panel is back.

Isolated: for `give_up_after_s`, nothing was heard from the panel and most witnesses answered no probe. Owns that
decision and its clock; `floating_addresses` does the work.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable

import structlog

from wgfleet.agent.interfaces.floating_addresses import LAPSED, FloatingAddresses
from wgfleet.agent.interfaces.reconciler import InterfaceReconciler
from wgfleet.agent.interfaces.witnesses import Witnesses
from wgfleet.agent.kernel.commands import KernelError
from wgfleet.protocol.desired import FloatingSettings
from wgfleet.protocol.diff import floating_wanted
from wgfleet.protocol.keys import public_key_of
from wgfleet.protocol.messages import HEARTBEAT_S

_ASKS = 3  # rounds of probes within `give_up_after_s`; lost packets are a matter of `witnesses`
_TIMEOUT_S = 1.0  # a probe's, at most
_LEAST_TIMEOUT_S = 0.2  # also when time is up already because this process was held up: it may not be isolated
_LISTEN_S = 0.5  # between two checks whether the panel is back
# A panel that is back pushes only what changed meanwhile. Silence for this long means that nothing did.
_GRACE_S = 2.0
_RENEW_EVERY_S = 0.5  # the kernel counts in whole s, and gets 2 or more
_FIRST_LOOK_S = 0.05
_ASK_EVERY_S = 0.25  # while another machine has an address that the panel wants here
_ASK_SOON_S, _SOON_S = 0.05, 1.0  # at first, since that of a dead one is free as soon as routers have noticed
_ASK_AGAIN_S = 10.0  # between two checks of an address that another machine claims, while the panel is there
_NEAR_S = 2 * HEARTBEAT_S  # a panel that is there has acknowledged a heartbeat by then
_log = structlog.get_logger()


class IsolationWatch:
    """The check of one interface. `heard_at`: when the panel was last heard; `watched`: whether it reads the stream."""

    def __init__(
        self,
        reconciler: InterfaceReconciler,
        floating: FloatingAddresses,
        witnesses: Witnesses,
        heard_at: Callable[[], float],
        watched: Callable[[], bool],
    ) -> None:
        self._reconciler = reconciler
        self._floating = floating
        self._witnesses = witnesses
        self._panel_heard_at = heard_at
        self._watched = watched
        self._heard_at = time.monotonic()
        self._asked_again_at = float("-inf")
        self._asks_since: float | None = None
        self._looked_back = False

    async def run(self) -> None:
        """Check until cancelled; sleep while the interface has no floating addresses."""
        while True:
            settings = self._reconciler.desired.settings
            self._reconciler.settings_changed.clear()
            asks = self._floating.asks(self._reconciler.name)
            self._asks_since = self._asks_since if asks else None
            if settings.floating is None or not floating_wanted(settings):
                await self._reconciler.settings_changed.wait()
                self._heard_at = time.monotonic()
            elif self._floating.present(self._reconciler.name) is None:
                await asyncio.sleep(_FIRST_LOOK_S)
            elif not self._looked_back:
                self._looked_back = True
                self._look_back(settings.floating)
            elif self._floating.waits_for_panel(self._reconciler.name):
                await self._wait_for_panel()
            elif asks:
                await self._ask_again()
            elif settings.floating.witnesses:
                await self._listen(settings.floating)
            else:
                await self._pause(_ASK_AGAIN_S)  # no other node could take them; but somebody may claim one

    def _look_back(self, floating: FloatingSettings) -> None:
        """Go on with the time that the agent before this one had left: a restart is no reason to hold on for longer."""
        lapses_at = self._floating.lapses_at(self._reconciler.name)
        if lapses_at != float("inf"):
            self._heard_at = min(self._heard_at, lapses_at - floating.give_up_after_s)

    async def keep_renewing(self) -> None:
        """Have the kernel keep the addresses, as long as they may be held, until cancelled."""
        name = self._reconciler.name
        while True:
            await asyncio.sleep(_RENEW_EVERY_S)
            settings = self._reconciler.desired.settings
            if settings.floating is None or not floating_wanted(settings) or self._floating.waits_for_panel(name):
                continue
            left_s = None
            if settings.floating.witnesses:
                heard_at = max(self._heard_at, self._panel_heard_at())
                left_s = heard_at + settings.floating.give_up_after_s - time.monotonic()
                if left_s <= 0:
                    continue  # it is about to give them up
            if left_s is not None and not self._watched() and (rivals := self._floating.rivals(name)):
                # The panel has given it to another node, which was not heard when it asked, or did not ask.
                who = ", ".join(sorted(set(rivals.values())))
                await self._give_up(settings.floating, f"given up: {who} has it, and the panel is not heard")
                continue
            try:
                kept = await self._floating.renew(name, left_s)
            except KernelError as error:
                _log.error("floating_address.renewal_failed", interface=name, reason=str(error))
                continue
            if not kept:
                await self._give_up(settings.floating, LAPSED)

    async def _listen(self, floating: FloatingSettings) -> None:
        """Make sure that somebody can be heard: sleep, probe the witnesses, or give up."""
        every = floating.give_up_after_s / _ASKS
        self._heard_at = max(self._heard_at, self._panel_heard_at())
        started = time.monotonic()
        if (quiet := started - self._heard_at) < every:
            await self._pause(every - quiet)
            return
        left = floating.give_up_after_s - quiet
        if await self._most_answer(floating, min(_TIMEOUT_S, max(_LEAST_TIMEOUT_S, left))):
            self._heard_at = started
            return
        self._heard_at = max(self._heard_at, self._panel_heard_at())
        now = time.monotonic()
        until_end = self._heard_at + floating.give_up_after_s - now
        if until_end <= 0:
            others = len(floating.witnesses)
            await self._give_up(
                floating,
                f"given up: nothing heard from the panel or from most of {others} other nodes "
                f"for {floating.give_up_after_s:g} s; waiting for the panel",
            )
        elif until_end <= 2 * _LEAST_TIMEOUT_S:
            await asyncio.sleep(_LEAST_TIMEOUT_S / 2)
        else:  # the last round must end in time
            await self._pause(max(0.0, min(started + every - now, until_end - 2 * _LEAST_TIMEOUT_S)))

    async def _most_answer(self, floating: FloatingSettings, timeout_s: float) -> bool:
        """Probe all witnesses; return as soon as most of those answer that ever did.

        One alone is no sign that the panel has this node in use: it may be cut off together with this one.
        """
        own = public_key_of(self._reconciler.desired.settings.private_key)
        enough = len(floating.witnesses) // 2 + 1
        answered = await self._witnesses.ask(
            floating.witnesses, own, floating.probe_key, enough=enough, timeout_s=timeout_s
        )
        return 2 * len(answered) > len(self._witnesses.proven(floating.witnesses))

    async def _give_up(self, floating: FloatingSettings, why: str) -> None:
        name = self._reconciler.name
        _log.error("floating_address.given_up", interface=name, addresses=list(floating.addresses), reason=why)
        try:
            await self._floating.give_up(name, why)
        except KernelError as error:
            _log.error("floating_address.removal_failed", interface=name, reason=str(error))
        self._reconciler.refresh_link()  # the next scan reports, and removes what is left

    async def _wait_for_panel(self) -> None:
        """Sleep; when the panel has read for a while without pushing, check whether the addresses are free.

        A push needs nothing from here: applying it confirms the addresses.
        """
        since = time.monotonic()
        if since - self._panel_heard_at() > _NEAR_S:
            self._floating.doubt(self._reconciler.name)
        while self._watched() and self._floating.waits_for_panel(self._reconciler.name):
            await asyncio.sleep(_LISTEN_S)
            now = time.monotonic()
            if now - since >= _GRACE_S and now - self._asked_again_at >= _ASK_AGAIN_S:
                self._asked_again_at = self._heard_at = now
                self._floating.recheck_claims(self._reconciler.name)
                self._reconciler.refresh_link()
                return
        self._heard_at = time.monotonic()
        await asyncio.sleep(_LISTEN_S)

    async def _ask_again(self) -> None:
        """Take an address, as the panel wants, as soon as the machine that it cannot ask has left it."""
        if await self._floating.ask_again(self._reconciler.name):
            async with self._reconciler.lock:
                self._reconciler.refresh_link()
                with contextlib.suppress(KernelError):  # the next scan tries it again, and reports it
                    await self._reconciler.scan(repair=True)
        else:
            now = time.monotonic()
            self._asks_since = self._asks_since or now
            await self._pause(_ASK_SOON_S if now - self._asks_since < _SOON_S else _ASK_EVERY_S)

    async def _pause(self, seconds: float | None) -> None:
        """Sleep until the time is up or the settings change."""
        try:
            async with asyncio.timeout(seconds):
                await self._reconciler.settings_changed.wait()
        except TimeoutError:
            return
