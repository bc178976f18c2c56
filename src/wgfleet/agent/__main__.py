"""Entry point `python -m wgfleet.agent SETTINGS`, which runs the agent with settings as JSON.

`wgfleet agent run` becomes this process, so that the libraries of the command line do not stay in an agent's memory.
"""

import sys

from wgfleet.agent.kernel.commands import KernelError
from wgfleet.agent.main import run
from wgfleet.agent.settings import AgentSettings
from wgfleet.agent.witness import run_witness

if __name__ == "__main__":
    try:
        settings = AgentSettings.from_json(sys.argv[1])
        (run_witness if settings.witness else run)(settings)
    except (ValueError, KernelError, OSError) as error:
        sys.exit(f"the agent cannot run: {error}")
