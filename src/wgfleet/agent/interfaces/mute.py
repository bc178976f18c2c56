"""A node that may have been replaced says nothing to clients before it has heard the panel.

Each packet to a client draws it here, and if another node has taken its session over meanwhile, it is then silent for
15 s. So the interface's port is muted (`kernel.mute_table`) when this machine is cut off (for `ALONE_S` it heard
neither the panel, nor a witness that had answered before, nor anybody), when WireGuard alone hangs (for `HUNG_S` it
answered nothing), by the kernel itself when WireGuard and agent have said nothing for `SPEAKS_FOR_S`, and before a push
that takes all users away is applied.

It speaks again when the panel has pushed or has said that nothing is missing, and has heard this agent since, whose
WireGuard works: what was under way during a cut or a hang arrives at its end, and says nothing of what the panel
decided meanwhile. A panel that is dead stops nobody: where it was not heard for `PANEL_AWAY_S` nobody replaces nodes,
so nothing mutes for being alone, and a node that is muted speaks again when witnesses have answered, or anybody has
spoken to it, for a while. An agent that ends takes the tables of interfaces that may send away (`let_send`).
"""

import asyncio
import contextlib
import time
from collections.abc import Callable
from pathlib import Path

import structlog

from wgfleet.agent.interfaces.reconciler import InterfaceReconciler
from wgfleet.agent.interfaces.witnesses import Witnesses
from wgfleet.agent.kernel import mute_table, nft_tables
from wgfleet.agent.kernel.commands import KernelError
from wgfleet.protocol.desired import MuteSettings
from wgfleet.protocol.keys import public_key_of

TICK_S = 0.4
QUIET_S = 0.75  # without the panel, before witnesses are asked: more than a heartbeat and its acknowledgement
ALONE_S = 1.25  # the panel needs about a second to find a node down, and calls its clients then
PANEL_AWAY_S = 10.0
HUNG_S = 1.25  # without an answer of WireGuard; as `ALONE_S`
_ASK_S = 0.3  # that a witness has to answer
_QUESTIONS = 3  # to a WireGuard that hangs: an agent that is held up itself misses the answer to one
_PROVE_EVERY_S = 10.0
_VERIFY_EVERY_S = 30.0
_PANEL_DECIDES_S = 5.0  # a panel that reads for so long and says nothing is one that does not know this
_WITNESSES_S = 6.0  # a panel that lives connects within 3 s
_OTHERS_S = 6.0  # since something came in; the same
_LISTEN_S = 0.5
_HANGS = f"WireGuard hangs: it did not answer for {HUNG_S:g} s; waiting for it, and for the panel"
_WORKS_AGAIN = "WireGuard hung, and works again; waiting for the panel"
_DEVICES = Path("/proc/net/dev")
_log = structlog.get_logger()


