"""A witness as a process: an agent without WireGuard and without privileges, which probes nodes when the panel asks it.

It keeps a certificate as any agent does, and no state of any config: probe keys come with each request.
"""

import asyncio
import time
from collections.abc import Callable, Sequence

import structlog
from starlette.applications import Starlette
from starlette.routing import BaseRoute

from wgfleet.agent import overview
from wgfleet.agent.interfaces.watch_board import WatchBoard
from wgfleet.agent.running import end_of_process, hold, log_to_standard_error, report_life, until_first
from wgfleet.agent.server.panel_contact import PanelContact
from wgfleet.agent.server.probe_route import ProbeRoute
from wgfleet.agent.server.serving import serve
from wgfleet.agent.server.witness_routes import WitnessRoutes
from wgfleet.agent.settings import AgentSettings
from wgfleet.agent.state.files import DamagedFiles
from wgfleet.agent.state.identity import StateDirectory
from wgfleet.probing.prober import Prober
from wgfleet.process import raise_open_files_limit
from wgfleet.protocol.ids import NodeId
from wgfleet.protocol.messages import WITNESS

_log = structlog.get_logger()


def run_witness(settings: AgentSettings) -> None:
    """Run a witness in this process; raise ValueError, saying what to do, if it cannot start."""
    log_to_standard_error()
    raise_open_files_limit()
    asyncio.run(_run(settings))


async def _run(settings: AgentSettings) -> None:
    damaged = DamagedFiles()
    state = StateDirectory(settings.state_dir)
    state.make(damaged)
    await hold(state, overview.processes)
    state.finish_renewal(damaged)
    me = state.recover_agent(damaged, witness=True)
    if (me is not None and not me.witness) or any(state.desired.glob("*.json*")):
        raise ValueError(
            f"{state.root} enrolled as a node that carries WireGuard. Make a witness with `wgfleet node create NAME "
            "--witness --agent-host HOST` (a panel that does not know that option knows no witnesses: upgrade it), and "
            "enroll with its token into another state directory"
        )
    prober, board = Prober(), WatchBoard(tuple, time.time, lambda: None)

    def make(node_id: NodeId, expires_at: Callable[[], float], common: Sequence[BaseRoute]) -> Starlette:
        routes = WitnessRoutes(board, node_id, expires_at, lambda: tuple(damaged.notes))
        return routes.app([*common, *ProbeRoute(lambda _: None, prober).routes()])

    try:
        await until_first(
            end_of_process().wait(),
            serve(settings, state, me, damaged, board, PanelContact(), make, WITNESS),
            report_life(lambda: True),
        )
    finally:
        prober.close()
    _log.info("agent.stopped")
