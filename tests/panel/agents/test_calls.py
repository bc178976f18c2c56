"""Connections to an agent that carry calls: kept and given up, answers however they are cut and framed, no answer."""

import asyncio
import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from tests.panel.agents.conftest import NODE
from tests.waiting import eventually
from wgfleet.panel import clock
from wgfleet.panel.agents import calls, client, tls
from wgfleet.panel.agents.answers import AgentRefused
from wgfleet.panel.agents.authority import Authority
from wgfleet.panel.agents.client import AgentClient
from wgfleet.panel.errors import TransientError

STATUS = b'{"lines":["a line"]}'
WHOLE = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(STATUS) + STATUS
IN_CHUNKS = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n%b\r\nf\r\n%b\r\n0\r\n\r\n" % (
    STATUS[:5],
    STATUS[5:],
)
Say = Callable[[ssl.SSLSocket, int], object]


class Agent:
    """Says something after each request; is told by which connection, counted from 1.

    `connections`: how many had a request, `ended`: how many of them are over.
    """

    def __init__(self, authority: Authority, say: Say) -> None:
        identity = authority.issue_server([f"{NODE}.node.wgfleet.internal"], [], clock.now())
        self._context = tls.server_context(identity)
        self._context.verify_mode = ssl.CERT_REQUIRED
        self._context.load_verify_locations(cadata=authority.certificate_pem)
        self._say = say
        self.connections = self.ended = 0
        self._counting = threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]

    def accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                line = self.listener.accept()[0]
                threading.Thread(target=self._serve, args=(line,), daemon=True).start()

    def _serve(self, plain: socket.socket) -> None:
        number = 0
        with contextlib.suppress(OSError), self._context.wrap_socket(plain, server_side=True) as line:
            while b"\r\n\r\n" in line.recv(65536):
                if not number:
                    with self._counting:
                        self.connections += 1
                        number = self.connections
                self._say(line, number)
        if number:
            with self._counting:
                self.ended += 1


@contextlib.contextmanager
def agent(authority: Authority, say: Say) -> Iterator[Agent]:
    it = Agent(authority, say)
    thread = threading.Thread(target=it.accept)
    thread.start()
    try:
        yield it
    finally:
        it.listener.shutdown(socket.SHUT_RDWR)
        it.listener.close()
        thread.join()


def ask(context: ssl.SSLContext, port: int, times: int = 1, pause_s: float = 0.0) -> list[tuple[str, ...]]:
    async def run() -> list[tuple[str, ...]]:
        it = AgentClient("127.0.0.1", port, NODE, context)
        found = []
        try:
            for _ in range(times):
                found.append((await it.log(5)).lines)
                await asyncio.sleep(pause_s)
        finally:
            await it.aclose()
        return found

    return asyncio.run(run())


@pytest.mark.parametrize(
    "answer",
    [
        WHOLE,
        b"HTTP/1.1 100 Continue\r\n\r\n" + WHOLE,
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n"
        + STATUS[:5]
        + b"\r\nf\r\n"
        + STATUS[5:]
        + b"\r\n0\r\n\r\n",
    ],
    ids=["whole", "after a continue", "in chunks"],
)
@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_an_answer_is_the_same_however_it_is_cut_and_its_connection_is_kept(
    authority: Authority, panel_context: ssl.SSLContext, answer: bytes, size: int
) -> None:
    def say(line: ssl.SSLSocket, _: int) -> None:
        for at in range(0, len(answer), size):
            line.sendall(answer[at : at + size])

    with agent(authority, say) as it:
        assert ask(panel_context, it.port, times=3) == [("a line",)] * 3
        assert it.connections == 1


def test_an_answer_that_ends_with_its_connection_is_whole(authority: Authority, panel_context: ssl.SSLContext) -> None:
    def say(line: ssl.SSLSocket, _: int) -> None:
        line.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + STATUS)
        line.unwrap()
        line.close()

    with agent(authority, say) as it:
        assert ask(panel_context, it.port, times=2) == [("a line",)] * 2
        assert it.connections == 2


