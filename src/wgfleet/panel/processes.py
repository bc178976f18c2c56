"""The processes of a panel: a parent that opens nothing, and children that it starts again when they die.

Children are forked, so that they share the memory of what is imported, and start within milliseconds. Hence the parent
must have no threads, no connections and no event loop. They end with it, however it ends.
"""

import contextlib
import multiprocessing
import multiprocessing.context
import os
import signal
from collections.abc import Callable, Mapping
from pathlib import Path

import structlog

from wgfleet.panel import clock, faultpoints
from wgfleet.process import end_with

FIRST_DELAY_S, LONGEST_DELAY_S = 0.1, 10.0
STEADY_S = 30.0  # a child that ran for so long did not die of how it was started
END_S = 8.0  # for all to end by themselves
_ENDING = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP})
_WAITED = _ENDING | {signal.SIGCHLD}

log = structlog.get_logger()


class Child:
    """One process, started again and again."""

    def __init__(self, name: str, work: Callable[[], None]) -> None:
        self.name = name
        self._work = work
        self._process: multiprocessing.context.ForkProcess | None = None
        self._started_at = 0.0
        self._delay_s = FIRST_DELAY_S
        self.due_at: float | None = 0.0
        """When it is to be started; None while it runs."""

    def start(self) -> None:
        """Start it now."""
        self._process = multiprocessing.get_context("fork").Process(
            target=_run, args=(self.name, self._work, os.getpid()), name=self.name
        )
        self._process.start()
        self._started_at, self.due_at = clock.monotonic(), None

    def reap(self) -> None:
        """Take note of its end, if it has ended, and of when to start it again."""
        if self._process is None or self._process.is_alive():
            return
        if clock.monotonic() - self._started_at > STEADY_S:
            self._delay_s = FIRST_DELAY_S
        log.error("process.ended", process=self.name, code=self._process.exitcode, again_in_s=self._delay_s)
        self._process.close()
        self._process = None
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


def keep_running(work: Mapping[str, Callable[[], None]]) -> None:
    """Run each in a process of its own until this one gets SIGTERM, SIGINT or SIGHUP; then end all and return."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _WAITED)
    children = [Child(name, run) for name, run in work.items()]
    try:
        while True:
            for child in children:
                child.reap()
                if child.due_at is not None and child.due_at <= clock.monotonic():
                    child.start()
            due = [child.due_at for child in children if child.due_at is not None]
            wait_s = min(due) - clock.monotonic() if due else LONGEST_DELAY_S
            received = signal.sigtimedwait(_WAITED, max(0.0, wait_s))
            if received is not None and received.si_signo in _ENDING:
                return
    finally:
        for child in children:
            child.ask_to_end()
        deadline = clock.monotonic() + END_S
        for child in children:
            child.end(max(0.0, deadline - clock.monotonic()))
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _run(name: str, work: Callable[[], None], parent: int) -> None:
    if not end_with(parent, signal.SIGKILL):
        return
    faultpoints.ends_with(parent)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _WAITED)
    with contextlib.suppress(OSError):
        Path("/proc/self/comm").write_text(f"wgfleet-{name}", encoding="ascii")  # for ps and top
    work()
