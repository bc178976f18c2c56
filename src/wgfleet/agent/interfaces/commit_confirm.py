"""Commit-confirm: settings after which the panel is not heard any more are taken back.

A route, an address or a firewall rule can cut the machine off from the panel, which then cannot undo it. So such a
change is on trial until the panel has acknowledged something that was sent after it. If that does not happen in time,
the settings of before apply again, and the rest of the push (peers, keys) stays. When the panel is heard again, it is
tried again: the panel may just have restarted. Owns the trial; the reconciler applies what it says.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from typing import Protocol

import structlog

from wgfleet.agent.kernel.commands import KernelError
from wgfleet.agent.state.confirmed import ConfirmedFiles, ConfirmedSettings
from wgfleet.protocol.desired import InterfaceSettings
from wgfleet.protocol.diff import Drift, absent
from wgfleet.protocol.ids import InterfaceName

_LOOK_S = 0.25
_HEARD_FOR_S = 2.0  # that a panel has to be heard before settings that were taken back are tried again
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 600.0, 3600.0  # between two tries that failed: each cuts the panel off for a while
_log = structlog.get_logger()


class Contact(Protocol):
    """What is known of the panel's connections."""

    def is_near(self) -> bool: ...
    def sent(self) -> object: ...
    def acknowledged_since(self, sent: object) -> bool: ...


class SettingsTrial:
    """The trial of one interface's settings. `watched`: whether the panel reads what this agent sends."""

    def __init__(
        self, name: InterfaceName, files: ConfirmedFiles, contact: Contact, watched: Callable[[], bool], wait_s: float
    ) -> None:
        self._name = name
        self._files = files
        self._contact = contact
        self._watched = watched
        self._wait_s = wait_s
        self._before: ConfirmedSettings | None = files.read(
            name
        )  # what was confirmed, while something else is on trial
        self._taken_back = self._before is not None  # and it applies now
        self._why = "on trial when this machine or its agent ended"
        self._next_at = float("-inf")
        self._pause_s = _FIRST_PAUSE_S
        self._is_applied = False
        self._waited_s = 0.0  # for the panel, since it was
        self._applying = False  # what was prepared is what the reconciler works towards now
        self._sent: object = None
        self._changed = asyncio.Event()

    def effective(self, settings: InterfaceSettings) -> InterfaceSettings:
        """Return what is to apply now."""
        return self._before.put_into(settings) if self._before is not None and self._taken_back else settings

    def confirmed(self, settings: InterfaceSettings) -> InterfaceSettings:
        """Return settings as they were when the panel was last heard with them."""
        return settings if self._before is None else self._before.put_into(settings)

    def drift(self, settings: InterfaceSettings) -> tuple[Drift, ...]:
        """List what was taken back."""
        if self._before is None or not self._taken_back:
            return ()
        found = []
        for field in ("addresses", "routes"):
            want, have = set(getattr(settings, field)), set(getattr(self._before, field))
            found += [Drift(f"{field}.{item}", "present", absent(self._why)) for item in sorted(want - have)]
            found += [Drift(f"{field}.{item}", "absent", f"present: {self._why}") for item in sorted(have - want)]
        if settings.masquerade != self._before.masquerade:
            found.append(Drift("masquerade", str(settings.masquerade), f"{self._before.masquerade}: {self._why}"))
        if settings.reach != self._before.reach:
            found.append(Drift("reach", "as pushed", f"as before: {self._why}"))
        return tuple(found)

    def begin(self, old: InterfaceSettings | None, new: InterfaceSettings) -> None:
        """Prepare a change; raise OSError if it cannot be written down, so that nothing may be applied.

        `old`: the settings that were pushed before, None for a new interface.
        """
        wanted = ConfirmedSettings.of(new)
        now = ConfirmedSettings() if old is None else ConfirmedSettings.of(self.effective(old))
        if self._taken_back and old is not None and ConfirmedSettings.of(old) == wanted:
            return  # it was tried; the next try has its time
        if wanted == now or self._wait_s <= 0 or not self._watched():
            self._settle()
            return
        self._files.write(self._name, now)
        self._before, self._taken_back, self._is_applied = now, False, False
        self._applying, self._next_at, self._pause_s = False, float("-inf"), _FIRST_PAUSE_S

    def applying(self) -> None:
        """Note that the reconciler works towards the change from now on."""
        self._applying = True

    def applied(self) -> None:
        """Note that the change has been made: from now on the panel has to be heard."""
        if self._before is not None and self._applying and not self._taken_back and not self._is_applied:
            self._is_applied, self._waited_s, self._sent = True, 0.0, self._contact.sent()
            self._changed.set()

    async def run(self, apply_again: Callable[[str], Awaitable[None]]) -> None:
        """Watch until cancelled; `apply_again` makes the interface equal to `effective`, and says why."""
        while True:
            if self._taken_back:
                await self._try_again(apply_again)
            elif self._before is None or not self._is_applied:
                self._changed.clear()
                await self._changed.wait()
            elif self._contact.acknowledged_since(self._sent):
                self._settle()
                _log.info("settings.confirmed", interface=self._name)
            elif self._waited_s > self._wait_s:
                await self._take_back(apply_again)
            else:
                await asyncio.sleep(_LOOK_S)
                self._waited_s += _LOOK_S  # not by the clock: an agent that was held up has sent nothing either

    async def _take_back(self, apply_again: Callable[[str], Awaitable[None]]) -> None:
        self._why = f"taken back, since the panel was not heard for {self._wait_s:g} s after it"
        self._taken_back, self._is_applied = True, False
        # The first time the panel may just have restarted, so the next try is when it is heard.
        first = self._pause_s == _FIRST_PAUSE_S and self._next_at == float("-inf")
        self._next_at = time.monotonic() + (0.0 if first else self._pause_s)
        self._pause_s = self._pause_s if first else min(2 * self._pause_s, _LONGEST_PAUSE_S)
        _log.error("settings.taken_back", interface=self._name, reason=self._why)
        await self._apply(apply_again, f"routes, addresses and masquerading of before: the new ones were {self._why}")

    async def _try_again(self, apply_again: Callable[[str], Awaitable[None]]) -> None:
        heard_from = time.monotonic()
        while time.monotonic() - heard_from < _HEARD_FOR_S or time.monotonic() < self._next_at:
            if not self._taken_back:
                return
            if not (self._watched() and self._contact.is_near()):
                heard_from = time.monotonic()
            await asyncio.sleep(_LOOK_S)
        _log.info("settings.tried_again", interface=self._name)
        self._taken_back, self._is_applied, self._applying = False, False, True
        self._next_at = time.monotonic()  # if it fails once more, the next try has to wait
        await self._apply(apply_again, "trying again what had been taken back")
        self.applied()

    async def _apply(self, apply_again: Callable[[str], Awaitable[None]], why: str) -> None:
        with contextlib.suppress(KernelError, OSError):  # said, and tried again, by the scans
            await apply_again(why)

    def _settle(self) -> None:
        """Take what applies now as confirmed."""
        self._before, self._taken_back, self._is_applied = None, False, False
        self._next_at, self._pause_s = float("-inf"), _FIRST_PAUSE_S
        try:
            self._files.remove(self._name)
        except OSError as error:
            _log.error("settings.confirmation_not_written", interface=self._name, reason=error.strerror)
