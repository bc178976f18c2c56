"""The agent as a process: its parts put together, run until it is stopped. Stopping it touches no interface."""

import asyncio
from collections.abc import Callable, Sequence

import structlog
from starlette.applications import Starlette
from starlette.routing import BaseRoute

from wgfleet.agent import overview
from wgfleet.agent.interfaces.address_record import boot_id
from wgfleet.agent.interfaces.address_routing import RoutingWatch
from wgfleet.agent.interfaces.floating_addresses import FloatingAddresses
from wgfleet.agent.interfaces.forwarding_check import ForwardingCheck
from wgfleet.agent.interfaces.isolation import IsolationWatch
from wgfleet.agent.interfaces.mute import MuteWatch, let_send
from wgfleet.agent.interfaces.quotas import QuotaKeeper
from wgfleet.agent.interfaces.reconciler import InterfaceReconciler
from wgfleet.agent.interfaces.relays import Relays
from wgfleet.agent.interfaces.supervisor import InterfaceSupervisor
from wgfleet.agent.interfaces.tasks import Watches
from wgfleet.agent.interfaces.usage_writer import UsageWriter
from wgfleet.agent.interfaces.watch_board import WatchBoard
from wgfleet.agent.interfaces.way_out import WayOut
from wgfleet.agent.interfaces.witnesses import Witnesses
from wgfleet.agent.kernel.machine import Machine, check_root, detect
from wgfleet.agent.running import (
    AnotherRunsError,
    end_of_process,
    hold,
    log_to_standard_error,
    report_life,
    until_first,
)
from wgfleet.agent.server.flow_routes import FlowRoutes
from wgfleet.agent.server.manual_routes import ManualRoutes
from wgfleet.agent.server.panel_contact import PanelContact
from wgfleet.agent.server.probe_route import ProbeRoute
from wgfleet.agent.server.quota_route import QuotaRoute
from wgfleet.agent.server.relay_routes import RelayRoutes
from wgfleet.agent.server.routes import AgentRoutes
from wgfleet.agent.server.serving import MakeApp, serve
from wgfleet.agent.server.usage_route import UsageRoute
from wgfleet.agent.settings import AgentSettings
from wgfleet.agent.state.adoptions import Adoptions
from wgfleet.agent.state.confirmed import ConfirmedFiles
from wgfleet.agent.state.files import DamagedFiles
from wgfleet.agent.state.identity import StateDirectory
from wgfleet.agent.state.journal import Journal
from wgfleet.agent.state.ledger import Ledger
from wgfleet.agent.state.quota_file import QuotaFile
from wgfleet.agent.state.relay_files import BootClock, RelayFiles
from wgfleet.agent.state.session_files import this_machine
from wgfleet.agent.state.time_alone import TimeAlone
from wgfleet.agent.state.usage_file import UsageFile
from wgfleet.log_stream import LogForm
from wgfleet.probing.prober import Prober
from wgfleet.process import raise_open_files_limit
from wgfleet.protocol.ids import NodeId
from wgfleet.protocol.messages import AGENT_PORT

_STUCK_S = 300.0  # a scan whose commands all run into their time-outs takes less
_log = structlog.get_logger()


def run(settings: AgentSettings, log_form: LogForm = "auto") -> None:
    """Run the agent in this process; raise ValueError or KernelError, saying what to do, if it cannot start."""
    log_to_standard_error(log_form)
    raise_open_files_limit()
    asyncio.run(_run_and_let_send(settings))


async def _run_and_let_send(settings: AgentSettings) -> None:
    others = False  # what they keep from sending is to stay so
    try:
        await _run(settings)
    except AnotherRunsError:
        others = True
        raise
    finally:
        if not others:
            await let_send()  # also after an agent before this one, if this one cannot start


