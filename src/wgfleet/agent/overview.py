"""The agent and its interfaces as a person on the machine sees them: read from disk and kernel, changing nothing.

For `wgfleet agent status`, also while the agent runs, and where no panel can be asked.
"""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
from msgspec import Struct

from wgfleet.agent.interfaces.forwarding_faults import forwarding_faults
from wgfleet.agent.kernel import userspace
from wgfleet.agent.kernel.commands import KernelError
from wgfleet.agent.kernel.machine import Backend, Machine
from wgfleet.agent.settings import AgentSettings
from wgfleet.agent.state.files import DamagedFileError, read_file
from wgfleet.agent.state.identity import StateDirectory, expires_at
from wgfleet.agent.state.journal import look
from wgfleet.agent.state.ledger import Entries
from wgfleet.protocol.desired import DesiredInterface
from wgfleet.protocol.ids import InterfaceName
from wgfleet.protocol.observed import LIVE_S

MODULE = b"wgfleet.agent"


class InterfaceOverview(Struct, frozen=True):
    """One interface. `link`: `up`, `down` or `missing`; `live`: tunnel addresses of peers that used it just now."""

    name: InterfaceName
    generation: int
    listen_port: int
    peers: int
    link: str
    live: tuple[str, ...] = ()
    enabled: bool = True


class AgentOverview(Struct, frozen=True):
    """The agent of a state directory. `pids`: of its processes; `notes`: what could not be read, a sentence each."""

    state_dir: str
    node_id: str
    panel: str
    port: int
    witness: bool
    pids: tuple[int, ...]
    certificate_expires_at: float | None
    interfaces: tuple[InterfaceOverview, ...]
    notes: tuple[str, ...]


async def overview(state: StateDirectory) -> AgentOverview:
    """Read everything; raise ValueError, saying what to do, if no agent was enrolled here."""
    me = state.read_agent()
    notes: list[str] = []
    expires: float | None = None
    try:
        expires = expires_at(state.certificate)
    except (DamagedFileError, OSError, ValueError, IndexError) as error:
        notes.append(f"the certificate {state.certificate} cannot be read ({error}); enroll the agent again")
    desired = look(state.desired, notes)
    interfaces = [await _interface(name, desired.get(name), state.root, notes) for name in interfaces_of(state)]
    return AgentOverview(
        str(state.root), me.node_id, me.panel, me.port, me.witness, processes(state), expires, tuple(interfaces),
        tuple(notes),
    )  # fmt: skip


def interfaces_of(state: StateDirectory) -> list[InterfaceName]:
    """Return the interfaces that this agent keeps, or has on the machine."""
    try:
        owned = set(msgspec.json.decode(read_file(state.ledger), type=Entries).owned)
    except (FileNotFoundError, DamagedFileError, msgspec.MsgspecError, UnicodeError):
        owned = set()
    return sorted(owned | set(look(state.desired, [])))


def processes(state: StateDirectory) -> tuple[int, ...]:
    """Return the processes that run as the agent of this directory."""
    return tuple(sorted(pid for pid, root in _agents() if _is_same(Path(f"/proc/{pid}/root{root}"), state.root)))


def backend_of(name: InterfaceName) -> Backend:
    """Return what an interface is made of."""
    return "kernel" if userspace.process_of(name) is None else "userspace"


def _is_same(seen: Path, own: Path) -> bool:
    """Tell whether a directory, as a process sees it in its own mount namespace, is the one that we see."""
    try:
        return seen.samefile(own)
    except OSError:
        return False


def _agents() -> Iterator[tuple[int, Path]]:
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
            if MODULE in words:
                yield int(entry.name), AgentSettings.from_json(words[words.index(MODULE) + 1].decode()).state_dir
        except (OSError, ValueError, IndexError, msgspec.MsgspecError):  # it has ended, or is something else
            continue


async def _interface(
    name: InterfaceName, desired: DesiredInterface | None, root: Path, notes: list[str]
) -> InterfaceOverview:
    machine = Machine(backend_of(name), root)
    link = "missing"
    live: tuple[str, ...] = ()
    try:
        if (found := await machine.link(name)) is not None:
            link = "up" if found.up else "down"
            live = await live_peers(machine, name)
            if desired is not None:
                faults = await forwarding_faults(desired.settings, found, desired.settings.mtu)
                notes += [f"{name}: users' packets are not forwarded: {each.observed}" for each in faults]
    except KernelError as error:
        notes.append(f"{name}: {error}")
    if desired is None:
        notes.append(f"{name}: what it is to be cannot be read; the panel sends it again")
        return InterfaceOverview(name, 0, 0, 0, link, live)
    settings = desired.settings
    return InterfaceOverview(
        name, desired.generation, settings.listen_port, len(desired.peers), link, live, settings.enabled
    )


async def live_peers(machine: Machine, name: InterfaceName) -> tuple[str, ...]:
    """Return the tunnel addresses of the peers of an interface that have used it within the last three minutes."""
    since = time.time() - LIVE_S
    found: list[str] = []
    async with machine.reading(name) as reading:
        async for blocks in reading.blocks:
            for peer in map(reading.form.peer, blocks):
                uses = peer.stats is not None and peer.stats.latest_handshake > since
                found += [each.partition("/")[0] for each in sorted(peer.observed.allowed_ips)[:1] if uses]
    return tuple(found)
