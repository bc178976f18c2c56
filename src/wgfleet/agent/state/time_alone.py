"""The time that this agent has run without hearing the panel, kept on disk: too long, and its interfaces go down.

For machines that are stolen or forgotten: nobody revokes anything on them. It is counted by a clock that nobody sets,
which goes on while the machine sleeps. What is on disk survives a reboot; the time switched off does not count.
"""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import structlog

from wgfleet.agent.state.files import DamagedFileError, DamagedFiles, read_file, write_atomic

WRITE_EVERY_S = 60.0
LOOK_S = 10.0
_log = structlog.get_logger()


class TimeAlone:
    """Counts, once `load` was called. `limit_s` 0: no limit. `heard_at`: when the panel was last heard (monotonic)."""

    def __init__(self, path: Path, damaged: DamagedFiles, heard_at: Callable[[], float], limit_s: float) -> None:
        self._path = path
        self._damaged = damaged
        self._heard_at = heard_at
        self._limit_s = limit_s
        self._look_s = min(LOOK_S, limit_s / 10) if limit_s > 0 else LOOK_S
        self._alone_s = self._written_s = 0.0
        self._looked_at, self._now = time.monotonic(), _now()

    @property
    def too_long(self) -> bool:
        """Whether the interfaces are to be down."""
        return 0 < self._limit_s <= self._alone_s

    @property
    def notes(self) -> list[str]:
        """What people should know of it."""
        if not self.too_long:
            return []
        return [f"no panel was heard for {self._alone_s / 86400:.3g} days: the interfaces are down until one is"]

    def load(self) -> None:
        """Go on from what is on disk; a damaged file is set aside, and the time begins again."""
        if self._limit_s <= 0:
            return
        kept_s = 0.0
        try:
            kept_s = msgspec.json.decode(read_file(self._path), type=float)
        except FileNotFoundError:
            pass
        except (DamagedFileError, msgspec.MsgspecError, UnicodeError) as error:
            self._damaged.set_aside(self._path, error, way_out="the time without a panel is counted from now on")
        # What was counted since it was written is lost: a machine that is started again and again must not stay at 0.
        self._alone_s = max(0.0, kept_s) + min(WRITE_EVERY_S, self._look_s)
        self._write()

    async def run(self, turned: Callable[[], None]) -> None:
        """Count until cancelled; `turned` is called when the interfaces are to go down, or may be up again."""
        while self._limit_s > 0:
            before = self.too_long
            self.look()
            if self.too_long is not before:
                _log.warning("panel.not_heard" if self.too_long else "panel.heard_again", alone_s=round(self._alone_s))
                turned()
            await asyncio.sleep(self._look_s)
        await asyncio.Event().wait()

    def look(self) -> None:
        """Count once."""
        now, monotonic = _now(), time.monotonic()
        passed_s, self._now = max(0.0, now - self._now), now
        heard_s = monotonic - self._heard_at()
        # Since the last look: then nothing before it counts.
        self._alone_s = heard_s if heard_s <= monotonic - self._looked_at else self._alone_s + passed_s
        self._looked_at = monotonic
        turned = self.too_long is not (self._written_s >= self._limit_s)
        if turned or abs(self._alone_s - self._written_s) >= WRITE_EVERY_S:
            self._write()

    def _write(self) -> None:
        try:
            write_atomic(self._path, msgspec.json.encode(self._alone_s), self._damaged)
        except OSError as error:  # a full disk must not end the agent
            _log.error("time_alone.not_written", reason=str(error))
        self._written_s = self._alone_s


def _now() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)
