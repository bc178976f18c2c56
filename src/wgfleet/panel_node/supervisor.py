"""The node that a panel makes of its own machine: its row, its enrollment without HTTP, its agent in a child process.

Here panel and agent meet, which know nothing of each other. The child goes when the panel goes; its interfaces stay.
"""

import asyncio
import multiprocessing
import os
import shutil
from collections.abc import Callable, Collection
from ipaddress import ip_network
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

import msgspec
import structlog

from wgfleet.agent.enrollment.certificates import make_request
from wgfleet.agent.kernel.commands import KernelError
from wgfleet.agent.kernel.machine import detect
from wgfleet.agent.state.files import write_atomic
from wgfleet.agent.state.identity import AgentFile, StateDirectory
from wgfleet.panel import clock, machine
from wgfleet.panel.agents.authorities import Authorities, AuthorityState
from wgfleet.panel.agents.authority import described
from wgfleet.panel.domain.certificates import NO_KEY
from wgfleet.panel.domain.tunnel_networks import special_range
from wgfleet.panel.errors import Conflict, PanelError
from wgfleet.panel.services import installation
from wgfleet.panel.services.fleet import node_agents, node_values, nodes
from wgfleet.panel.services.fleet.nodes import NodeSpec
from wgfleet.panel.settings import Settings
from wgfleet.panel.store import Store, Tx
from wgfleet.panel.store import nodes as node_rows
from wgfleet.panel.store.tables import Node
from wgfleet.panel_node.child import LOOPBACK, run_child
from wgfleet.protocol.ids import NodeId
from wgfleet.protocol.quotes import quoted

FIRST_DELAY_S, LONGEST_DELAY_S = 0.5, 60.0
STEADY_S = 60.0  # an agent that ran so long did not die of how it was started
END_S = 5.0

log = structlog.get_logger()


class PanelNode:
    """Keeps the agent of the panel's own node running. `start` and `close` are called in the main thread's loop."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._state = StateDirectory(settings.data_dir / "agent")
        self._process: SpawnProcess | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self, store: Store, authorities: Authorities) -> None:
        """Enroll if needed and start the agent; if this machine cannot be a node, only log why."""
        obstacle = await _obstacle()
        if obstacle is None:
            try:
                about = await asyncio.to_thread(self._enroll, store, authorities)
            except PanelError as error:
                obstacle = error.detail
        if obstacle is not None:
            log.info("panel_node.none", reason=obstacle)
            return
        log.info("panel_node.starting", **about)
        self._task = asyncio.create_task(self._keep_running())

    async def close(self) -> None:
        """End the agent; safe to call twice."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        if self._process is not None:
            self._process.terminate()
            await asyncio.to_thread(self._process.join, END_S)
            if self._process.is_alive():
                self._process.kill()
                self._process.join()
            self._process.close()
            self._process = None

    def _enroll(self, store: Store, authorities: Authorities) -> dict[str, Any]:
        with store.write() as tx:
            node = find_or_create(tx, self._settings, self._kept_id())
            installation.lock_authority(tx)
            state = authorities.read(tx)
            if not self._enrolled_as(node, state):
                key, request = make_request(node.id)
                days = self._settings.certificates.agent_days
                made = state.certify(request, node.id, state.trust_of_newcomers, clock.now(), days)
                self._state.make()
                self._state.write_certificate(key=key, certificate=made.certificate.encode(), ca=made.ca.encode())
                about = AgentFile(NodeId(node.id), node.agent_port, str(self._settings.listen[0]))
                write_atomic(self._state.agent, msgspec.json.encode(about))
                node_agents.enrolled(tx, node, agent_port=node.agent_port, issued=made.issued, trusts=made.trusts)
            return {"node_id": node.id, "node": node.name, "endpoint_addresses": node.endpoint_addresses}

    def _kept_id(self) -> str | None:
        """Return the node that the agent of this machine was last, whatever it is called by now."""
        try:
            return self._state.read_agent().node_id
        except (OSError, ValueError):
            return None

    def _enrolled_as(self, node: Node, state: AuthorityState) -> bool:
        """Tell whether the panel will take the agent's certificate; not one of after the copy it was restored from."""
        try:
            shown = described(self._state.certificate.read_text())
            return (
                self._state.read_agent().node_id == node.id
                and node.certificate_expires_at is not None
                and node.certificate_expires_at > clock.now()
                and NO_KEY not in node.agent_keys
                and shown.issuer in {authority.name for authority in state.trusted}
                and (not node.agent_keys or shown.key in node.agent_keys)
            )
        except (OSError, ValueError):
            return False

    async def _keep_running(self) -> None:
        """Start the agent again whenever it ends, ever more slowly while it keeps ending at once."""
        delay_s = FIRST_DELAY_S
        while True:
            started = clock.monotonic()
            process = self._process = _spawn(self._state.root, self._settings)
            await _ended(process)
            if clock.monotonic() - started > STEADY_S:
                delay_s = FIRST_DELAY_S
            log.warning("panel_node.agent_ended", code=process.exitcode, again_in_s=delay_s)
            await asyncio.sleep(delay_s)
            delay_s = min(LONGEST_DELAY_S, delay_s * 2)
            self._process = None
            process.close()


