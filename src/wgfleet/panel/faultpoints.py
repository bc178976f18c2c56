"""Named points at which a test ends a panel as a power cut would: all of its processes.

A no-op unless the environment variable WGFLEET_DIE_AT names the point when the process starts, or reads it again.
"""

import os
import signal

VARIABLE = "WGFLEET_DIE_AT"
_point = os.environ.get(VARIABLE)
_parents: list[int] = []


def read() -> None:
    """Read the point again: for a fork whose environment is another."""
    global _point  # noqa: PLW0603 - one point for the process
    _point = os.environ.get(VARIABLE)


def ends_with(parent: int) -> None:
    """Note the process whose end is that of the whole panel."""
    _parents.append(parent)


def reached(point: str) -> None:
    """Die here, by SIGKILL, if this is the point that was asked for."""
    if point == _point:
        for pid in (*_parents, os.getpid()):
            os.kill(pid, signal.SIGKILL)
