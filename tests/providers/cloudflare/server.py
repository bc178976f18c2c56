"""The stand-in as an HTTP server on a loopback port: limits, faults and a log around the API."""

import contextlib
import json
import socket
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from pydantic import TypeAdapter

from tests.providers.cloudflare.api import BASE, Answer, Api, Call, failure
from tests.providers.cloudflare.misbehaviour import Fault, Faults, RateLimit
from tests.providers.cloudflare.zones import Refused, Token, Zone

CONTROL = "/_standin"
PAGE = b"<!DOCTYPE html><html><body><h1>Just a moment...</h1></body></html>"
_FAULTS = TypeAdapter(list[Fault])


class StandIn:
    """A running stand-in. `exchanges` are all calls and answers, without the token; in `log` each is a line of JSON."""

    def __init__(self, zones: list[Zone], tokens: list[Token], log: Path | None = None, port: int = 0) -> None:
        self.api = Api(zones, tokens)
        self.faults = Faults()
        self.limit = RateLimit()
        self.exchanges: list[dict[str, Any]] = []
        self.closing = threading.Event()
        self._log = log
        self._lock = threading.Lock()  # one call at a time reads or changes the zones
        self._server = _Server(("127.0.0.1", port), self)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="cloudflare-stand-in")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}{BASE}"

    @property
    def writes(self) -> list[dict[str, Any]]:
        return [exchange for exchange in self.exchanges if exchange["method"] != "GET"]

    def misbehave(self, *faults: Fault) -> None:
        self.faults.add(*faults)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self.closing.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def take(self, call: Call) -> tuple[Answer | None, Fault | None]:
        """Count, do and log a call; return the answer (None: none is made) and how it is to go wrong on its way."""
        with self._lock:
            fault = self.faults.take(write=call.write)
            answer = self._answered(call, fault)
            self._record(call, fault, answer)
        return answer, fault

    def _answered(self, call: Call, fault: Fault | None) -> Answer | None:
        token = self.api.token(call)
        if fault is not None and token is not None and fault.kind == "blocked":
            self.limit.block(token.id, fault.seconds)
        if fault is not None and token is not None and fault.kind == "revoked":
            token.status = "disabled"
        left, blocked_s = self.limit.count(token.id if token else "")
        headers = {
            "ratelimit": f'"default";r={left};t=300',
            "ratelimit-policy": f'"default";q={self.limit.calls};w=300',
        }
        if blocked_s > 0:
            words = (
                f"More than {self.limit.calls} requests per 300 seconds reached. Please wait and consider throttling"
            )
            answer = failure(Refused(429, 10429, words))
            headers["retry-after"] = str(max(1, round(blocked_s)))
        elif fault is not None and fault.when == "before" and fault.kind in {"error", "silence", "cut", "html"}:
            return None
        else:
            answer = self.api.answer(call)
        answer.headers |= headers
        return answer

    def _record(self, call: Call, fault: Fault | None, answer: Answer | None) -> None:
        token = self.api.token(call)
        sent = answer.status if answer else None
        if fault is not None and fault.kind in {"error", "html"}:
            sent = fault.status if fault.kind == "error" else 200
        exchange = {
            "at": round(time.time(), 3),
            "method": call.method,
            "path": call.path,
            "query": dict(call.query),
            "token": token.id if token else None,
            "request": _readable(call.body),
            "fault": fault.model_dump() if fault else None,
            "done": answer is not None and answer.status == 200,
            "status": sent,
            "answer": answer.body if answer else None,
        }
        self.exchanges.append(exchange)
        if self._log is not None:
            with self._log.open("a") as lines:
                lines.write(json.dumps(exchange) + "\n")


