"""Client of one agent's API over mutual TLS.

Owns the connections to one node and says in two words what went wrong: TransientError (no answer, 5xx, nonsense) or
AgentRefused (4xx). It never retries: that is the reconciler's decision.
"""

import contextlib
import socket
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from typing import Any, TypeVar, get_args

import httpx
import msgspec
import structlog

import wgfleet
from wgfleet.doors.folding import Folding
from wgfleet.panel import clock
from wgfleet.panel.agents import claims
from wgfleet.panel.agents.allowance import Allowance
from wgfleet.panel.agents.authority import agent_server_name
from wgfleet.panel.agents.connecting import AgentTransport
from wgfleet.panel.agents.tls import HEAD_LIMIT, AgentLine, AgentTls
from wgfleet.panel.errors import PermanentError, TransientError
from wgfleet.protocol import features
from wgfleet.protocol.addresses import join_endpoint
from wgfleet.protocol.desired import DesiredInterface, Push
from wgfleet.protocol.messages import (
    AgentStatus,
    Applied,
    Certificate,
    CertificateRequest,
    InterfaceReport,
    ProbeRequest,
    ProbeResult,
    Refusal,
    Refused,
    Revoked,
    Takeover,
    TakeoverResult,
    WatchMessage,
)
from wgfleet.protocol.panel_name import PanelName

CONNECT_S = 3.0
ANSWER_S = 60.0  # a push of 10,000 peers takes the kernel layer a few seconds; a loaded node several times that
SILENCE_S = 2.0  # four heartbeats
UNACKNOWLEDGED_MS = 5000  # data that the other machine does not confirm for so long: it is gone
KINDS_LOGGED = 8  # of an agent that sends what this version does not know
# What is read of one node, so that none takes up the loop that all share. Rows do not say all that a node carries: it
# keeps the peers of a deleted config until the panel has it delete them, and after a restore those that the copy lacks.
MESSAGE_LIMIT = 8 * 2**20  # bytes of a line or an answer: 50,000 peers in use, which the loop takes in within 0.2 s
PEER_LIMIT = 2**10  # bytes more for each peer that the rows have; it needs some 140
FULL_MESSAGES_AT_ONCE = 2
BYTES_A_SECOND, PEER_BYTES_A_SECOND = 512 * 2**10, 2**9
PIECE = 2**10  # bytes that each message, and each piece that one arrives in, counts for more: it takes time too
LEFT_ALONE_S = 10.0  # a node that sends more
REPORTS_LOGGED = 5  # kinds of trouble a minute with what one agent reports

_SOCKET_OPTIONS = [
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNACKNOWLEDGED_MS),
    # A machine that vanished while it owes an answer is noticed by keep-alive, in 3 + 3 * 1 s.
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 3),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
]

T = TypeVar("T")
log = structlog.get_logger()
_watch_decoder: msgspec.json.Decoder[WatchMessage] = msgspec.json.Decoder(WatchMessage)
_KINDS = frozenset(kind.__struct_config__.tag for kind in get_args(WatchMessage))


class _Kind(msgspec.Struct):
    """What every watch message has."""

    type: str


_kind_decoder: msgspec.json.Decoder[_Kind] = msgspec.json.Decoder(_Kind)


class AgentRefused(PermanentError):
    """The agent understood and said no; `refusal.reason` is for programs."""

    def __init__(self, detail: str, refusal: Refusal) -> None:
        super().__init__(detail)
        self.refusal = refusal


