"""The processes of a panel: a parent that opens nothing, and children that it starts again when they die.

Children are forked, so that they share the memory of what is imported, and start within milliseconds. Hence the parent
must have no threads, no connections and no event loop. They end with it, however it ends. Each gives signs of life; one
that gives none any more hangs, and is killed and started again.
"""

import asyncio
import contextlib
import gc
import multiprocessing
import multiprocessing.context
import os
import signal
from collections.abc import Callable, Mapping
from pathlib import Path

import structlog

from wgfleet.panel import clock, faultpoints
from wgfleet.process import end_with, tell_systemd, watchdog_every_s

SIGN_S = 1.0
HANGS_AFTER = 60  # looks without a sign; a core that renders whole states on a busy machine has been silent for 20
FIRST_DELAY_S, LONGEST_DELAY_S = 0.1, 10.0
STEADY_S = 30.0  # a child that ran for so long did not die of how it was started
END_S = 8.0  # for all to end by themselves
_ENDING = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP})
_WAITED = _ENDING | {signal.SIGCHLD}

log = structlog.get_logger()


class SignsOfLife:
    """What a child tells its parent: that its event loop goes round. The parent counts from the first sign on."""

    def __init__(self, pipe: int) -> None:
        self._pipe = pipe
        self._giving: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Give signs from the running event loop from now on."""
        self._giving = asyncio.get_running_loop().create_task(self._give())

    async def _give(self) -> None:
        while True:
            with contextlib.suppress(BlockingIOError, BrokenPipeError):  # the parent hangs itself, or ends
                os.write(self._pipe, b".")
            await asyncio.sleep(SIGN_S)


Work = Callable[[SignsOfLife], None]


class Child:
    """One process, started again and again."""

    def __init__(self, name: str, work: Work) -> None:
        self.name = name
        self._work = work
        self._process: multiprocessing.context.ForkProcess | None = None
        self._started_at = 0.0
        self._delay_s = FIRST_DELAY_S
        self._signs = -1
        self._looks_without = 0
        self.lives = False
        """Whether it gave a sign of life since it was started."""
        self.due_at: float | None = 0.0
        """When it is to be started; None while it runs."""

    def start(self) -> None:
        """Start it now."""
        self._signs, its_end = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._process = multiprocessing.get_context("fork").Process(
            target=_run, args=(self.name, self._work, SignsOfLife(its_end), os.getpid()), name=self.name
        )
        self._process.start()
        os.close(its_end)
        self._started_at, self.due_at = clock.monotonic(), None
        self.lives, self._looks_without = False, 0

    def look(self) -> None:
        """Look for a sign of life, and kill it where there was none for long. To be called every `SIGN_S`.

        Looks are counted and not seconds: after a pause of the whole machine, all have the time they need.
        """
        if self._process is None:
            return
        try:
            heard = bool(os.read(self._signs, 2**16))
        except BlockingIOError:
            heard = False
        self.lives = self.lives or heard
        self._looks_without = 0 if heard else self._looks_without + 1
        if self.lives and self._looks_without >= HANGS_AFTER:
            log.error("process.hangs", process=self.name, no_sign_of_life_for_s=self._looks_without * SIGN_S)
            self._looks_without = 0
            self._process.kill()

    def reap(self) -> None:
        """Take note of its end, if it has ended, and of when to start it again."""
        if self._process is None or self._process.is_alive():
            return
        if clock.monotonic() - self._started_at > STEADY_S:
            self._delay_s = FIRST_DELAY_S
        log.error("process.ended", process=self.name, code=self._process.exitcode, again_in_s=self._delay_s)
        self._process.close()
        self._process = None
        os.close(self._signs)
        self.due_at = clock.monotonic() + self._delay_s
        self._delay_s = min(LONGEST_DELAY_S, self._delay_s * 2)

    def ask_to_end(self) -> None:
        """Send SIGTERM."""
        if self._process is not None:
            self._process.terminate()

    def end(self, within_s: float) -> None:
        """Wait for its end, and kill it in the end."""
        if self._process is not None:
            self._process.join(within_s)
            if self._process.is_alive():
                log.error("process.killed", process=self.name)
                self._process.kill()
                self._process.join()


def share_memory() -> None:
    """Have the garbage collector leave all that there is alone, here and in those that are forked from here.

    It writes to each object that it looks at; what is written to is no longer shared.
    """
    gc.collect()
    gc.freeze()


def keep_running(work: Mapping[str, Work]) -> None:
    """Run each in a process of its own until this one gets SIGTERM, SIGINT or SIGHUP; then end all and return.

    Systemd, if it started us, hears when all work for the first time, and then that this process does.
    """
    share_memory()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _WAITED)
    children = [Child(name, run) for name, run in work.items()]
    unit = _Unit()
    look_at = clock.monotonic() + SIGN_S
    try:
        while True:
            for child in children:
                child.reap()
                if child.due_at is not None and child.due_at <= clock.monotonic():
                    child.start()
            if clock.monotonic() >= look_at:
                look_at = clock.monotonic() + SIGN_S
                for child in children:
                    child.look()
                unit.tell(ready=all(child.lives for child in children))
            due = min([look_at, *(child.due_at for child in children if child.due_at is not None)])
            received = signal.sigtimedwait(_WAITED, max(0.0, due - clock.monotonic()))
            if received is not None and received.si_signo in _ENDING:
                return
    finally:
        tell_systemd("STOPPING=1")
        for child in children:
            child.ask_to_end()
        deadline = clock.monotonic() + END_S
        for child in children:
            child.end(max(0.0, deadline - clock.monotonic()))
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Unit:
    """The unit of systemd that this panel runs as, if it does."""

    def __init__(self) -> None:
        self._ready = False
        self._every_s = watchdog_every_s()
        self._told_at = float("-inf")

    def tell(self, *, ready: bool) -> None:
        if ready and not self._ready:
            self._ready = True
            tell_systemd("READY=1")
        if self._every_s and clock.monotonic() - self._told_at >= self._every_s:
            self._told_at = clock.monotonic()
            tell_systemd("WATCHDOG=1")


def _run(name: str, work: Work, signs: SignsOfLife, parent: int) -> None:
    if not end_with(parent, signal.SIGKILL):
        return
    faultpoints.ends_with(parent)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _WAITED)
    with contextlib.suppress(OSError):
        Path("/proc/self/comm").write_text(f"wgfleet-{name}", encoding="ascii")  # for ps and top
    work(signs)
