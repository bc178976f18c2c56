"""A process of the agent: that there is one, until when it runs, what it tells systemd, and how it logs."""

import asyncio
import contextlib
import fcntl
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Coroutine, MutableMapping, Sequence
from typing import Any

import structlog

from wgfleet.agent.server.log_route import LOG
from wgfleet.agent.state.identity import StateDirectory
from wgfleet.log_stream import LogForm, as_json, as_text, log_to
from wgfleet.process import tell_systemd, watchdog_every_s

_LAST_S, _LOOK_S = 3.0, 0.1
_KEPT: Sequence[Any] = (structlog.processors.format_exc_info, structlog.processors.JSONRenderer(), LOG)
"""Processors that make a line of JSON of an event, and keep it."""


def end_of_process() -> asyncio.Event:
    """Return an event that a signal to end sets, from now on."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


class AnotherRunsError(ValueError):
    """Another agent runs on the same state directory."""


async def hold(state: StateDirectory, who: Callable[[StateDirectory], Sequence[int]]) -> None:
    """Keep other agents off a state directory until this process has ended; `AnotherRunsError` where one does.

    One that was killed a moment ago may not be gone yet. `who`: finds the processes of the other one.
    """
    # Never closed: the lock is to last as long as the process, and goes to none that it starts.
    directory = os.open(state.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    until = time.monotonic() + _LAST_S
    while True:
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        if time.monotonic() > until:
            os.close(directory)
            process = "".join(f" (process {pid})" for pid in who(state)[:1])
            raise AnotherRunsError(
                f"another agent{process} runs on {state.root}; end it first, or choose another one with --state-dir"
            )
        await asyncio.sleep(_LOOK_S)


async def until_first(*works: Coroutine[None, None, object]) -> None:
    """Run all until one ends; raise what broke it, since none but the wait for a signal ends by itself."""
    tasks = [asyncio.create_task(work) for work in works]
    done, others = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    tell_systemd("STOPPING=1")
    for each in others:
        each.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    for each in done:
        each.result()


async def report_life(works: Callable[[], bool]) -> None:
    """Tell systemd's watchdog again and again that the agent lives, as long as it does what it is for.

    One that hangs is killed and started again; its interfaces stay up meanwhile.
    """
    every_s = watchdog_every_s()
    while every_s > 0:
        if works():
            tell_systemd("WATCHDOG=1")
        await asyncio.sleep(every_s)
    await asyncio.Event().wait()


def log_to_standard_error(form: LogForm = "auto") -> None:
    """Log, one event a line; `auto` is text where that is a terminal, else JSON.

    The last ones are kept for the panel, as JSON.
    """
    text = sys.stderr.isatty() if form == "auto" else form == "text"
    stream = log_to(sys.stderr, as_text if text else as_json)
    # Plain tracebacks: the pretty ones show local variables, and with them keys.
    plain = structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *([_keep, plain] if text else _KEPT),
        ],
        logger_factory=structlog.PrintLoggerFactory(file=stream),
        cache_logger_on_first_use=True,
    )
    kept = logging.Formatter('{"logger": "%(name)s", "level": "%(levelname)s", "event": "%(message)s"}')
    LOG.setFormatter(kept)
    written = logging.StreamHandler(stream)
    written.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s") if text else kept)
    logging.basicConfig(handlers=[written, LOG])


def _keep(logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Keep an event as JSON, and pass it on."""
    whole: Any = {**event}
    for processor in _KEPT:
        whole = processor(logger, method, whole)
    return event