async def _run(settings: AgentSettings) -> None:
    state = StateDirectory(settings.state_dir)
    if state.is_witness():
        raise ValueError(f"{state.root} enrolled as a witness; start it with `wgfleet agent run --witness`")
    check_root()
    damaged = DamagedFiles()
    state.make(damaged)
    await hold(state, overview.processes)
    state.finish_renewal(damaged)
    me = state.recover_agent(damaged)
    machine = await _machine(settings, state, AGENT_PORT if me is None else me.port)
    ledger = Ledger(state.ledger, damaged)
    ledger.load()
    prober, contact = Prober(), PanelContact()
    alone = TimeAlone(state.time_alone, damaged, contact.heard_at, settings.down_after_days * 86400)
    alone.load()

    usage = UsageWriter.load(UsageFile(state.usage, damaged), this_machine(boot_id()))
    supervisor = InterfaceSupervisor(
        machine,
        Journal(state.desired, damaged),
        ledger,
        _watches(prober, contact, machine, state),
        interval_s=settings.interval_s,
        repair=settings.repair,
        way_out=WayOut(
            ConfirmedFiles(state.desired, damaged),
            contact,
            lambda: supervisor.board.readers > 0 and contact.is_near(),
            settings.confirm_s,
        ),
        kept_down=lambda: alone.too_long,
        panel_reads_s=lambda: supervisor.board.read_for_s if contact.is_near() else 0.0,
        usage=usage.meter,
        adoptions=Adoptions(state.adoptions, damaged),
    )
    stop = end_of_process()
    relays = Relays(RelayFiles(state.relays, damaged, BootClock(boot_id())), supervisor.uses)
    quotas = QuotaKeeper(supervisor.reconcilers, usage.meter, QuotaFile(state.quotas, damaged))
    await supervisor.start()
    try:
        await until_first(
            supervisor.run(),
            stop.wait(),
            serve(
                settings,
                state,
                me,
                damaged,
                supervisor.board,
                contact,
                _make_app(supervisor, prober, damaged, alone, relays, quotas, usage),
                supervisor.machine.backend,
            ),
            relays.run(),
            quotas.run(),
            report_life(lambda: supervisor.stuck_for_s < _STUCK_S),
            alone.run(supervisor.look_again),
            usage.run(),
        )
    finally:
        usage.close()
        prober.close()
        supervisor.floating.close()
    _log.info("agent.stopped")  # its interfaces stay up


async def _machine(settings: AgentSettings, state: StateDirectory, port: int) -> Machine:
    backend = await detect() if settings.backend == "auto" else settings.backend
    return Machine(backend, state.root, settings.port or port)


def _watches(
    prober: Prober, contact: PanelContact, machine: Machine, state: StateDirectory
) -> Callable[[InterfaceReconciler, FloatingAddresses, WatchBoard], Watches]:
    def make(reconciler: InterfaceReconciler, floating: FloatingAddresses, board: WatchBoard) -> Watches:
        def watched() -> bool:
            return board.readers > 0 and contact.is_near()

        witnesses = Witnesses(prober)
        isolation = IsolationWatch(reconciler, floating, witnesses, contact.heard_at, watched)
        mute = MuteWatch(reconciler, witnesses, contact.heard_at, watched)
        forwarding = ForwardingCheck(reconciler, machine, prober, lambda: _panel_of(state))
        return isolation, mute, RoutingWatch(reconciler, floating), forwarding

    return make


def _panel_of(state: StateDirectory) -> str:
    """Return the URL of the panel; empty where that is not known."""
    try:
        return state.read_agent().panel
    except ValueError:
        return ""


def _make_app(
    supervisor: InterfaceSupervisor,
    prober: Prober,
    damaged: DamagedFiles,
    alone: TimeAlone,
    relays: Relays,
    quotas: QuotaKeeper,
    usage: UsageWriter,
) -> MakeApp:
    def make(node_id: NodeId, expires_at: Callable[[], float], common: Sequence[BaseRoute]) -> Starlette:
        more = [
            *common,
            *ProbeRoute(supervisor.reconciler, prober).routes(),
            *ManualRoutes(supervisor).routes(),
            *FlowRoutes(supervisor.reconciler).routes(),
            *RelayRoutes(supervisor, relays).routes(),
            *QuotaRoute(quotas).routes(),
            *UsageRoute(usage, supervisor.board).routes(),
        ]
        return AgentRoutes(supervisor, node_id, expires_at, lambda: (*damaged.notes, *alone.notes)).app(more)

    return make