def find_or_create(tx: Tx, settings: Settings, kept_id: str | None = None) -> Node:
    """Return this machine's node; raise a `PanelError` where there can be none. `kept_id`: what its agent says."""
    name = machine.host_name()
    port = settings.panel_node.agent_port
    addresses = settings.panel_node.endpoint_addresses
    node = _found(tx, kept_id, name, addresses or machine.outbound_addresses())
    if node is None:
        addresses = addresses or machine.outbound_addresses() or _listening(settings)
        if not addresses:
            raise Conflict(
                "no address is known at which clients reach this machine, which has no default route; "
                "start with --panel-node-address ADDRESS"
            )
        spec = NodeSpec(name, addresses, agent_host=LOOPBACK, agent_port=port, is_panel_node=True)
        return nodes.create(tx, "panel", spec)
    if not node.is_panel_node:
        raise Conflict(f"node {quoted(name)} has this machine's name and its own agent; start with --no-panel-node")
    changes = node_values.NodeChanges(agent_port=port)
    if addresses:
        changes |= {"endpoint_addresses": addresses, "endpoint_name": None}
    return nodes.update(tx, "panel", node, changes)


def _found(tx: Tx, kept_id: str | None, name: str, addresses: Collection[str]) -> Node | None:
    """Return the panel's own node by what its agent was last, by the host name, or by an address of this machine.

    People rename nodes, and the agent's state may be lost. The panel's node of another machine, in a database that was
    moved here, is none of these: users are sent to its addresses.
    """
    signs: tuple[Callable[[Node], bool], ...] = (
        lambda node: node.id == kept_id,
        lambda node: node.name == name,
        lambda node: not set(addresses).isdisjoint(node.endpoint_addresses),
    )
    own = node_rows.of_panels(tx)
    for is_it in signs:
        if (node := next(filter(is_it, own), None)) is not None:
            return node
    return node_rows.find(tx, name)


def _listening(settings: Settings) -> tuple[str, ...]:
    """Return the addresses that the panel listens at by its settings, where others than this machine may reach them."""
    hosts = dict.fromkeys(listener.host for listener in settings.listen)
    return tuple(host for host in hosts if special_range(ip_network(host)) is None)


async def _obstacle() -> str | None:
    """Say what keeps this machine from being a node."""
    if os.geteuid() != 0:
        return "the panel does not run as root; enroll the agent of this machine as that of any other node"
    if shutil.which("wg") is None:
        return "the wg tool is not installed (package wireguard-tools)"
    try:
        if await detect() == "userspace" and shutil.which("wireguard-go") is None:
            return "the kernel has no WireGuard, and wireguard-go is not installed"
    except (KernelError, OSError) as error:
        return f"links cannot be made here: {error}"
    return None


def _spawn(state_dir: Path, settings: Settings) -> SpawnProcess:
    # A fresh process: a fork would inherit the panel's threads, connections and keys.
    process = multiprocessing.get_context("spawn").Process(
        target=run_child,
        args=(state_dir, settings.panel_node.agent_port, os.getpid(), settings.log.format),
        name="wgfleet-agent",
    )
    process.start()
    return process


async def _ended(process: SpawnProcess) -> None:
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(process.sentinel, ended.set)
    try:
        await ended.wait()
        process.join()
    finally:
        loop.remove_reader(process.sentinel)