@pytest.mark.parametrize("then", ["closed", "speaks", "another answer", "says that it closes"])
def test_a_connection_that_is_good_no_more_is_not_used_again(
    authority: Authority, panel_context: ssl.SSLContext, then: str
) -> None:
    def say(line: ssl.SSLSocket, _: int) -> None:
        line.sendall(WHOLE.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n", 1) if "says" in then else WHOLE)
        if then == "closed":
            line.shutdown(socket.SHUT_RDWR)
        elif then == "speaks":
            line.sendall(b"and by the way")
        elif then == "another answer":
            line.sendall(WHOLE)

    with agent(authority, say) as it:
        assert ask(panel_context, it.port, times=2, pause_s=0.2) == [("a line",)] * 2
        assert it.connections == 2


def test_calls_at_once_have_a_connection_each_and_few_are_kept(
    authority: Authority, panel_context: ssl.SSLContext
) -> None:
    many = 2 * calls.KEPT
    together = threading.Barrier(many)

    first: set[int] = set()

    def say(line: ssl.SSLSocket, number: int) -> None:
        if number not in first:
            first.add(number)
            together.wait(60)
        line.sendall(WHOLE)

    async def run(it: Agent) -> None:
        client = AgentClient("127.0.0.1", it.port, NODE, panel_context)
        await asyncio.gather(*(client.log(5) for _ in range(many)))
        await asyncio.to_thread(eventually, lambda: it.ended == many - calls.KEPT)
        assert (await client.log(5)).lines == ("a line",)
        assert it.ended == many - calls.KEPT, "those that are kept are open"
        await client.aclose()

    with agent(authority, say) as it:
        asyncio.run(run(it))
        assert it.connections == many


def test_one_that_is_old_is_not_used_again(
    authority: Authority, panel_context: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calls, "KEPT_S", 0.0)
    with agent(authority, lambda line, _: line.sendall(WHOLE)) as it:
        ask(panel_context, it.port, times=3)
        assert it.connections == 3


@pytest.mark.parametrize(
    ("said", "text"),
    [
        (b"", "hung up"),
        (WHOLE[:-3], "hung up"),
        (WHOLE[:20], "hung up"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\nabc", "not of this protocol"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", "not of this protocol"),
        (b"HTTP/1.1 200 OK\r\nx: " + b"y" * calls.HEAD_LIMIT, "not of this protocol|before its answer begins"),
    ],
)
def test_what_is_no_answer_is_worth_another_try(
    authority: Authority, panel_context: ssl.SSLContext, said: bytes, text: str
) -> None:
    def say(line: ssl.SSLSocket, _: int) -> None:
        line.sendall(said)
        line.shutdown(socket.SHUT_RDWR)

    with agent(authority, say) as it, pytest.raises(TransientError, match=text):
        ask(panel_context, it.port)


def test_who_does_not_read_or_does_not_answer_is_given_up(authority: Authority, panel_context: ssl.SSLContext) -> None:
    done = threading.Event()

    async def run(port: int, body: int) -> None:
        it = AgentClient("127.0.0.1", port, NODE, panel_context)
        call = calls.AgentCall(
            "PUT", "/v1/wg/wg0", {"host": "x"}, (b"x" * calls.PART for _ in range(body)), body * calls.PART
        )
        try:
            with pytest.raises(TransientError, match=r"has gone silent \(PUT /v1/wg/wg0\)"):
                await it._calls.call(call, 0.5, 60.0)  # noqa: SLF001 - with a patience of its own
        finally:
            await it.aclose()

    with agent(authority, lambda *_: done.wait(60)) as it:
        for body in (0, 1, 1000):
            asyncio.run(run(it.port, body))
        done.set()


@pytest.mark.parametrize(
    ("head", "piece"),
    [
        (b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(STATUS), b""),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    ],
    ids=["a byte after another", "spaces", "endless continue"],
)
def test_an_answer_that_comes_in_drops_is_not_waited_for(
    authority: Authority, panel_context: ssl.SSLContext, head: bytes, piece: bytes
) -> None:
    pieces = [piece] * 20 if piece else [STATUS[at : at + 1] for at in range(len(STATUS))]
    end = IN_CHUNKS.partition(b"\r\n\r\n")[2] if head else WHOLE

    def say(line: ssl.SSLSocket, _: int) -> None:
        line.sendall(head)
        for each in pieces:
            time.sleep(0.1)
            line.sendall(each)
        if piece:
            line.sendall(end)

    async def run(port: int) -> None:
        it = AgentClient("127.0.0.1", port, NODE, panel_context)
        try:
            with pytest.raises(TransientError, match="has gone silent"):
                await it._calls.call(calls.AgentCall("GET", "/v1/log", {"host": "x"}), 0.7, 60.0)  # noqa: SLF001 - with a patience of its own
        finally:
            await it.aclose()

    with agent(authority, say) as it:
        asyncio.run(run(it.port))


def test_who_reads_slowly_gets_all_of_a_long_request(authority: Authority, panel_context: ssl.SSLContext) -> None:
    parts, patience_s = 300, 1.5
    read = 0

    def say(line: ssl.SSLSocket, _: int) -> None:
        nonlocal read
        while read < (parts - 2) * calls.PART:
            if read // 2**20 < (read := read + len(line.recv(2**16))) // 2**20:
                time.sleep(0.15)
        line.sendall(WHOLE)

    async def run(port: int) -> None:
        it = AgentClient("127.0.0.1", port, NODE, panel_context)
        body = (b"x" * calls.PART for _ in range(parts))
        call = calls.AgentCall("PUT", "/v1/wg/wg0", {"host": "x"}, body, parts * calls.PART)
        try:
            begun = clock.monotonic()
            assert (await it._calls.call(call, patience_s, 60.0)).body == STATUS  # noqa: SLF001 - with a patience of its own
            assert clock.monotonic() - begun > patience_s, "all at once would prove nothing"
        finally:
            await it.aclose()

    with agent(authority, say) as it:
        asyncio.run(run(it.port))


def test_a_refusal_in_the_middle_of_a_long_request_is_heard(
    authority: Authority, panel_context: ssl.SSLContext
) -> None:
    refusal = b'{"title":"t","status":413,"detail":"too long","reason":"size"}'
    done = threading.Event()

    def say(line: ssl.SSLSocket, _: int) -> None:
        line.sendall(b"HTTP/1.1 413 No\r\ncontent-length: %d\r\n\r\n" % len(refusal) + refusal)
        done.wait(60)

    async def run(port: int) -> None:
        it = AgentClient("127.0.0.1", port, NODE, panel_context)
        try:
            with pytest.raises(AgentRefused, match="too long"):
                await it._request("PUT", "/v1/x", content=b"x" * 100 * calls.PART)  # noqa: SLF001 - of any length
        finally:
            await it.aclose()

    with agent(authority, say) as it:
        asyncio.run(run(it.port))
        done.set()


def test_the_request_is_what_the_protocol_says() -> None:
    call = calls.AgentCall("POST", "/v1/x?a=b", {"host": "h"}, (b"abc",), 3)
    head = call.head()
    assert (head.method, head.target) == (b"POST", b"/v1/x?a=b")
    assert list(head.headers) == [(b"host", b"h"), (b"content-length", b"3")]
    assert call.text == "(POST /v1/x)"
    assert client.CONNECT_S < client.ANSWER_S
