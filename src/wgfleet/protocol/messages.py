"""Messages of the agent's API other than desired state, as JSON.

Unknown fields are refused in requests, and skipped in answers and in the watch stream: see `protocol.features`.
"""

from enum import StrEnum
from typing import Annotated

from msgspec import Meta, Struct

from wgfleet.protocol.addresses import LAST_PORT
from wgfleet.protocol.diff import Drift
from wgfleet.protocol.ids import ConfigId, Generation, InterfaceName, NodeId
from wgfleet.protocol.keys import PrivateKey, PublicKey
from wgfleet.protocol.observed import PeerStats
from wgfleet.protocol.panel_name import MAX_NAME

AGENT_PORT = 51900  # TCP; beside WireGuard's customary 51820
CSR_LIMIT = 8192  # characters; a request with an EC key has about 500
CRL_LIMIT = 2**20  # characters; 4096 certificates have a fifth of it
HEARTBEAT_S = 0.5
LOAD_S = 10.0

# What an agent may claim; a number beyond that fits no column, and no machine. Names have nothing that a database does
# not take or that moves a cursor.
_VISIBLE = "^[!-~]*$"
ClaimedGeneration = Annotated[Generation, Meta(ge=0, le=2**63 - 1)]
ClaimedName = Annotated[InterfaceName, Meta(max_length=15, pattern=_VISIBLE)]
ClaimedConfig = Annotated[ConfigId, Meta(max_length=64, pattern=_VISIBLE)]
ClaimedKey = Annotated[PublicKey, Meta(max_length=44)]
Share = Annotated[float, Meta(ge=0, le=1e6)]
Moment = Annotated[float, Meta(ge=0, le=1e12)]  # s since the epoch
ClaimedAddress = Annotated[str, Meta(max_length=64, pattern=_VISIBLE)]
Held = Annotated[tuple[ClaimedAddress, ...], Meta(max_length=1000)]
Rivals = Annotated[dict[ClaimedAddress, Annotated[str, Meta(max_length=64)]], Meta(max_length=1000)]


class Applied(Struct, frozen=True):
    """Answer to a push: `verified` means that a fresh read found no drift. `seconds` is the agent's own time.

    `held`: as in `InterfaceReport`.
    """

    generation: ClaimedGeneration
    changed: bool
    verified: bool
    seconds: Moment
    drift: tuple[Drift, ...] = ()
    held: Held | None = None


class Refusal(Struct, frozen=True, omit_defaults=True):
    """RFC 9457 problem of the agent. `reason` is for programs, `detail` for people.

    Reasons: `bad_field` (400/422, with `field`), `older_generation`, `base_mismatch`, `foreign_interface`,
    `other_config` (409, with the `generation` and `config_id` that the agent holds), `older_panel` (409: it has obeyed
    a newer one, whose own `proof` of that it shows), `late` (409: it was under way while the agent was cut
    off or hung), `not_found` (404), `disk` (507), `kernel` (500).
    """

    title: str
    status: int
    detail: str
    reason: str
    type: str = "about:blank"
    field: str | None = None
    generation: ClaimedGeneration | None = None
    config_id: ClaimedConfig | None = None
    proof: Annotated[str, Meta(max_length=MAX_NAME)] | None = None


class TakeoverPeer(Struct, frozen=True, forbid_unknown_fields=True, gc=False, omit_defaults=True):
    """A peer to call, and the `ADDRESS:PORT` where it was last seen.

    `source` is the floating address of this machine to call from, which a NAT in front of the peer lets through; None:
    the machine chooses.
    """

    public_key: PublicKey
    endpoint: str
    source: str | None = None


