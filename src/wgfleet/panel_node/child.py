"""The agent as a child process of the panel. Imports nothing of the panel, so the child carries none of its memory."""

import signal
import sys
from pathlib import Path

import structlog

from wgfleet.agent.main import run
from wgfleet.agent.settings import AgentSettings
from wgfleet.log_stream import LogForm
from wgfleet.process import end_with

LOOPBACK = "127.0.0.1"
_log = structlog.get_logger()


def run_child(state_dir: Path, port: int, panel_pid: int, log_form: LogForm) -> None:
    """Run the agent for the panel that started this process, and no longer than that panel lives; log as it does."""
    if end_with(panel_pid, signal.SIGTERM):
        try:
            run(AgentSettings(state_dir=state_dir, listen=LOOPBACK, port=port), log_form)
        except ValueError as error:
            _log.error("panel_node.agent_refused", reason=str(error), setting="panel_node.agent_port")
            sys.exit(1)
