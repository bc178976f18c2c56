"""Simulated agents, all in one process with one event loop, and how the bench tells them what to do.

A command is a method of `Crowd`: its name and arguments go over a pipe, and what it returns comes back. Times are those
of the monotonic clock, which all processes of a machine share.
"""

import asyncio
import gc
import os
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

from bench.simulated.agent import SCAN_S, SimulatedAgent
from bench.simulated.connection import Tally
from bench.simulated.handlers import answer
from wgfleet.agent.state.identity import StateDirectory
from wgfleet.doors.sockets import shrink_tls_buffers
from wgfleet.process import end_with, raise_open_files_limit
from wgfleet.protocol.desired import DesiredInterface, Push
from wgfleet.protocol.messages import HEARTBEAT_S


class Pushed(NamedTuple):
    """A push that was taken: when, by which node, whether it was whole, and its generation and size in bytes."""

    at: float
    node_id: str
    whole: bool
    generation: int
    size: int


class Called(NamedTuple):
    """A takeover that was asked for: when, of which node, and for which peers."""

    at: float
    node_id: str
    keys: list[str]


@dataclass
class Crowd:
    """The agents by their addresses, and what is remembered of them."""

    responder: Connection
    share: float
    agents: dict[str, SimulatedAgent] = field(default_factory=dict)
    pushes: list[Pushed] = field(default_factory=list)
    calls: list[Called] = field(default_factory=list)
    tally: Tally = field(default_factory=Tally)

    def is_silent(self, address: str) -> bool:
        agent = self.agents.get(address)
        return agent is None or agent.silent

    def hold(self, address: str, port: int, private_key: str | None) -> None:
        self.responder.send(("hold", address, port, private_key))

    def pushed(self, node_id: str, push: Push, size: int) -> None:
        whole = isinstance(push, DesiredInterface)
        self.pushes.append(Pushed(time.monotonic(), node_id, whole, push.generation, size))

    def called(self, node_id: str, keys: list[str]) -> None:
        self.calls.append(Called(time.monotonic(), node_id, keys))

    # Commands.

    async def add(self, nodes: Sequence[tuple[str, str, Path]]) -> None:
        """Start agents, each given as its node's id, its address and its state directory."""
        for node_id, address, state in nodes:
            agent = self.agents[address] = SimulatedAgent(node_id, address, StateDirectory(state), self, answer)
            await agent.open()
            asyncio.get_running_loop().call_later(SCAN_S * (len(self.agents) % 97) / 97, self._scan, agent)
            asyncio.get_running_loop().call_later(HEARTBEAT_S * (len(self.agents) % 89) / 89, self._beat, agent)

    async def close(self) -> None:
        """End all connections and refuse new ones."""
        for agent in self.agents.values():
            agent.close()

    async def open_empty(self) -> float:
        """Listen again, as agents that have nothing; return when that was."""
        for agent in self.agents.values():
            agent.forget()
        at = time.monotonic()
        for agent in self.agents.values():
            await agent.open()
        return at

    async def live(self, sessions: Mapping[str, Mapping[str, Mapping[str, str]]]) -> None:
        """Let peers be live: by address of the node and name of the interface, each with its endpoint."""
        for address, interfaces in sessions.items():
            for name, endpoints in interfaces.items():
                self.agents[address].live(name, endpoints)
            await asyncio.sleep(0)

    async def die(self, address: str) -> float:
        """Let a node be dead; return when that was, in s since the epoch."""
        self.agents[address].die()
        self.responder.send(("silence", address))
        return time.time()

    async def take_pushes(self) -> list[Pushed]:
        """Return what was pushed since the last call."""
        taken, self.pushes = self.pushes, []
        return taken

    async def take_calls(self) -> list[Called]:
        """Return what was called since the last time."""
        taken, self.calls = self.calls, []
        return taken

    async def holders(self, interface: str, key: str) -> int:
        """Return how many nodes have a peer."""
        kept = (agent.interfaces.get(interface) for agent in self.agents.values())
        return sum(each is not None and key in each.peers for each in kept)

    async def sent(self) -> Tally:
        return self.tally

    async def streams(self) -> int:
        """Return how many watch streams are open."""
        return sum(len(agent.readers) for agent in self.agents.values())

    def _scan(self, agent: SimulatedAgent) -> None:
        asyncio.get_running_loop().call_later(SCAN_S, self._scan, agent)
        agent.scan()

    def _beat(self, agent: SimulatedAgent) -> None:
        asyncio.get_running_loop().call_later(HEARTBEAT_S, self._beat, agent)
        agent.beat()


def run(control: Connection, responder: Connection, share: float) -> None:
    """Be the crowd until the other end of `control` is closed."""
    end_with(os.getppid(), signal.SIGKILL)
    raise_open_files_limit()
    shrink_tls_buffers()
    asyncio.run(_run(control, Crowd(responder, share)))


async def _run(control: Connection, crowd: Crowd) -> None:
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    commands: asyncio.Queue[tuple[str, tuple[Any, ...]]] = asyncio.Queue()

    def read() -> None:
        try:
            commands.put_nowait(control.recv())
        except EOFError:
            loop.remove_reader(control.fileno())
            ended.set()

    async def obey() -> None:
        while True:
            name, arguments = await commands.get()
            control.send(await getattr(crowd, name)(*arguments))

    # Millions of keys that stay: looking through them again and again would cost more than the agents do.
    gc.freeze()
    gc.set_threshold(100_000, 50, 1000)
    loop.add_reader(control.fileno(), read)
    obeying = asyncio.create_task(obey())
    ending = asyncio.create_task(ended.wait())
    done, _ = await asyncio.wait({obeying, ending}, return_when=asyncio.FIRST_COMPLETED)
    for task in done:
        task.result()
