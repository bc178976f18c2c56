"""Client of one agent's API over mutual TLS.

Owns the connections to one node and says in two words what went wrong: TransientError (no answer, 5xx, nonsense) or
AgentRefused (4xx). It never retries: that is the reconciler's decision.
"""

import ssl
from collections.abc import Callable, Iterable, Mapping
from typing import NoReturn, TypeVar
from urllib.parse import urlencode

import msgspec

import wgfleet
from wgfleet.panel.agents import answers, claims, connecting, watch_stream
from wgfleet.panel.agents.attention import Attention
from wgfleet.panel.agents.authority import agent_server_name
from wgfleet.panel.agents.calls import AgentCall, AgentCalls
from wgfleet.panel.agents.connecting import AgentWay, ConnectionTries
from wgfleet.panel.agents.push_body import PushBody
from wgfleet.panel.agents.takeover_lines import Hear, TakeoverLines
from wgfleet.panel.agents.tls import AgentTls
from wgfleet.panel.agents.watch_messages import WatchMessages
from wgfleet.panel.agents.watch_stream import WatchStream
from wgfleet.protocol import features
from wgfleet.protocol.addresses import join_endpoint
from wgfleet.protocol.desired import DesiredInterface, Push
from wgfleet.protocol.messages import (
    AgentLog,
    AgentStatus,
    Applied,
    Certificate,
    CertificateRequest,
    ProbeRequest,
    ProbeResult,
    Refused,
    Revoked,
    Takeover,
    TakeoverResult,
    WatchMessage,
)
from wgfleet.protocol.open_flows import CarriedFlows, EndedFlows, FlowListing, FlowQuestion
from wgfleet.protocol.panel_name import PanelName
from wgfleet.protocol.quota import QuotasKept, QuotaUpdate
from wgfleet.protocol.relay import AllRelays, RelayEnd, RelayProlongation, RelayRequest, RelayStatus
from wgfleet.protocol.usage import UsageBatch, UsageRequest

CONNECT_S = 3.0
ANSWER_S = 60.0  # a push of 10,000 peers takes the kernel layer a few seconds; a loaded node several times that
SILENCE_S = 2.0  # four heartbeats
COUNTERS_S = 150.0  # that bare counters wait: the handshake of a live peer, every 120 s, brings them

