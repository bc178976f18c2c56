"""A process of the agent: until when it runs, and how it logs."""

import asyncio
import logging
import signal
import sys
from collections.abc import Coroutine

import structlog

from wgfleet.process import tell_systemd


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


def log_as_json() -> None:
    """Log to standard error, a line of JSON each."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(
        format='{"logger": "%(name)s", "level": "%(levelname)s", "event": "%(message)s"}', stream=sys.stderr
    )
