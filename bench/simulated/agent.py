"""A simulated agent: the listener, the interfaces and the watch streams of a real one, without WireGuard below."""

import asyncio
import socket
import time
from collections.abc import Callable, Mapping
from typing import Protocol

import msgspec

import wgfleet
from bench.simulated.connection import AgentConnection, Answer, Request, Tally
from bench.simulated.interface import Kept, change_line, snapshot_line
from bench.simulated.sessions import LiveSessions
from wgfleet.agent.enrollment.revocations import read_list
from wgfleet.agent.server.listener import PANEL_NAME, common_names, make_context, serial_of
from wgfleet.agent.state.files import DamagedFiles
from wgfleet.agent.state.identity import StateDirectory, expires_at
from wgfleet.agent.state.panels import ObeyedPanels
from wgfleet.agent.state.revoked import RevokedCertificates
from wgfleet.protocol.desired import Push
from wgfleet.protocol.features import PROTOCOL, Feature
from wgfleet.protocol.ids import ConfigId, Generation, NodeId
from wgfleet.protocol.messages import AGENT_PORT, LOAD_S, AgentStatus, Certificate, Change, Heartbeat, Load

SCAN_S = 2.0
PLACES = 2  # of connections that wait to be accepted where there may be none: Linux keeps one, and drops the next
FEATURES = frozenset(
    {
        Feature.ADDRESS_TIMES,
        Feature.FEATURES,
        Feature.FLOW_LISTING,
        Feature.HISTORY,
        Feature.MUTE,
        Feature.PROBE_SERIES,
        Feature.REACH,
        Feature.REVOKED,
        Feature.USAGE,
    }
)
"""What is simulated. One that said more than it does would be measured wrong."""
UNASKED = frozenset(
    {
        Feature.BACKBONE,
        Feature.DRAWN_PEERS,
        Feature.OPEN_FLOWS,
        Feature.QUOTA,
        Feature.RELAY,
        Feature.ROUTED_ADDRESSES,
        Feature.RULES,
        Feature.SETTLED_CALLS,
        Feature.SPEED,
        Feature.TRANSLATED_ADDRESSES,
        Feature.WITNESS,
    }
)
"""What costs the panel something only where an administrator asks for it, which no benchmark does."""
_encode = msgspec.json.Encoder().encode
_load = Load(cpu=0.1, memory=0.3, bandwidth=0.05, bandwidth_bps=5e7)


class Surroundings(Protocol):
    """What an agent shares with the others. `share` (0 to 1) of all counters move in a scan."""

    share: float
    tally: Tally

    def is_silent(self, address: str) -> bool: ...
    def hold(self, address: str, port: int, private_key: str | None) -> None: ...
    def pushed(self, node_id: str, push: Push, size: int) -> None: ...
    def called(self, node_id: str, keys: list[str]) -> None: ...


