"""Named points at which a test ends the process as a power cut would.

A no-op unless the environment variable WGFLEET_DIE_AT names the point when the process starts.
"""

import os
import signal

VARIABLE = "WGFLEET_DIE_AT"
_POINT = os.environ.get(VARIABLE)


def reached(point: str) -> None:
    """Die here, by SIGKILL, if this is the point that was asked for."""
    if point == _POINT:
        os.kill(os.getpid(), signal.SIGKILL)
