"""The agent as a child process of the panel. Imports nothing of the panel, so the child carries none of its memory."""

import ctypes
import os
import signal
from pathlib import Path

from wgfleet.agent.main import run
from wgfleet.agent.settings import AgentSettings

LOOPBACK = "127.0.0.1"
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def run_child(state_dir: Path, port: int, panel_pid: int) -> None:
    """Run the agent for the panel that started this process, and no longer than that panel lives."""
    # The kernel sends SIGTERM when the panel dies, however it does.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != panel_pid:
        return  # it died before the kernel was asked
    run(AgentSettings(state_dir=state_dir, listen=LOOPBACK, port=port))
