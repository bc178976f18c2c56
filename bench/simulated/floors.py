"""What the least would cost on this machine: bare inserts of the same rows, bare echoes over TLS, bare handshakes."""

import asyncio
import multiprocessing
import os
import signal
import ssl
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from bench.simulated.database import PanelDatabase
from bench.simulated.processes import usage
from bench.simulated.responder import Interface
from wgfleet.panel.agents.authority import Authority
from wgfleet.process import end_with
from wgfleet.protocol.handshake import Ephemeral, initiate, pair, read_answer, tai64n
from wgfleet.protocol.keys import PrivateKey, public_key_of, raw_to_text

_TRANSACTIONS = 10
_ECHO_S = 2.0
_HANDSHAKES = 2000
_TABLE = (
    "CREATE TABLE bench_floor (peer_id text, node_id text, endpoint text, latest_handshake bigint, rx bigint, "
    "tx bigint, called_from text, seen_at double precision, PRIMARY KEY (peer_id, node_id))"
)
_COLUMNS = ("endpoint", "latest_handshake", "rx", "tx", "seen_at")
_UPSERT = (
    f"INSERT INTO bench_floor (peer_id, node_id, {', '.join(_COLUMNS)}) VALUES ({{0}}, {{0}}, {{0}}, {{0}}, {{0}}, {{0}}, {{0}}) "  # noqa: S608, E501 - the names are above
    f"ON CONFLICT (peer_id, node_id) DO UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in _COLUMNS)}"
)


@dataclass(frozen=True, slots=True)
class InsertFloor:
    """A row inserted bare: CPU of client and server in us, and how many a second went in."""

    us_per_row: float
    rows_s: float


@dataclass(frozen=True, slots=True)
class EchoFloor:
    """A message echoed bare: CPU of the server in us, and the median round trip of one client in ms."""

    us_per_message: float
    round_trip_ms: float


def insert_floor(database: PanelDatabase, rows: int, server_pid: int | None) -> InsertFloor:
    """Insert or replace `rows` rows a transaction, as one for each second of telemetry would."""
    home = f"{time.time_ns():016x}{'0' * 16}"
    keys = [(f"{number:032x}", home) for number in range(max(rows, 1))]
    with database.connected() as connection:
        cursor = connection.cursor()
        if database.is_sqlite:
            cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute(_TABLE)
        connection.commit()
        statement = _UPSERT.format("?" if database.is_sqlite else "%s")
        cpu, began = _cpu_s(server_pid), time.monotonic()
        for turn in range(_TRANSACTIONS):
            values = [(*key, "198.18.200.200:10000", turn, turn, turn, float(turn)) for key in keys]
            cursor.executemany(statement, values)
            connection.commit()
        spent, took = _cpu_s(server_pid) - cpu, time.monotonic() - began
        cursor.execute("DROP TABLE bench_floor")
        connection.commit()
    written = _TRANSACTIONS * len(keys)
    return InsertFloor(round(spent / written * 1e6, 2), round(written / took))


def echo_floor(connections: int, size: int) -> EchoFloor:
    """Echo messages of `size` bytes on as many connections as are given."""
    with tempfile.TemporaryDirectory() as place, _echo_server(Path(place)) as (port, control):
        trip = asyncio.run(_echo(port, 1, size))
        control.send("cpu")
        before = control.recv()
        count = len(asyncio.run(_echo(port, connections, size)))
        control.send("cpu")
        spent = control.recv() - before
    return EchoFloor(round(spent / count * 1e6, 1), round(statistics.median(trip) * 1000, 3))


def probe_floor() -> float:
    """Return the CPU in us of a handshake as the panel makes one: an initiation, and the check of its answer."""
    keys = [X25519PrivateKey.generate() for _ in range(2)]
    panel, interface = (PrivateKey(raw_to_text(key.private_bytes_raw())) for key in keys)
    pairing, answers = pair(panel, public_key_of(interface)), Interface(interface)
    began, spent_there = time.process_time(), 0.0
    for number in range(_HANDSHAKES):
        initiation = initiate(pairing, Ephemeral(), tai64n(number), number)
        there = time.process_time()
        packet = answers.respond(initiation.packet) or b""
        spent_there += time.process_time() - there
        if read_answer(pairing, initiation, packet) is None:
            raise RuntimeError("the simulated responder is not answered as WireGuard is")
    return round((time.process_time() - began - spent_there) / _HANDSHAKES * 1e6, 1)


def _cpu_s(server_pid: int | None) -> float:
    own = time.process_time()
    return own if server_pid is None else own + sum(used.cpu_s for used in usage(server_pid).by_name.values())


async def _echo(port: int, connections: int, size: int) -> list[float]:
    """Return the round trips in s of clients that each wait for an answer before they send again."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    until = time.monotonic() + _ECHO_S
    message, taken = b"x" * size, []

    async def client() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
        while time.monotonic() < until:
            began = time.monotonic()
            writer.write(message)
            await reader.readexactly(size)
            taken.append(time.monotonic() - began)
        writer.close()

    async with asyncio.TaskGroup() as clients:
        for _ in range(connections):
            clients.create_task(client())
    return taken


class _Echo(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - create_server makes nothing else
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._transport.write(data)


def _serve(control: Connection, certificate: Path, key: Path) -> None:
    end_with(os.getppid(), signal.SIGKILL)

    async def serve() -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        loop, ended = asyncio.get_running_loop(), asyncio.Event()
        server = await loop.create_server(_Echo, "127.0.0.1", 0, ssl=context)

        def tell() -> None:
            try:
                control.recv()
            except EOFError:
                loop.remove_reader(control.fileno())
                ended.set()
            else:
                control.send(time.process_time())

        loop.add_reader(control.fileno(), tell)
        control.send(server.sockets[0].getsockname()[1])
        await ended.wait()

    asyncio.run(serve())


@contextmanager
def _echo_server(place: Path) -> Iterator[tuple[int, Connection]]:
    identity = Authority.create("bench", time.time()).issue_server(["echo"], ["127.0.0.1"], time.time())
    certificate, key = place / "crt", place / "key"
    certificate.write_text(identity.certificate)
    key.touch(0o600)
    key.write_text(identity.key)
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_serve, args=(there, certificate, key))
    process.start()
    there.close()
    try:
        yield here.recv(), here
    finally:
        here.close()
        process.join()