class SimulatedAgent:
    """The agent of one node, at `address`. While it is `silent` it is as dead as a machine without power."""

    def __init__(
        self,
        node_id: str,
        address: str,
        state: StateDirectory,
        around: Surroundings,
        answer: Callable[["SimulatedAgent", Request], Answer],
    ) -> None:
        self.node_id, self.address, self.around = NodeId(node_id), address, around
        self.silent = False
        self.interfaces: dict[str, Kept] = {}
        self.past: dict[ConfigId, Generation] = {}
        self.new_key: bytes | None = None
        self.panels = ObeyedPanels(state.panels, DamagedFiles())
        self.panels.load()
        self.revoked = RevokedCertificates(state.revoked, DamagedFiles())
        self.revoked.load()
        self.readers: dict[AgentConnection, float] = {}
        """The watch streams, each with when the next load is due."""
        self.holds_back_s = 0.0  # as the panel asked with its stream
        self._answer = answer
        self._state = state
        self._context = make_context(state.certificate, state.key, state.ca)
        self._expires_at = expires_at(state.certificate)
        self._started_at = time.time()
        self._connections: set[AgentConnection] = set()
        self._server: asyncio.Server | None = None
        self._taken: list[socket.socket] = []

    async def open(self) -> None:
        """Listen."""
        make = asyncio.get_running_loop().create_server
        self._server = await make(
            lambda: AgentConnection(self, self.around.tally), self.address, AGENT_PORT, ssl=self._context
        )

    def close(self) -> None:
        """End all connections, and refuse new ones."""
        if self._server is not None:
            self._server.close()
        for connection in tuple(self._connections):
            connection.abort()
        for taking in self._taken:
            taking.close()

    def die(self) -> None:
        """Say nothing from now on: connections stay, and new ones are not answered, as by no machine.

        Of a socket that listens with all places taken the kernel drops what comes; else it would take connections, as
        that of a machine whose programs stand still for a moment, which the panel gives more time.
        """
        self.silent = True
        for kept in self.interfaces.values():
            kept.sessions = LiveSessions({}, 0)
        for listening in self._server.sockets if self._server else ():
            asyncio.get_running_loop().remove_reader(listening.fileno())
            with socket.fromfd(listening.fileno(), listening.family, listening.type) as same:
                same.listen(0)
            for _ in range(PLACES):
                taking = socket.socket(listening.family, listening.type)
                taking.setblocking(False)
                taking.connect_ex((self.address, AGENT_PORT))
                self._taken.append(taking)

    def live(self, interface: str, endpoints: Mapping[str, str]) -> None:
        """Let these peers be live, and say so."""
        kept = self.interfaces[interface]
        kept.sessions = LiveSessions(endpoints, self.around.share)
        self._report(kept, kept.sessions.whole(), len(endpoints))

    def keep(self, kept: Kept) -> None:
        """Keep an interface as it was pushed."""
        settings = kept.settings
        self.interfaces[settings.name] = kept
        self.around.hold(self.address, settings.listen_port, settings.private_key if settings.enabled else None)
        self._report(kept)

    def drop(self, kept: Kept) -> None:
        """Keep an interface no longer."""
        del self.interfaces[kept.settings.name]
        self.around.hold(self.address, kept.settings.listen_port, None)
        self._send(_encode(Change(time.time(), gone=(kept.settings.name,), mark=time.monotonic())) + b"\n")

    def forget(self) -> None:
        """Keep nothing, as a machine that was made again."""
        self.interfaces, self.past = {}, {}

    def show(self, key: bytes, given: Certificate) -> None:
        """Show another certificate to new connections."""
        self._state.write_certificate(key=key, certificate=given.certificate.encode(), ca=given.ca.encode())
        self._context.load_cert_chain(self._state.certificate, self._state.key)
        self._expires_at = expires_at(self._state.certificate)
        self.new_key = None

    def scan(self) -> None:
        """Report what has moved on each interface since the last scan."""
        if not self.silent and self.readers:
            for kept in self.interfaces.values():
                peers, count = kept.sessions.scan(time.time(), self.holds_back_s)
                if count:
                    self._report(kept, peers, count)

    def beat(self) -> None:
        """Send a heartbeat to each reader, with the load where it is due."""
        now = time.monotonic()
        for stream, load_due in tuple(self.readers.items()):
            due = now >= load_due
            if due:
                self.readers[stream] = now + LOAD_S
            stream.send(_encode(Heartbeat(time.time(), _load if due else None, now)) + b"\n")

    def status(self) -> AgentStatus:
        return AgentStatus(
            node_id=self.node_id,
            version=wgfleet.__version__,
            backend="kernel",
            started_at=self._started_at,
            now=time.time(),
            certificate_expires_at=self._expires_at,
            scan_interval_s=SCAN_S,
            protocol=PROTOCOL,
            features=tuple(sorted(FEATURES)),
            interfaces=tuple(kept.status() for kept in self.interfaces.values()),
        )

    def objection(self, certificate: dict[str, object] | None) -> str | None:
        """Return why a client is not let in; None: it is the panel."""
        names = common_names(certificate)
        if names != [PANEL_NAME]:
            return f"certificate of {names}, not of the panel"
        return self.revoked.objection(serial_of(certificate))

    def refuse(self, crl: str) -> None:
        """Refuse certificates of panels for good, and end connections that have shown one."""
        self.revoked.add(read_list(crl, self._state.ca.read_bytes()))
        for connection in tuple(self._connections):
            connection.check()

    def opened(self, connection: AgentConnection) -> None:
        self._connections.add(connection)

    def closed(self, connection: AgentConnection) -> None:
        self._connections.discard(connection)
        self.readers.pop(connection, None)

    def answer(self, request: Request) -> Answer:
        return self._answer(self, request)

    def streams(self, stream: AgentConnection) -> None:
        """Begin a watch stream with the whole state."""
        self.readers[stream] = 0.0
        kept = self.interfaces.values()
        rendered = [each.rendered(each.sessions.whole()) for each in kept]
        stream.send(snapshot_line(_encode(self.status()), rendered), sum(len(each.sessions.keys) for each in kept))

    def _report(self, kept: Kept, peers: str = "", count: int = 0) -> None:
        """Report one interface, with `count` peers that are JSON already."""
        self._send(change_line(kept.rendered(peers)), count)

    def _send(self, line: bytes, samples: int = 0) -> None:
        for stream in self.readers:
            stream.send(line, samples)
