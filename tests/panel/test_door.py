"""The panel's listeners among strangers: few, short and cheap, and never in the way of who has a key."""

import contextlib
import http.client
import json
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import httpx
import pytest
from fastapi import FastAPI

from tests import tls_connections
from tests.panel.conftest import NO_AUTHORITY
from tests.panel.thread_server import served
from wgfleet.panel import clock
from wgfleet.panel.agents.authority import Authority
from wgfleet.panel.api import Panel, create_app
from wgfleet.panel.listening import PanelServer, open_sockets
from wgfleet.panel.server_certificate import ServerCertificate
from wgfleet.panel.services.access import api_keys
from wgfleet.panel.settings import Listener, Settings
from wgfleet.panel.settings.door import DoorSettings

AUTHORITY = Authority.create("test", clock.now())
SHORT = DoorSettings(handshake_s=1, request_s=1, answer_s=2, strangers=12, strangers_per_address=4)


@dataclass
class Doors:
    """A panel that listens in plain HTTP and in TLS, with an admin key."""

    plain: int
    secure: int
    key: str
    server: PanelServer

    def get(self, path: str, key: str | None = None) -> int:
        headers = {"X-API-Key": key} if key else {}
        with httpx.Client(trust_env=False, verify=NO_AUTHORITY, timeout=5) as client:
            return client.get(f"http://127.0.0.1:{self.plain}{path}", headers=headers).status_code


@contextmanager
def opened_doors(panel: Panel, settings: DoorSettings, app: FastAPI | None = None) -> Iterator[Doors]:
    with panel.store.write() as tx:
        key = api_keys.ensure_first_key(tx)
    assert key
    certificate = ServerCertificate(Settings())
    certificate.issue_from(lambda: AUTHORITY)
    sockets = open_sockets([Listener("http", "127.0.0.1", 0), Listener("https", "127.0.0.1", 0)])
    with served(app or create_app(panel), sockets, certificate, settings) as server:
        yield Doors(sockets[0][0].port, sockets[1][0].port, key, server)


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    """The door knows no database: SQLite alone."""
    return sqlite_url


@pytest.fixture
def doors(panel: Panel) -> Iterator[Doors]:
    with opened_doors(panel, SHORT) as opened:
        yield opened


@pytest.fixture(params=["plain", "secure"])
def door(request: pytest.FixtureRequest, doors: Doors) -> int:
    """The port of each kind of listener."""
    return int(getattr(doors, request.param))


def connected(port: int, source: str = "127.0.0.1") -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=10, source_address=(source, 0))


@contextmanager
def strangers(port: int, sources: Sequence[str]) -> Iterator[list[socket.socket]]:
    """Open a connection from each source, one after the other."""
    opened: list[socket.socket] = []
    try:
        for source in sources:
            opened.append(connected(port, source))
            time.sleep(0.005)
        yield opened
    finally:
        for each in opened:
            each.close()


def seconds_open(connection: socket.socket) -> float:
    """Wait until the panel ends a connection."""
    started = time.monotonic()
    with contextlib.suppress(ConnectionError):
        while connection.recv(4096):
            pass
    return time.monotonic() - started


def is_open(connection: socket.socket) -> bool:
    connection.setblocking(False)
    try:
        return connection.recv(1, socket.MSG_PEEK) != b""
    except BlockingIOError:
        return True
    except ConnectionError:
        return False