class _Server(ThreadingHTTPServer):
    daemon_threads = False
    block_on_close = True
    request_queue_size = 64

    def __init__(self, address: tuple[str, int], stand_in: StandIn) -> None:
        self.stand_in = stand_in
        self.open: set[socket.socket] = set()
        super().__init__(address, _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away in the middle is no fault of the stand-in; anything else is."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)

    def server_close(self) -> None:
        for connection in list(self.open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        super().server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # head and body are two writes: the second must not wait for an acknowledgement
    server: _Server

    def setup(self) -> None:
        super().setup()
        self.server.open.add(self.connection)

    def finish(self) -> None:
        self.server.open.discard(self.connection)
        super().finish()

    def log_message(self, *_args: Any) -> None:
        """The exchanges are the log."""

    def _handle(self) -> None:
        target = urlsplit(self.path)
        length = int(self.headers.get("content-length") or 0)
        body = self.rfile.read(length) if length else None
        if target.path.startswith(CONTROL):
            return self._control(target.path.removeprefix(CONTROL), dict(parse_qsl(target.query)), body)
        query = parse_qsl(target.query, keep_blank_values=True)
        call = Call(self.command, target.path, query, self.headers.get("authorization"), body)
        answer, fault = self.server.stand_in.take(call)
        if fault is None or fault.kind in {"blocked", "revoked"}:
            assert answer is not None
            return self._send(answer.status, json.dumps(answer.body).encode(), answer.headers)
        return self._misbehave(fault, answer)

    do_GET = _handle  # noqa: N815 - looked up by this name
    do_POST = _handle  # noqa: N815 - as above
    do_DELETE = _handle  # noqa: N815 - as above

    def _misbehave(self, fault: Fault, answer: Answer | None) -> None:
        closing = self.server.stand_in.closing
        self.close_connection = fault.kind in {"silence", "cut"}
        if fault.kind == "error":
            self._send(fault.status, f"error code: {fault.status}".encode(), {}, "text/plain; charset=UTF-8")
        elif fault.kind == "html":
            self._send(200, PAGE, {}, "text/html; charset=UTF-8")
        elif fault.kind == "silence":
            self.connection.settimeout(0.05)
            while not closing.is_set() and not self._left():
                pass
        elif fault.kind == "cut":
            whole = json.dumps(answer.body if answer else {"success": True}).encode()
            self._head(200, len(whole) + 1, {}, "application/json")
            self.wfile.write(whole[: len(whole) // 2])
        else:
            closing.wait(fault.seconds)
            assert answer is not None
            self._send(answer.status, json.dumps(answer.body).encode(), answer.headers)

    def _left(self) -> bool:
        """Whether the client has closed the connection."""
        try:
            return not self.connection.recv(1)
        except TimeoutError:
            return False

    def _control(self, path: str, query: dict[str, str], body: bytes | None) -> None:
        stand_in = self.server.stand_in
        match self.command, path:
            case "POST", "/faults":
                stand_in.misbehave(*_FAULTS.validate_json(body or b"[]"))
                self._send(200, b"{}", {})
            case "DELETE", "/faults":
                stand_in.faults.clear()
                for token in stand_in.api.tokens.values():
                    stand_in.limit.unblock(token.id)
                    token.status = "active"
                self._send(200, b"{}", {})
            case "GET", "/exchanges":
                self._send(200, json.dumps(stand_in.exchanges).encode(), {})
            case "GET", "/answers":
                (zone,) = stand_in.api.zones.values()
                found = {type_: sorted(zone.answers(query["name"], type_)) for type_ in ("A", "AAAA")}
                self._send(200, json.dumps(found).encode(), {})
            case _:
                self._send(404, b"{}", {})

    def _head(self, status: int, length: int, headers: dict[str, str], content_type: str) -> None:
        self.send_response(status)
        for key, value in {"content-type": content_type, "content-length": str(length), **headers}.items():
            self.send_header(key, value)
        self.end_headers()

    def _send(self, status: int, body: bytes, headers: dict[str, str], content_type: str = "application/json") -> None:
        self._head(status, len(body), headers, content_type)
        self.wfile.write(body)


def _readable(body: bytes | None) -> Any:
    try:
        return json.loads(body) if body else None
    except ValueError:
        return repr(body)


@contextlib.contextmanager
def running(zones: list[Zone], tokens: list[Token], log: Path | None = None, port: int = 0) -> Iterator[StandIn]:
    """Run a stand-in, and complain in the end about requests and answers that were not as the API has them."""
    stand_in = StandIn(zones, tokens, log, port)
    stand_in.start()
    try:
        yield stand_in
    finally:
        stand_in.stop()
    assert stand_in.api.complaints == []