class Takeover(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Body of `POST /v1/wg/{if}/takeover`. `timeout_s` limits the wait after all have been called.

    `planned`: the peers are served elsewhere until then. `settle_s`: above 0, those who have answered are named as soon
    as nobody else has for that long, in a line of the answer for each time; the last one is of all, and the first, of
    nobody, says that all have been called.
    """

    peers: tuple[TakeoverPeer, ...]
    timeout_s: float = 2.0
    planned: bool = False
    settle_s: float = 0.0


class TakeoverResult(Struct, frozen=True):
    """Which peers completed a handshake with this node within the time, and how long each took in s.

    `more`: of those who answered since the last line; others are still called.
    """

    answered: dict[PublicKey, float]
    unanswered: tuple[PublicKey, ...]
    more: bool = False


class ProbeTarget(Struct, frozen=True, forbid_unknown_fields=True, gc=False, omit_defaults=True):
    """An interface to probe: its `ADDRESS:PORT` and public key, and the private key to probe with."""

    endpoint: str
    public_key: PublicKey
    private_key: PrivateKey

    def __repr__(self) -> str:
        """Leave out the private key."""
        return f"ProbeTarget(endpoint={self.endpoint!r}, public_key={self.public_key!r})"


class ProbeRequest(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Body of `POST /v1/probe`: probe `targets` on behalf of `interface`, which the agent must keep.

    All are probed at once, each with one initiation; `timeout_s` limits the wait. List an endpoint once, and only one
    per node: a node drops what arrives within 20 ms of a peer's last initiation, at whichever endpoint. `tries`:
    that many initiations each, a little more than that apart.
    """

    interface: InterfaceName
    targets: tuple[ProbeTarget, ...]
    timeout_s: float = 0.3
    tries: int = 1


class ProbeResult(Struct, frozen=True):
    """Which endpoints answered, and after how many s.

    `unsent` are those of `unanswered` that this machine has no route to (such as IPv6 where it has none): the result
    says nothing about them. `lost`: of several tries, how many were not answered, where any was.
    """

    answered: dict[str, float]
    unanswered: tuple[str, ...]
    unsent: tuple[str, ...] = ()
    lost: dict[str, int] = {}


class ForwardingState(StrEnum):
    """What is known of users' packets: that they get to the uplink and back, that they do not, or neither."""

    OK = "ok"
    FAILED = "failed"
    NOT_PROVEN = "not_proven"


class Forwarding(Struct, frozen=True, gc=False):
    """What a check found out for an IP version, 4 or 6. `why`: a sentence for people, with the way out."""

    version: Annotated[int, Meta(ge=4, le=6)]
    state: ForwardingState
    why: str

    def described(self) -> dict[str, str | int]:
        """Return it for a log or a row."""
        return {"version": self.version, "state": self.state.value, "why": self.why}


class InterfaceStatus(Struct, frozen=True):
    """One interface in `GET /v1/status`. `summary` is a sentence for people on what the last cycle did, or why not."""

    name: InterfaceName
    config_id: ConfigId
    generation: Generation
    peers: int
    up: bool
    drift: tuple[Drift, ...]
    summary: str
    muted: str | None = None
    forwarding: tuple[Forwarding, ...] = ()


WITNESS = "witness"
"""The `backend` of an agent that has no WireGuard."""


class AgentStatus(Struct, frozen=True):
    """`GET /v1/status`. `backend` is `kernel`, `userspace` or `WITNESS`, times in s since the epoch.

    `protocol` and `features` say what the agent knows (`protocol.features`); 0.1.0 does not report them. `notes` are
    sentences for people on what is not as it should be with the agent as a whole, such as a damaged file.
    """

    node_id: NodeId
    version: str
    backend: str
    started_at: Moment
    now: Moment
    certificate_expires_at: Moment
    scan_interval_s: float
    interfaces: tuple[InterfaceStatus, ...]
    protocol: int = 1
    features: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


LOG_LINES = 1000  # that an agent keeps of its log


class AgentLog(Struct, frozen=True):
    """`GET /v1/log?lines=N`: the newest lines of the agent's log, oldest first.

    `run`: of the process that counts them, and `last`: the number of the newest one; with `&run=RUN&after=LAST`
    only lines after it are asked for. An agent that does not count has no `run`.
    """

    lines: Annotated[tuple[Annotated[str, Meta(max_length=4096)], ...], Meta(max_length=LOG_LINES)]
    run: Annotated[str, Meta(max_length=32, pattern="^[0-9a-f]*$")] = ""
    last: Annotated[int, Meta(ge=0, lt=2**53)] = 0


class CallBack(Struct, frozen=True):
    """Sessions that ended with a node's interface, and whose peers the agent then called at their last endpoints.

    `at` in s since the epoch of the agent's clock; `seconds` until all had answered, or it gave up.
    """

    at: Moment
    called: Annotated[int, Meta(ge=0, le=10**7)]
    answered: Annotated[int, Meta(ge=0, le=10**7)]
    seconds: Moment


class InterfaceReport(Struct, frozen=True, omit_defaults=True):
    """One interface in the watch stream. In a `Change`, `peers` has only those that changed since the last message.

    Peers without endpoint, handshake and counters are left out of a snapshot: they are idle. `held` are the floating
    addresses that the machine has for the interface, read from its kernel; None: not known (not read yet, or an older
    agent that does not report it), so it may still hold any of them. `drift` may be cut short; `held` never is.
    `rivals`: the link addresses of other machines that say that they have one of its floating addresses, by address.
    `history`: of the generation, as it was pushed; empty: an agent of 0.1.0 stored it, or a panel of 0.1.0 sent it.
    `muted` says why the interface sends nothing until the panel has pushed, or said that nothing is missing (`unmute`).
    `called_back`: the last time that sessions ended with the interface, since the agent's start. `forwarding`: whether
    users' packets get through, for each IP version that was checked; empty: not checked, or an agent that does not.
    `carries`: whether its NAT has TCP connections of users, which may go on here when these have moved.
    """

    name: ClaimedName
    config_id: ClaimedConfig
    generation: ClaimedGeneration
    up: bool
    summary: str
    drift: tuple[Drift, ...] = ()
    held: Held | None = None
    rivals: Rivals = {}
    muted: str | None = None
    peers: dict[ClaimedKey, PeerStats] = {}
    removed_peers: tuple[ClaimedKey, ...] = ()
    history: Annotated[str, Meta(max_length=200)] = ""
    called_back: CallBack | None = None
    forwarding: Annotated[tuple[Forwarding, ...], Meta(max_length=2)] = ()
    carries: bool = False


class Snapshot(Struct, frozen=True, tag_field="type", tag="snapshot"):
    """First message of `GET /v1/watch`: the whole state.

    `mark`, of this and other messages: when it was made, in s of the agent's clock that nobody sets. The panel gives
    the last one back with each request (`features.HEARD_HEADER`): what was under way while the agent was cut off or
    hung has an old one, and is not the panel's word on what came after. 0.1.0 sends none.
    """

    status: AgentStatus
    interfaces: tuple[InterfaceReport, ...]
    mark: Moment | None = None


class Change(Struct, frozen=True, tag_field="type", tag="change", omit_defaults=True):
    """What changed since the last message. `gone`: interfaces that this agent no longer keeps."""

    now: Moment
    interfaces: tuple[InterfaceReport, ...] = ()
    gone: tuple[InterfaceName, ...] = ()
    mark: Moment | None = None


class Load(Struct, frozen=True):
    """How busy a machine is, as shares of 1: all its processors, its memory, the busier direction of its uplink.

    `bandwidth_bps` is that direction in bits/s; `bandwidth` is None if the speed of the link is unknown.
    """

    cpu: Share
    memory: Share
    bandwidth: Share | None
    bandwidth_bps: Annotated[float, Meta(ge=0, le=1e15)]


class Heartbeat(Struct, frozen=True, tag_field="type", tag="heartbeat", omit_defaults=True):
    """Sent every `HEARTBEAT_S`, whatever else is sent; once per `LOAD_S` with the load."""

    now: Moment
    load: Load | None = None
    mark: Moment | None = None


class Refused(Struct, frozen=True, tag_field="type", tag="refused", omit_defaults=True):
    """Clients that the agent refused (wrong CA, wrong purpose, not the panel); for the panel's audit log.

    `count` above 1: the further ones of a minute. `remote` is then an address or an IPv6 /64. 0.1.0 knows no `count`.
    """

    now: Moment
    remote: str
    reason: str
    count: int = 1


WatchMessage = Snapshot | Change | Heartbeat | Refused


class CertificateRequest(Struct, frozen=True):
    """Answer to `POST /v1/certificate/request`: a PKCS#10 request (PEM) for a key that the agent just generated."""

    csr: str


class Certificate(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Body of `PUT /v1/certificate`: the certificate (PEM) for the last request, and the CA's certificates."""

    certificate: str
    ca: str


class Revoked(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Body of `PUT /v1/revoked`: certificates of panels that the agent is to refuse from now on, for good.

    `crl` is a list that the CA has signed (RFC 5280, section 5; PEM). No client certificate, a stolen one either, can
    make one; and no list takes back what was on an earlier one.
    """

    crl: Annotated[str, Meta(max_length=CRL_LIMIT)]


class EnrollRequest(Struct, frozen=True):
    """What a new agent sends to the panel, as the body of `POST /api/enroll`; fields of a later agent are skipped."""

    token: Annotated[str, Meta(max_length=128, description="The join token; it says which node this is.")]
    csr: Annotated[
        str, Meta(max_length=CSR_LIMIT, description="A certificate request (PKCS#10, PEM); its names are not used.")
    ]
    port: Annotated[int, Meta(ge=1, le=LAST_PORT, description="Where the agent will listen.")] = AGENT_PORT


class Enrolled(Struct, frozen=True):
    """What a new agent gets from the panel."""

    node_id: NodeId
    certificate: Annotated[str, Meta(description="Its certificate (PEM), for a server only.")]
    ca: Annotated[str, Meta(description="The panel's CA (PEM), to check the panel against.")]
    witness: Annotated[bool, Meta(description="Whether it is a witness, which runs with `--witness`.")] = False
    node_name: Annotated[str, Meta(description="What people call it.")] = ""
