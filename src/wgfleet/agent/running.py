"""A process of the agent: until when it runs, what it tells systemd, and how it logs."""

import asyncio
import logging
import signal
import sys
from collections.abc import Callable, Coroutine

import structlog

from wgfleet.agent.server.log_route import LOG
from wgfleet.process import tell_systemd, watchdog_every_s


def end_of_process() -> asyncio.Event:
    """Return an event that a signal to end sets, from now on."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


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


def log_as_json() -> None:
    """Log to standard error, a line of JSON each; the last ones are kept for the panel."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
            LOG,
        ],
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(
        format='{"logger": "%(name)s", "level": "%(levelname)s", "event": "%(message)s"}',
        handlers=[logging.StreamHandler(sys.stderr), LOG],
    )
