"""A fleet for the bench: a real panel with its database, simulated nodes that joined it, and their live peers."""

import multiprocessing
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Self

from bench.simulated import crowd, responder
from bench.simulated.database import PanelDatabase
from bench.simulated.panel import Caller, PanelProcess
from bench.simulated.responder import Seen
from bench.simulated.sessions import endpoint_of
from tests.postgresql import postgresql_server
from wgfleet.agent.enrollment.enroll import enroll
from wgfleet.agent.state.identity import StateDirectory
from wgfleet.protocol.messages import AGENT_PORT

MAX_BATCH = 10_000
PER_NET = 250
LASTING = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on", "autovacuum": "on"}


@dataclass(frozen=True, slots=True)
class Shape:
    """How large: `configs` share the nodes, and `peers` are live on each node. `share` of counters move in a scan."""

    nodes: int
    peers: int
    configs: int
    share: float


@dataclass
class Group:
    """A config, the addresses of its nodes by their ids, and its peers: ids and public keys by the node they are on."""

    name: str
    nodes: dict[str, str] = field(default_factory=dict)
    peers: dict[str, dict[str, str]] = field(default_factory=dict)


class Fleet:
    """Owns all processes. Use it as a context manager; `panel` runs inside."""

    def __init__(self, shape: Shape, directory: Path, *, postgresql: bool) -> None:
        self.shape = shape
        self.groups = [Group(f"wg{number}") for number in range(shape.configs)]
        self.pids: dict[str, int] = {}
        """The processes beside the panel: `agents`, `responder`, and `postgresql` where there is one."""
        self._directory = directory
        self._postgresql = postgresql
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.database = PanelDatabase(self._database_url(stack))
            stack.callback(self.database.close)
            context = multiprocessing.get_context("spawn")
            to_responder, of_crowd = context.Pipe()
            self._responder = self._child(stack, "responder", responder.run, of_crowd)
            self._crowd = self._child(stack, "agents", crowd.run, to_responder, self.shape.share)
            for each in (to_responder, of_crowd):
                each.close()
            self.panel = PanelProcess(self._directory, self.database.url)
            stack.callback(self.panel.stop)
            self.started_s = self.panel.start()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def ask(self, command: str, *arguments: object) -> Any:
        """Have the agents' process obey a command of `Crowd`."""
        self._crowd.send((command, arguments))
        return self._crowd.recv()

    def probes(self) -> Seen:
        """Return what was probed since the last call."""
        self._responder.send("look")
        seen: Seen = self._responder.recv()
        return seen

    def caller(self) -> Caller:
        """Return a new client of the API."""
        return Caller(self.panel.port, self.panel.key)

    def join(self) -> None:
        """Make nodes and configs, and have an agent join as each node."""
        caller, block = self.caller(), free_block()
        joined = []
        for group in self.groups:
            caller.post("/api/configs", {"name": group.name, "pools": [f"10.{64 + self.groups.index(group)}.0.0/16"]})
        for number in range(self.shape.nodes):
            address = f"127.{block}.{number // PER_NET}.{number % PER_NET + 1}"
            elsewhere = f"198.18.{number // PER_NET}.{number % PER_NET + 1}"
            node = {"name": f"n{number}", "endpoint_addresses": [elsewhere], "agent_host": address}
            made = caller.post("/api/nodes", node)
            token = caller.post(f"/api/nodes/{made['id']}/join-token", {})
            state = self._directory / f"agent-{number}"
            enroll(
                panel=f"https://127.0.0.1:{self.panel.port}",
                token=token["token"],
                ca_fingerprint=token["command"].rpartition("--ca-fingerprint ")[2].split()[0],
                state=StateDirectory(state),
                port=AGENT_PORT,
                tell=print,
            )
            joined.append((made["id"], address, state))
            self.groups[number % len(self.groups)].nodes[made["id"]] = address
        caller.close()  # the panel would, while many agents are made
        self.database.reach_nodes_at({node_id: address for node_id, address, _ in joined})
        self.ask("add", joined)
        caller = self.caller()
        for group in self.groups:
            for node_id in group.nodes:
                caller.post(f"/api/configs/{group.name}/nodes", {"node_id": node_id})
        caller.close()
        self.wait(lambda: self.database.standing().all_right, "the nodes serve")

    def people(self) -> None:
        """Make the peers, while no agent can be reached: pushes are measured apart."""
        self.ask("close")
        caller = self.caller()
        for group in self.groups:
            left = self.shape.peers * len(group.nodes)
            group.peers = {node_id: {} for node_id in group.nodes}
            while left:
                count = min(left, MAX_BATCH)
                made = caller.post_until_done(f"/api/configs/{group.name}/peers/batch", {"count": count})
                for peer in made["items"]:
                    group.peers[peer["home_node_id"]][peer["id"]] = peer["public_key"]
                left -= count
        caller.close()

    def live(self) -> None:
        """Have each node's peers be live there."""
        number = 0
        for group in self.groups:
            for node_id, peers in group.peers.items():
                endpoints = {}
                for key in peers.values():
                    endpoints[key] = endpoint_of(number)
                    number += 1
                self.ask("live", {group.nodes[node_id]: {group.name: endpoints}})

    def has_all(self) -> bool:
        """Say whether all agents have what their configs are at; nodes without an agent have no config."""
        standing = self.database.standing()
        return standing.right == standing.assignments

    def wait(self, look: Callable[[], bool], what: str, within_s: float = 1200.0, every_s: float = 0.1) -> float:
        """Look until it is so; return when it was, by the monotonic clock."""
        until = time.monotonic() + within_s
        while not look():
            if time.monotonic() > until:
                raise SystemExit(f"not within {within_s:.0f} s: {what}")
            time.sleep(every_s)
        return time.monotonic()

    def _database_url(self, stack: ExitStack) -> str:
        if not self._postgresql:
            return f"sqlite:///{self._directory / 'panel.sqlite'}"
        server = stack.enter_context(postgresql_server(LASTING))
        self.pids["postgresql"] = int((server.folder / "data" / "postmaster.pid").read_text().split()[0])
        return stack.enter_context(server.database())

    def _child(self, stack: ExitStack, name: str, work: Callable[..., None], *arguments: object) -> Connection:
        context = multiprocessing.get_context("spawn")
        here, there = context.Pipe()
        process = context.Process(target=work, args=(there, *arguments))
        process.start()
        self.pids[name] = process.pid or 0
        there.close()
        stack.callback(process.join)
        stack.callback(here.close)
        return here


def free_block() -> int:
    """Return the second byte of 127.x.0.0/16 where nobody listens: several benches may run on one machine."""
    for block in range(16, 250):
        with suppress(OSError), socket.socket() as tried:
            tried.bind((f"127.{block}.0.1", AGENT_PORT))
            return block
    raise SystemExit(f"port {AGENT_PORT} is taken on all of loopback: stop the agent of this machine")