T = TypeVar("T")


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
        self.keys: frozenset[str] = frozenset()
        self._label = f"agent of node {node_id} at {join_endpoint(host, port)}"
        self._heard: float | None = None
        self.counters_s = COUNTERS_S
        self._attention = Attention(self._label)
        self._messages = WatchMessages(self._label)
        self._tls = ssl_context
        self._way = AgentWay(self._label, host, port, agent_server_name(node_id), ssl_context, ConnectionTries())
        self._headers = {
            "host": join_endpoint(host, port),
            "accept-encoding": "identity",
            features.VERSION_HEADER: wgfleet.__version__,
            features.FEATURES_HEADER: features.header(),
        }
        self._calls = AgentCalls(self._way, self._attention)
        if panel is not None:
            self.rename(panel)

    @property
    def peers(self) -> int:
        """How many peers the node carries, which says how much is read of it."""
        return self._attention.peers

    @peers.setter
    def peers(self, count: int) -> None:
        self._attention.peers = count

    def rename(self, panel: PanelName) -> None:
        """Name the panel so from the next request on."""
        self._headers[features.PANEL_HEADER] = str(panel)

    def accept_keys(self, digests: Iterable[str]) -> None:
        """Have new connections accept these keys of the agent only; none: any that our CA has certified for it."""
        self.keys = frozenset(digests)
        if isinstance(self._tls, AgentTls):
            self._tls.accepted[self._way.server_name] = self.keys

    @property
    def shown_key(self) -> str | None:
        """The key (its digest) that the agent has shown last, if it was called with this client's context."""
        shown = self._tls.shown if isinstance(self._tls, AgentTls) else {}
        return shown.get(self._way.server_name)

    async def push(self, push: Push, shared: bytes = b"") -> Applied:
        """Send what is desired of an interface; the answer comes when it is applied and was read back.

        `shared`: JSON members of its peers beyond those in `push`.
        """
        name = push.settings.name if isinstance(push, DesiredInterface) else push.name
        path = f"/v1/wg/{name}"
        if not shared or not isinstance(push, DesiredInterface):
            return claims.applied(await self._call("PUT", path, Applied, push))
        body = PushBody(features.for_agent(push, self.features), shared)
        answer = await self._request("PUT", path, content=body)
        return claims.applied(answers.decode(self._label, msgspec.json.Decoder(Applied), answer))

    async def delete(self, interface: str, config_id: str | None = None, generation: int | None = None) -> None:
        """Remove an interface that the agent made; absent is fine. A generation guards against a late call."""
        wanted = {"config_id": config_id, "generation": generation}
        params = {name: str(value) for name, value in wanted.items() if value is not None}
        await self._request("DELETE", f"/v1/wg/{interface}", params=params)

    async def takeover(self, interface: str, takeover: Takeover, hear: Hear = lambda _: None) -> TakeoverResult:
        """Have the node start handshakes to peers at their last endpoints; say which answered in time.

        `hear` is given those who have answered while others are waited for, where the takeover has a time to settle.
        """
        timeout_s = takeover.timeout_s + ANSWER_S / 6
        content = msgspec.json.encode(features.for_agent(takeover, self.features))
        lines = TakeoverLines(self._label, takeover, hear)
        path = f"/v1/wg/{interface}/takeover"
        return lines.last(await self._request("POST", path, content=content, timeout_s=timeout_s, part=lines.take))

    async def relay(self, interface: str, request: RelayRequest) -> RelayStatus:
        """Have the node pass on the packets of clients; say who is relayed there, and by which port."""
        return await self._call("POST", f"/v1/wg/{interface}/relay", RelayStatus, request)

    async def relay_status(self, interface: str) -> RelayStatus:
        """Say whose packets the node passes on, where to and until when."""
        return await self._call("GET", f"/v1/wg/{interface}/relay", RelayStatus)

    async def end_relay(self, interface: str, ended: RelayEnd) -> RelayStatus:
        """Have the node pass on some clients' packets no more."""
        return await self._call("POST", f"/v1/wg/{interface}/relay/end", RelayStatus, ended)

    async def flow_listing(self, interface: str) -> FlowListing:
        """Return the TCP connections that a node's NAT has of all users of an interface."""
        return await self._call("GET", f"/v1/wg/{interface}/flows", FlowListing, timeout_s=ANSWER_S / 6)

    async def carried_flows(self, interface: str, question: FlowQuestion) -> CarriedFlows:
        """Say which TCP connections the node's NAT has of some peers."""
        return await self._call("POST", f"/v1/wg/{interface}/flows", CarriedFlows, question, timeout_s=ANSWER_S / 6)

    async def end_flows(self, interface: str, ended: EndedFlows) -> None:
        """Have the node end TCP connections that peers who have come to it had through another one."""
        body = msgspec.json.encode(features.for_agent(ended, self.features))
        await self._request("POST", f"/v1/wg/{interface}/flows/end", content=body, timeout_s=ANSWER_S / 6)

    async def usage(self, request: UsageRequest) -> UsageBatch:
        """Say which batch of usage is committed, and by the way how long counters may wait; return the next batch."""
        headers = {features.COUNTERS_HEADER: str(self.counters_s)}
        return await self._call("POST", "/v1/usage", UsageBatch, request, timeout_s=ANSWER_S / 6, headers=headers)

    async def quotas(self, update: QuotaUpdate) -> QuotasKept:
        """Say what peers may still use at the node."""
        return await self._call("POST", "/v1/quotas", QuotasKept, update, timeout_s=ANSWER_S / 6)

    async def prolong_relay(self, interface: str, prolonged: RelayProlongation) -> RelayStatus:
        """Have the node pass on some clients' packets for longer."""
        return await self._call("POST", f"/v1/wg/{interface}/relay/prolong", RelayStatus, prolonged)

    async def relays(self) -> AllRelays:
        """Say whose packets the node passes on, of all interfaces, also those that it has no more."""
        return await self._call("GET", "/v1/relays", AllRelays)

    async def unmute(self, interface: str) -> None:
        """Say that nothing is missing on an interface that is muted: it may send again."""
        await self._request("POST", f"/v1/wg/{interface}/unmute")

    async def is_listening(self, within_s: float) -> bool:
        """Tell whether the agent's machine takes connections for it; the agent itself may stand still."""
        return await connecting.is_taken(self._way, within_s)

    async def probe(self, request: ProbeRequest) -> ProbeResult:
        """Have the node look at interfaces of other nodes: one initiation each, all at once."""
        said = await self._call("POST", "/v1/probe", ProbeResult, request, timeout_s=request.timeout_s + SILENCE_S)
        answers.check_asked(self._label, len(request.targets), said.answered, said.unanswered, said.unsent, said.lost)
        return said

    async def status(self) -> AgentStatus:
        """Read what the agent says of itself and its interfaces."""
        return await self._call("GET", "/v1/status", AgentStatus, timeout_s=ANSWER_S / 6)

    async def log(self, lines: int, run: str = "", after: int = 0) -> AgentLog:
        """Read the newest lines of the agent's log, oldest first; those after a line of a run, if it still runs."""
        params = {"lines": str(lines)} | ({"run": run, "after": str(after)} if run else {})
        said = await self._request("GET", "/v1/log", params=params, timeout_s=ANSWER_S / 6)
        return answers.decode(self._label, msgspec.json.Decoder(AgentLog), said)

    async def request_certificate(self) -> str:
        """Have the agent make a new key; return its certificate request (PEM)."""
        return (await self._call("POST", "/v1/certificate/request", CertificateRequest)).csr

    async def install_certificate(self, certificate: str, ca: str) -> None:
        """Give the agent the certificate for its last request; its new connections show it."""
        body = msgspec.json.encode(features.for_agent(Certificate(certificate=certificate, ca=ca), self.features))
        await self._request("PUT", "/v1/certificate", content=body)

    async def revoke(self, crl: str) -> None:
        """Have the agent refuse certificates of panels, by a list that our CA has signed."""
        body = msgspec.json.encode(Revoked(crl))
        await self._request("PUT", "/v1/revoked", content=body)

    async def watch(self, hear: Callable[[WatchMessage], None]) -> NoReturn:
        """Call `hear` with the agent's messages as they come, without end: an end, or silence, is a TransientError.

        So is more than a node has to say. What `hear` raises ends the stream, and is raised here.
        """

        def take(line: bytes) -> None:
            said = self._messages.read(line)
            if said is None:
                return
            if not isinstance(said, Refused) and said.mark is not None:
                self._heard = said.mark
            hear(said)

        stream = WatchStream(self._attention, take, SILENCE_S)
        said = {**self._said(), features.COUNTERS_HEADER: str(self.counters_s)}
        await watch_stream.read(self._way, tuple(said.items()), stream, CONNECT_S)

    async def aclose(self) -> None:
        """Close all connections; safe to call twice."""
        await self._calls.aclose()

    async def _call(
        self,
        method: str,
        path: str,
        answer: type[T],
        body: object = None,
        *,
        timeout_s: float = ANSWER_S,
        headers: Mapping[str, str] | None = None,
    ) -> T:
        content = None if body is None else msgspec.json.encode(features.for_agent(body, self.features))
        said = await self._request(method, path, content=content, timeout_s=timeout_s, headers=headers)
        return answers.decode(self._label, msgspec.json.Decoder(answer), said)

    def _said(self) -> dict[str, str]:
        """Return what each request says of the panel, and of what it heard of the agent."""
        if self._heard is None:
            return self._headers
        return {**self._headers, features.HEARD_HEADER: repr(self._heard)}

    async def _request(
        self,
        method: str,
        path: str,
        *,
        content: bytes | PushBody | None = None,
        params: dict[str, str] | None = None,
        timeout_s: float = ANSWER_S,
        headers: Mapping[str, str] | None = None,
        part: Callable[[bytes], None] | None = None,
    ) -> bytes:
        """Return what the agent answers; raise AgentRefused or TransientError where that is no success.

        `part` is given what comes of a success, as it comes.
        """
        said = {**self._said(), **(headers or {})}
        if content is not None:
            said["content-type"] = "application/json"
        body = (content,) if isinstance(content, bytes) else content or ()
        size = len(content) if content is not None else 0 if method == "POST" else None
        target = path if params is None else f"{path}?{urlencode(params)}"
        answer = await self._calls.call(AgentCall(method, target, said, body, size, part), timeout_s, CONNECT_S)
        if answer.status // 100 != 2:  # noqa: PLR2004 - of success
            raise answers.failure(self._label, answer.status, answer.body)
        return answer.body