def eventually(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 60
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return condition()


def test_a_connection_that_says_nothing_is_ended(door: int) -> None:
    with connected(door) as silent:
        silent.settimeout(60)
        assert seconds_open(silent) > 0.5


def test_a_request_that_trickles_in_is_ended(doors: Doors) -> None:
    def trickle(slow: socket.socket) -> None:
        for letter in b"GET /healthz HTTP/1.1\r\nX-Slow: " + b"a" * 1000:
            slow.sendall(bytes([letter]))
            time.sleep(0.05)

    with connected(doors.plain) as slow, pytest.raises(ConnectionError):
        trickle(slow)


def test_headers_that_trickle_in_are_ended_after_tls_and_after_a_first_request_too(doors: Doors) -> None:
    context = ssl.create_default_context(cadata=AUTHORITY.certificate_pem)
    with context.wrap_socket(connected(doors.secure), server_hostname="localhost") as slow:
        slow.sendall(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\nGET /healthz HTTP/1.1\r\nX-Slow: a")
        slow.settimeout(10)
        assert b"200 OK" in slow.recv(4096)
        assert seconds_open(slow) < 10


def test_a_client_that_never_reads_its_answers_is_ended(doors: Doors) -> None:
    with socket.socket() as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # before the connection, or its window is larger
        deaf.settimeout(20)
        deaf.connect(("127.0.0.1", doors.plain))
        with pytest.raises(ConnectionError):  # a time-out would be the panel waiting for us
            deaf.sendall(b"GET /api/ca.pem HTTP/1.1\r\nHost: a\r\n\r\n" * 1_000_000)


@pytest.mark.parametrize(
    "sent", [b"", b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00\x01"], ids=["nothing", "http", "half"]
)
def test_what_a_stranger_cost_is_free_once_it_is_gone(doors: Doors, sent: bytes) -> None:
    """Not when the collector comes by: until then the buffers of TLS of all that came and went are kept."""

    with tls_connections.uncollected() as before:
        for _ in range(10):
            with connected(doors.secure) as stranger:
                time.sleep(0.01)  # until it is let in
                stranger.sendall(sent)
        assert eventually(lambda: tls_connections.kept() <= before)


def test_strangers_that_say_nothing_begin_no_tls(doors: Doors) -> None:
    with tls_connections.uncollected() as before, strangers(doors.secure, ["127.0.0.1"] * 4) as opened:
        time.sleep(0.2)
        assert all(map(is_open, opened))
        assert tls_connections.kept() <= before


@pytest.mark.parametrize("at_a_time", [1, 7, 16384])
def test_tls_begins_with_the_first_bytes_however_few_they_are(doors: Doors, at_a_time: int) -> None:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.create_default_context(cadata=AUTHORITY.certificate_pem)
    line = context.wrap_bio(incoming, outgoing, server_hostname="localhost")

    def when_received(step: Callable[[], bytes | None]) -> bytes | None:
        while True:
            try:
                return step()
            except ssl.SSLWantReadError:
                for _ in range(64):  # and the rest at once: on a busy machine each of these takes some ms
                    if piece := outgoing.read(at_a_time):
                        caller.sendall(piece)
                        time.sleep(0.0005)
                caller.sendall(outgoing.read())
                received = caller.recv(16384)
                assert received
                incoming.write(received)

    with connected(doors.secure) as caller:
        caller.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        when_received(line.do_handshake)
        line.write(b"GET /healthz HTTP/1.1\r\nHost: panel\r\n\r\n")  # comes with the end of the handshake
        assert b"200 OK" in (when_received(line.read) or b"")


def test_of_one_address_the_oldest_idle_stranger_goes_for_the_newest(door: int) -> None:
    with strangers(door, ["127.0.0.1"] * 6) as opened:
        assert eventually(lambda: [is_open(each) for each in opened[:2]] == [False, False])
        assert all(is_open(each) for each in opened[2:])


def test_strangers_of_all_addresses_together_are_few(doors: Doors) -> None:
    with strangers(doors.plain, [f"127.0.1.{n // 3}" for n in range(30)]) as opened:
        assert eventually(lambda: sum(map(is_open, opened)) <= SHORT.strangers)


def test_who_has_a_key_gets_through_any_number_of_strangers(doors: Doors) -> None:
    with strangers(doors.plain, [f"127.0.{n // 200}.{n % 200 + 1}" for n in range(300)]):
        assert [doors.get("/api/nodes", doors.key) for _ in range(12)] == [200] * 12


def test_a_connection_that_showed_a_key_is_not_counted_and_not_ended(doors: Doors) -> None:
    caller = http.client.HTTPConnection("127.0.0.1", doors.plain, timeout=5)

    def status() -> int:
        caller.request("GET", "/api/nodes", headers={"X-API-Key": doors.key})
        answer = caller.getresponse()
        answer.read()
        return answer.status

    assert status() == 200
    kept = caller.sock
    with strangers(doors.plain, ["127.0.0.1"] * 20):
        time.sleep(0.2)
        assert status() == 200
        assert caller.sock is kept
    caller.close()


def test_a_wrong_key_does_not_make_a_connection_known(doors: Doors) -> None:
    with connected(doors.plain) as stranger:
        stranger.sendall(b"GET /api/nodes HTTP/1.1\r\nHost: a\r\nX-API-Key: wgf_wrong\r\n\r\n")
        stranger.settimeout(5)
        assert b"401" in stranger.recv(4096)
        assert seconds_open(stranger) < 3


def test_the_address_that_a_trusted_proxy_tells_counts_and_no_other(panel: Panel) -> None:
    body = json.dumps({"token": "wgj_wrong", "csr": "x"})
    for trusted, expected in (((), "127.0.0.1"), (("127.0.0.1",), "198.51.100.7")):
        with opened_doors_again(panel, DoorSettings(trusted_proxies=trusted)) as doors:
            caller = http.client.HTTPConnection("127.0.0.1", doors.plain, timeout=5)
            headers = {"X-Forwarded-For": "198.51.100.7", "Content-Type": "application/json"}
            caller.request("POST", "/api/enroll", body, headers)
            assert caller.getresponse().status == 401
            caller.close()
        with panel.store.read() as tx:
            [entry] = [each for each in refused_tokens(tx) if each["remote"] == expected]
            assert (entry["count"], entry["address"]) == (1, expected)


def refused_tokens(tx: object) -> list[dict[str, object]]:
    from wgfleet.panel.services import audit  # noqa: PLC0415 - beside its only use

    return [entry.details | {"address": entry.address} for entry in audit.page(tx, action="refused")[0]]  # type: ignore[arg-type]


@contextmanager
def opened_doors_again(panel: Panel, settings: DoorSettings, app: FastAPI | None = None) -> Iterator[Doors]:
    with panel.store.write() as tx:
        for row in api_keys.keys(tx):
            tx.session.delete(row)
    with opened_doors(panel, settings, app) as doors:
        yield doors


def asking(doors: Doors, path: str, key: str | None = None, times: int = 1) -> socket.socket:
    """Ask with a key on a connection with a small buffer, and leave the answer where it is."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.settimeout(10)
    connection.connect(("127.0.0.1", doors.plain))
    request = f"GET {path} HTTP/1.1\r\nHost: panel\r\nX-API-Key: {key or doors.key}\r\n\r\n"
    connection.sendall(request.encode() * times)
    return connection


def test_answers_that_nobody_fetches_end_the_connection_of_a_caller_too(panel: Panel) -> None:
    settings = SHORT.model_copy(update={"fetch_s": 1, "request_s": 60})
    with opened_doors(panel, settings) as doors, asking(doors, "/openapi.json", times=8) as idle:
        time.sleep(0.5)
        idle.recv(1)
        time.sleep(2.5)
        received = 1
        with contextlib.suppress(ConnectionError):
            while more := len(idle.recv(65536)):
                received += more
        assert received < 1_000_000


def length_in(head: bytes) -> int:
    """Return the length of a body by its headers."""
    return int(head.partition(b"content-length: ")[2].split(b"\r\n")[0])


def test_who_fetches_an_answer_slowly_gets_all_of_it(panel: Panel) -> None:
    with opened_doors(panel, SHORT.model_copy(update={"fetch_s": 1})) as doors, asking(doors, "/openapi.json") as slow:
        received = b""
        started = time.monotonic()
        while not (head := received.partition(b"\r\n\r\n"))[1] or len(head[2]) < length_in(head[0]):
            received += slow.recv(16 * 1024)
            time.sleep(0.1)
        assert time.monotonic() - started > 0.8
        assert json.loads(head[2])["openapi"]


def test_connections_of_one_key_are_limited_and_the_oldest_idle_one_goes(panel: Panel) -> None:
    settings = DoorSettings(connections_per_key=8, strangers_per_address=32)
    with opened_doors(panel, settings) as doors, contextlib.ExitStack() as opened:
        with panel.store.write() as tx:
            _, other_key = api_keys.create_key(tx, "test", "other", ["read"])

        def called(key: str) -> socket.socket:
            connection = opened.enter_context(asking(doors, "/api/nodes", key))
            received = b""
            while not received.endswith(b"}"):
                received += connection.recv(4096)
            return connection

        other = called(other_key)
        held = [called(doors.key) for _ in range(11)]
        assert eventually(lambda: [is_open(each) for each in held] == [False] * 3 + [True] * 8)
        assert is_open(other)


@pytest.mark.parametrize(("path", "status"), [("/api/enroll", 411), ("/api/nodes", 401)])
def test_chunks_of_a_stranger_are_not_read(panel: Panel, path: str, status: int) -> None:
    """Chunks of one byte take the loop a hundred times as long as their bytes."""
    with opened_doors(panel, DoorSettings()) as doors, connected(doors.plain) as stranger:
        stranger.settimeout(5)
        stranger.sendall(f"POST {path} HTTP/1.1\r\nHost: panel\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
        started = time.monotonic()
        with contextlib.suppress(ConnectionError):
            while time.monotonic() - started < 8:
                stranger.sendall(b"1\r\n \r\n" * 1000)
        assert time.monotonic() - started < 1
        with connected(doors.plain) as again:
            again.sendall(f"POST {path} HTTP/1.1\r\nHost: panel\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
            answer = http.client.HTTPResponse(again)
            answer.begin()
            assert answer.status == status
            assert seconds_open(again) < 1
            answer.close()


def test_chunks_of_a_caller_are_read(doors: Doors) -> None:
    answer = httpx.post(
        f"http://127.0.0.1:{doors.plain}/api/node-groups",
        headers={"X-API-Key": doors.key, "Content-Type": "application/json"},
        content=iter([b'{"name"', b': "a"}']),
        trust_env=False,
    )
    assert answer.status_code == 201, answer.text


@pytest.mark.parametrize(
    ("version", "length"),
    [
        ("1.1", "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n"),
        ("1.1", "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n"),
        ("1.0", "Transfer-Encoding: chunked\r\n"),
    ],
)
def test_who_says_a_length_in_two_ways_is_refused_and_what_follows_is_no_request(
    doors: Doors, version: str, length: str
) -> None:
    """A proxy in front may have gone by the other one: what follows would be somebody else's."""
    with connected(doors.plain) as connection:
        head = f"POST /api/keys HTTP/{version}\r\nHost: panel\r\nX-API-Key: {doors.key}\r\n{length}\r\n"
        connection.sendall(f"{head}0\r\n\r\nGET /healthz HTTP/1.1\r\nHost: panel\r\n\r\n".encode())
        received = b""
        with contextlib.suppress(ConnectionError):
            while part := connection.recv(4096):
                received += part
    assert received.startswith(b"HTTP/1.1 400 ")
    assert b"HTTP/1.1 200" not in received
    assert b"content-length, or transfer-encoding" in received.lower()
