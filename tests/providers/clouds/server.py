"""A stand-in of a cloud as an HTTP server on a loopback port: strictness, faults and a log around its API."""

import contextlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol
from urllib.parse import parse_qsl, urlsplit

from tests.providers.cloudflare.misbehaviour import Fault, Faults

PAGE = b"<!DOCTYPE html><html><body><h1>502 Bad Gateway</h1></body></html>"


@dataclass(frozen=True)
class CloudCall:
    """A call as it came in, without the token."""

    method: str
    path: str
    query: dict[str, str]
    body: Any

    @property
    def writes(self) -> bool:
        return self.method != "GET"


@dataclass(frozen=True)
class CloudAnswer:
    status: int
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)


class CloudRules(Protocol):
    """The API of one cloud. `answer` raises `AssertionError` for a call that the published API does not have."""

    base: str
    token: str

    def answer(self, call: CloudCall) -> CloudAnswer: ...

    def refusal(self, status: int, code: str, words: str) -> CloudAnswer: ...


class CloudStandIn:
    """A running stand-in. `calls` are all that came in; `complaints` what no client of this API may send."""

    def __init__(self, rules: CloudRules) -> None:
        self.rules = rules
        self.faults = Faults()
        self.calls: list[CloudCall] = []
        self.complaints: list[str] = []
        self.closing = threading.Event()
        self.lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (CloudHandler,), {"stand_in": self}))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}{self.rules.base}"

    @property
    def writes(self) -> list[CloudCall]:
        return [call for call in self.calls if call.writes]

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def carried_out(self, call: CloudCall) -> CloudAnswer:
        with self.lock:
            try:
                return self.rules.answer(call)
            except AssertionError as error:
                self.complaints.append(f"{call.method} {call.path}: {error}")
                return CloudAnswer(400, {"complaint": str(error)})


class CloudHandler(BaseHTTPRequestHandler):
    stand_in: CloudStandIn

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def _serve(self) -> None:
        content = self.rfile.read(int(self.headers.get("content-length", 0)))
        split = urlsplit(self.path)
        rules = self.stand_in.rules
        call = CloudCall(
            self.command,
            split.path.removeprefix(rules.base),
            dict(parse_qsl(split.query, keep_blank_values=True)),
            json.loads(content) if content else None,
        )
        self.stand_in.calls.append(call)
        if content and self.headers.get("content-type") != "application/json":
            self.stand_in.complaints.append(f"{call.path}: the body is not declared as JSON")
        if not split.path.startswith(rules.base + "/"):
            self.stand_in.complaints.append(f"{split.path}: not below {rules.base}")
        if self.headers.get("authorization") != f"Bearer {rules.token}":
            self._send(rules.refusal(401, "unauthorized", "unable to authenticate"))
            return
        fault = self.stand_in.faults.take(write=call.writes)
        if fault is None:
            self._send(self.stand_in.carried_out(call))
            return
        done = self.stand_in.carried_out(call) if fault.when == "after" or fault.kind == "slow" else None
        self._fail(fault, done)

    def _fail(self, fault: Fault, done: CloudAnswer | None) -> None:
        match fault.kind:
            case "error":
                self._send(self.stand_in.rules.refusal(fault.status, CODES.get(fault.status, "server_error"), "no"))
            case "blocked":
                self._send(
                    self.stand_in.rules.refusal(429, CODES[429], "too many requests"),
                    {"retry-after": f"{fault.seconds:.0f}"},
                )
            case "html":
                self._send(CloudAnswer(200), content=PAGE)
            case "silence":
                self.stand_in.closing.wait(20)
                self.close_connection = True
            case "cut":
                self.send_response(200)
                self.send_header("content-length", "1000")
                self.end_headers()
                self.wfile.write(b'{"half": ')
                self.close_connection = True
            case _:
                self.stand_in.closing.wait(fault.seconds)
                assert done is not None
                self._send(done)

    def _send(self, answer: CloudAnswer, headers: dict[str, str] | None = None, content: bytes | None = None) -> None:
        if content is None:
            content = b"" if answer.body is None else json.dumps(answer.body).encode()
        with contextlib.suppress(OSError):  # the client has gone
            self.send_response(answer.status)
            for key, value in {**answer.headers, **(headers or {})}.items():
                self.send_header(key, value)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name in the standard library
        """Say nothing."""


CODES = {403: "forbidden", 404: "not_found", 409: "conflict", 423: "locked", 429: "rate_limit_exceeded"}


@contextlib.contextmanager
def standing_in(stand_in: CloudStandIn) -> Iterator[CloudStandIn]:
    """Run a stand-in, and complain in the end about calls that the API does not have."""
    stand_in.start()
    try:
        yield stand_in
    finally:
        stand_in.stop()
    assert stand_in.complaints == []