class AgentClient:
    """One node's agent, at `host`:`port`. `ssl_context` comes from `tls.client_context` and may be shared.

    `panel` is how this panel names itself to agents (`PANEL_HEADER`).
    `features` are those that the agent is known to have: what it would not understand is left out of requests. `peers`:
    how many the node carries, which says how long a message of it may be.
    """

    def __init__(
        self, host: str, port: int, node_id: str, ssl_context: ssl.SSLContext, panel: PanelName | None = None
    ) -> None:
        self.features = features.NONE
        self.peers = 0
        self._heard: float | None = None
        self._skipped: set[str] = set()
        self._left_out: Folding[str] = Folding("various", capacity=REPORTS_LOGGED)
        self._readable = Allowance(0.0, 0.0)
        self._label = f"agent of node {node_id} at {join_endpoint(host, port)}"
        self.keys: frozenset[str] = frozenset()
        self._tls = ssl_context
        self._extensions = {"sni_hostname": agent_server_name(node_id)}
        self._http = httpx.AsyncClient(
            base_url=f"https://{join_endpoint(host, port)}",
            transport=AgentTransport(
                ssl_context,
                # One connection is the watch, one carries calls; more only while calls overlap.
                httpx.Limits(max_keepalive_connections=4, keepalive_expiry=55),
                _SOCKET_OPTIONS,
            ),
            headers={
                "accept-encoding": "identity",
                features.VERSION_HEADER: wgfleet.__version__,
                features.FEATURES_HEADER: features.header(),
            },
            timeout=httpx.Timeout(ANSWER_S, connect=CONNECT_S),
            trust_env=False,
        )
        if panel is not None:
            self.rename(panel)

    def rename(self, panel: PanelName) -> None:
        """Name the panel so from the next request on."""
        self._http.headers[features.PANEL_HEADER] = str(panel)

    def accept_keys(self, digests: Iterable[str]) -> None:
        """Have new connections accept these keys of the agent only; none: any that our CA has certified for it."""
        self.keys = frozenset(digests)
        if isinstance(self._tls, AgentTls):
            self._tls.accepted[self._extensions["sni_hostname"]] = self.keys

    @property
    def shown_key(self) -> str | None:
        """The key (its digest) that the agent has shown last, if it was called with this client's context."""
        shown = self._tls.shown if isinstance(self._tls, AgentTls) else {}
        return shown.get(self._extensions["sni_hostname"])

    async def push(self, push: Push) -> Applied:
        """Send what is desired of an interface; the answer comes when it is applied and was read back."""
        name = push.settings.name if isinstance(push, DesiredInterface) else push.name
        return await self._call("PUT", f"/v1/wg/{name}", Applied, push)

    async def delete(self, interface: str, config_id: str | None = None, generation: int | None = None) -> None:
        """Remove an interface that the agent made; absent is fine. A generation guards against a late call."""
        wanted = {"config_id": config_id, "generation": generation}
        params = {name: str(value) for name, value in wanted.items() if value is not None}
        async with self._request("DELETE", f"/v1/wg/{interface}", params=params) as response:
            await self._body(response)

    async def takeover(self, interface: str, takeover: Takeover) -> TakeoverResult:
        """Have the node start handshakes to peers at their last endpoints; say which answered in time."""
        timeout_s = takeover.timeout_s + ANSWER_S / 6
        return await self._call("POST", f"/v1/wg/{interface}/takeover", TakeoverResult, takeover, timeout_s=timeout_s)

    async def unmute(self, interface: str) -> None:
        """Say that nothing is missing on an interface that is muted: it may send again."""
        async with self._request("POST", f"/v1/wg/{interface}/unmute") as response:
            await self._body(response)

    async def probe(self, request: ProbeRequest) -> ProbeResult:
        """Have the node look at interfaces of other nodes: one initiation each, all at once."""
        return await self._call("POST", "/v1/probe", ProbeResult, request, timeout_s=request.timeout_s + SILENCE_S)

    async def status(self) -> AgentStatus:
        """Read what the agent says of itself and its interfaces."""
        return await self._call("GET", "/v1/status", AgentStatus, timeout_s=ANSWER_S / 6)

    async def request_certificate(self) -> str:
        """Have the agent make a new key; return its certificate request (PEM)."""
        return (await self._call("POST", "/v1/certificate/request", CertificateRequest)).csr

    async def install_certificate(self, certificate: str, ca: str) -> None:
        """Give the agent the certificate for its last request; its new connections show it."""
        body = msgspec.json.encode(features.for_agent(Certificate(certificate=certificate, ca=ca), self.features))
        async with self._request("PUT", "/v1/certificate", content=body) as response:
            await self._body(response)

    async def revoke(self, crl: str) -> None:
        """Have the agent refuse certificates of panels, by a list that our CA has signed."""
        body = msgspec.json.encode(Revoked(crl))
        async with self._request("PUT", "/v1/revoked", content=body) as response:
            await self._body(response)

    async def watch(self) -> AsyncGenerator[WatchMessage, None]:
        """Yield the agent's messages as they come, without end: an end, or silence, is a TransientError.

        So is more than a node has to say. Close the iterator (`contextlib.aclosing`): leaving it open keeps the stream
        open.
        """
        timeout = httpx.Timeout(SILENCE_S, connect=CONNECT_S)
        async with self._request("GET", "/v1/watch", timeout=timeout) as response:
            parts: list[bytes] = []
            size = 0
            async for chunk in response.aiter_raw():
                *lines, rest = chunk.split(b"\n")
                self._count(len(chunk), 1 + len(lines))
                for line in lines:
                    parts.append(line)
                    message = b"".join(parts)
                    parts, size = [], 0
                    if message and not self._is_of_later_release(message):
                        said = self._read(message)
                        if not isinstance(said, Refused) and said.mark is not None:
                            self._heard = said.mark
                        yield said
                parts.append(rest)
                size += len(rest)
                if size > self._limit:
                    raise TransientError(f"{self._label}: a watch message has {self._too_many()}")
            raise TransientError(f"{self._label}: ended the watch stream")

    @property
    def _limit(self) -> int:
        """How many bytes one message may have."""
        return MESSAGE_LIMIT + PEER_LIMIT * self.peers

    def _too_many(self) -> str:
        return f"more than {self._limit} bytes, too many for {self.peers} peers"

    def _count(self, size: int, pieces: int = 1) -> None:
        """Raise TransientError where an agent sends more than is read of one node."""
        self._readable.burst = FULL_MESSAGES_AT_ONCE * self._limit
        self._readable.rate = BYTES_A_SECOND + PEER_BYTES_A_SECOND * self.peers
        if not self._readable.take(size + pieces * PIECE, clock.monotonic()):
            raise TransientError(
                f"{self._label}: sends more than the panel reads of one node ({self._readable.rate / 1024:.0f} kB/s); "
                "look at that machine, its agent is broken or not ours",
                retry_after_s=LEFT_ALONE_S,
            )

    def _read(self, message: bytes) -> WatchMessage:
        """Decode a message; a report of an interface that cannot be is left out, and stops no other."""
        try:
            return _watch_decoder.decode(message)
        except msgspec.MsgspecError as error:
            trouble = error
        with contextlib.suppress(msgspec.MsgspecError):
            parts = msgspec.json.decode(message, type=dict[str, Any])
            reports = parts.get("interfaces")
            if isinstance(reports, list):
                parts["interfaces"] = [report for report in reports if _is_possible(report)]
                kept: WatchMessage = msgspec.convert(parts, WatchMessage)
                self._log_left_out(claims.words(str(trouble)))
                return kept
        raise self._nonsense(trouble)

    def _nonsense(self, trouble: msgspec.MsgspecError) -> TransientError:
        return TransientError(f"{self._label}: its answer is not of this protocol ({claims.words(str(trouble))})")

    def _log_left_out(self, trouble: str) -> None:
        now = clock.monotonic()
        for error, more in self._left_out.ended(now):
            log.warning("watch.left_out_again", agent=self._label, error=error, count=more)
        if (told := self._left_out.note(trouble, now)) is not None:
            log.warning("watch.left_out", agent=self._label, error=told)

    def _is_of_later_release(self, message: bytes) -> bool:
        """Tell whether a message is of a kind that this panel does not know; each is logged once."""
        kind = self._decode(_kind_decoder, message).type
        if kind in _KINDS:
            return False
        if kind not in self._skipped and len(self._skipped) < KINDS_LOGGED:
            self._skipped.add(kind)
            log.info(
                "watch.skipped", agent=self._label, kind=claims.words(kind, 80), reason="not known to this version"
            )
        return True

    async def aclose(self) -> None:
        """Close all connections; safe to call twice."""
        await self._http.aclose()

    async def _call(
        self, method: str, path: str, answer: type[T], body: object = None, *, timeout_s: float = ANSWER_S
    ) -> T:
        content = None if body is None else msgspec.json.encode(features.for_agent(body, self.features))
        timeout = httpx.Timeout(timeout_s, connect=CONNECT_S)
        async with self._request(method, path, content=content, timeout=timeout) as response:
            return self._decode(msgspec.json.Decoder(answer), await self._body(response))

    @asynccontextmanager
    async def _request(
        self,
        method: str,
        path: str,
        *,
        content: bytes | None = None,
        params: dict[str, str] | None = None,
        timeout: httpx.Timeout | None = None,  # noqa: ASYNC109 - httpx bounds connect, read and write apart
    ) -> AsyncIterator[httpx.Response]:
        """Open a request; inside, every fault of the transport becomes a TransientError."""
        headers = {} if content is None else {"content-type": "application/json"}
        if self._heard is not None:
            headers[features.HEARD_HEADER] = repr(self._heard)
        try:
            async with self._http.stream(
                method,
                path,
                content=content,
                params=params,
                headers=headers,
                timeout=timeout or self._http.timeout,
                extensions=self._extensions,
            ) as response:
                with _begun(response):
                    if not response.is_success:
                        raise self._failure(response.status_code, await self._body(response))
                    yield response
        except httpx.TimeoutException as error:
            raise TransientError(f"{self._label}: {_timeout_text(error)} ({method} {path})") from error
        except (httpx.TransportError, ssl.SSLError) as error:  # the second: of a connection that was up
            words = claims.words(str(error)) or type(error).__name__
            raise TransientError(f"{self._label}: {words} ({method} {path})") from error

    async def _body(self, response: httpx.Response) -> bytes:
        body = bytearray()
        async for chunk in response.aiter_raw():
            self._count(len(chunk))
            body += chunk
            if len(body) > self._limit:
                raise TransientError(f"{self._label}: an answer has {self._too_many()}")
        return bytes(body)

    def _failure(self, status: int, body: bytes) -> Exception:
        try:
            refusal = msgspec.json.decode(body, type=Refusal)
        except msgspec.MsgspecError:
            text = body[:200].decode(errors="replace").strip() or "no reason given"
            refusal = Refusal(title="unexpected answer", status=status, detail=text, reason="unknown")
        refusal = msgspec.structs.replace(
            refusal, detail=claims.words(refusal.detail), reason=claims.words(refusal.reason, 50)
        )
        detail = f"{self._label}: {refusal.detail} ({status} {refusal.reason})"
        if httpx.codes.BAD_REQUEST <= status < httpx.codes.INTERNAL_SERVER_ERROR:
            return AgentRefused(detail, refusal)
        return TransientError(detail)

    def _decode(self, decoder: msgspec.json.Decoder[T], body: bytes) -> T:
        try:
            return decoder.decode(body)
        except msgspec.MsgspecError as error:
            raise self._nonsense(error) from error


def _is_possible(report: object) -> bool:
    try:
        msgspec.convert(report, InterfaceReport)
    except msgspec.ValidationError:
        return False
    return True


def _timeout_text(error: httpx.TimeoutException) -> str:
    return "cannot be reached in time" if isinstance(error, httpx.ConnectTimeout) else "has gone silent"


@contextlib.contextmanager
def _begun(response: httpx.Response) -> Iterator[None]:
    """Say of the connection of an answer that the answer has begun; and at its end, that the next has not."""
    line = response.extensions["network_stream"].get_extra_info("ssl_object")
    if not isinstance(line, AgentLine):
        yield
        return
    line.left = None
    try:
        yield
    finally:
        line.left = HEAD_LIMIT