class MuteWatch:
    """The watch of one interface. `heard_at`: when the panel was last heard; `watched`: whether it reads the stream."""

    def __init__(
        self,
        reconciler: InterfaceReconciler,
        witnesses: Witnesses,
        heard_at: Callable[[], float],
        watched: Callable[[], bool],
    ) -> None:
        self._reconciler = reconciler
        self._witnesses = witnesses
        self._panel_heard_at = heard_at
        self._watched = watched
        self._port: int | None = None  # that there is a table for
        self._verified_at = self._proven_at = self._witness_at = self._user_at = float("-inf")
        self._received = 0
        self._silent_at = float("-inf")  # when the panel was last not heard; what it said before that is old
        self._released = asyncio.Event()

    async def run(self) -> None:
        """Watch until cancelled; look now and then while the interface has nobody that could replace it."""
        with mute_table.Pulse() as pulse:
            while True:
                settings = self._reconciler.desired.settings
                wanted = settings.mute if settings.enabled and nft_tables.available() else None
                try:
                    if wanted is None or not wanted.witnesses:
                        await self._disarm()
                    elif self._port != settings.listen_port or time.monotonic() - self._verified_at > _VERIFY_EVERY_S:
                        await self._arm(settings.listen_port)
                    elif self._reconciler.muted is None:
                        await self._watch(pulse, settings.listen_port, wanted)
                    else:
                        await self._wait(settings.listen_port, wanted)
                        continue
                except KernelError as error:
                    _log.error("interface.mute_failed", interface=self._reconciler.name, reason=str(error))
                    self._port = None
                    await asyncio.sleep(_VERIFY_EVERY_S)
                await asyncio.sleep(TICK_S)

    async def mute(self, why: str) -> None:
        """Let the interface's port send nothing; does nothing where it is muted, or where nobody could replace it."""
        if self._port is None or self._reconciler.muted is not None:
            return
        self._note_silence(why)
        await mute_table.mute(self._reconciler.name)
        _log.warning("interface.muted", interface=self._reconciler.name, reason=why)

    def release(self, heard_at: float) -> bool:
        """Let it send again: the panel has said what it is to have, and it has that.

        False: the panel last heard this agent (`heard_at`) before the interface was muted, so it may not know.
        """
        if heard_at < self._silent_at:
            return False
        self._released.set()
        return True

    def _note_silence(self, why: str) -> None:
        self._silent_at = time.monotonic()
        self._released.clear()
        self._reconciler.set_muted(why)

    async def _disarm(self) -> None:
        if self._port is not None or self._verified_at == float("-inf"):
            self._port, self._verified_at = None, time.monotonic()
            await mute_table.remove(self._reconciler.name)
            self._reconciler.set_muted(None)

    async def _arm(self, port: int) -> None:
        """Make the table where it is missing; one that is there may say that this machine hung or was cut off."""
        name = self._reconciler.name
        found = await mute_table.speaks(name, port)
        if found is None:
            await mute_table.arm(name, port)
            self._reconciler.set_muted(None)
        elif not found and self._reconciler.muted is None:
            self._note_silence("nobody kept the interface awake; waiting for the panel")
        self._port, self._verified_at = port, time.monotonic()

    async def _watch(self, pulse: mute_table.Pulse, port: int, wanted: MuteSettings) -> None:
        for _ in range(_QUESTIONS):
            if await self._reconciler.answers(HUNG_S / _QUESTIONS):
                break
        else:
            await self.mute(_HANGS)
            return
        if not await pulse.arrives(port) and not await pulse.arrives(port):
            await self.mute("the machine hung: neither WireGuard nor the agent said anything; waiting for the panel")
            return
        now = time.monotonic()
        self._note_users(now)
        quiet_s = now - self._panel_heard_at()
        if quiet_s < QUIET_S:
            if now - self._proven_at > _PROVE_EVERY_S:
                self._proven_at = now
                await self._ask(wanted, len(wanted.witnesses))
            return
        if quiet_s > PANEL_AWAY_S:
            return
        name = self._reconciler.name
        before = await mute_table.heard(name)
        if await self._ask(wanted, 1):
            self._witness_at = time.monotonic()
        self._note_users(time.monotonic())
        heard_at = max(self._panel_heard_at(), self._witness_at, self._user_at)
        if time.monotonic() - heard_at < ALONE_S or not self._witnesses.proven(wanted.witnesses):
            return
        if await mute_table.heard(name) == before:
            await self.mute(
                f"cut off: neither the panel, nor any of {len(wanted.witnesses)} other nodes, nor anybody else was "
                "heard; waiting for the panel"
            )

    async def _wait(self, port: int, wanted: MuteSettings) -> None:
        """Wait for the panel, or for signs that there is none; for either from when WireGuard works."""
        now = time.monotonic()
        watched_at, witnesses_at, others_at = now, now, None
        asked, heard = 0.0, await mute_table.heard(self._reconciler.name)
        while True:
            works, now = await self._works(), time.monotonic()
            if not works:
                watched_at, witnesses_at, others_at = now, now, None
                continue
            if self._released.is_set():
                break
            if now - self._panel_heard_at() > QUIET_S:
                self._silent_at = now
            if not self._watched():
                watched_at = now
                if now - asked >= 1.0:
                    asked = now
                    needed = len(self._witnesses.proven(wanted.witnesses)) // 2 + 1
                    if len(await self._ask(wanted, needed)) < needed:
                        witnesses_at = time.monotonic()
                    if others_at is None and await mute_table.heard(self._reconciler.name) != heard:
                        others_at = time.monotonic()
            else:
                witnesses_at, others_at = now, None
                heard = await mute_table.heard(self._reconciler.name)
            if (
                now - watched_at >= _PANEL_DECIDES_S
                or now - witnesses_at >= _WITNESSES_S
                or (others_at is not None and now - others_at >= _OTHERS_S)
                or self._reconciler.desired.settings.mute is None
            ):
                break
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LISTEN_S):
                    await self._released.wait()
        self._released.clear()
        await mute_table.allow(self._reconciler.name, port)
        self._witness_at = self._user_at = time.monotonic()
        self._reconciler.set_muted(None)
        _log.info("interface.speaks", interface=self._reconciler.name)

    async def _works(self) -> bool:
        """Whether WireGuard answers. What the panel said while it did not may be older than what it did to users."""
        works = await self._reconciler.answers(HUNG_S / _QUESTIONS)
        if not works:
            self._note_silence(_HANGS)
        elif self._reconciler.muted == _HANGS:
            self._note_silence(_WORKS_AGAIN)
        return works

    async def _ask(self, wanted: MuteSettings, enough: int) -> set[str]:
        own = public_key_of(self._reconciler.desired.settings.private_key)
        return await self._witnesses.ask(wanted.witnesses, own, wanted.probe_key, enough=enough, timeout_s=_ASK_S)

    def _note_users(self, now: float) -> None:
        """Note whether users' packets came through the interface since the last look."""
        before, self._received = self._received, received(self._reconciler.name)
        if self._received != before and now > self._reconciler.guest_until:
            self._user_at = now


async def let_send() -> None:
    """Let all interfaces but muted ones go on sending when there is no agent: nobody would keep a quiet one awake."""
    try:
        await mute_table.stand_down()
    except (KernelError, OSError) as error:
        _log.error("interface.mute_failed", reason=str(error))


def received(name: str) -> int:
    """Return how many packets came out of an interface's tunnels; 0 if there is none (proc_net(5), `dev`)."""
    for line in _DEVICES.read_text(encoding="ascii").splitlines():
        device, _, counts = line.partition(":")
        if device.strip() == name:
            return int(counts.split()[1])
    return 0
