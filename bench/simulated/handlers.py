"""Requests of the panel to a simulated agent. Whether they are admitted is decided by the real agent's own code."""

import time
from collections.abc import Callable, Mapping

import msgspec

from bench.simulated.agent import SimulatedAgent
from bench.simulated.connection import Answer, Request
from bench.simulated.interface import Kept, pushed
from bench.simulated.sessions import now_ms
from wgfleet.agent.enrollment.certificates import check_certificate, make_request
from wgfleet.agent.interfaces.admission import KeptInterface, Situation, check_delete, check_push, config_of, not_found
from wgfleet.protocol.backbone import MAX_FLOWS
from wgfleet.protocol.desired import Push, field_error
from wgfleet.protocol.errors import FieldError
from wgfleet.protocol.features import COUNTERS_HEADER, PANEL_HEADER, held_back_s
from wgfleet.protocol.ids import ConfigId, Generation, InterfaceName
from wgfleet.protocol.messages import (
    Applied,
    Certificate,
    CertificateRequest,
    ProbeRequest,
    ProbeResult,
    Refusal,
    Revoked,
    Takeover,
    TakeoverResult,
)
from wgfleet.protocol.open_flows import FlowListing
from wgfleet.protocol.usage import UsageBatch, UsageRequest

ANSWERED_S = 0.06  # after which a client that is called answers
PROBED_S = 0.0005
Handler = Callable[[SimulatedAgent, Request], Answer]
_encode = msgspec.json.Encoder().encode
_MOST_FLOWS = _encode(FlowListing(bytes(12 * MAX_FLOWS)))


class RefusedError(Exception):
    """Carries the problem to answer with."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.detail)
        self.refusal = refusal


def answer(agent: SimulatedAgent, request: Request) -> Answer:
    """Answer a request."""
    try:
        _check(agent.panels.refusal(request.headers.get(PANEL_HEADER)))
        return _handler(request)(agent, request)
    except msgspec.MsgspecError as error:
        return _bad_field(field_error(error))
    except FieldError as error:
        return _bad_field(error)
    except RefusedError as error:
        return Answer(error.refusal.status, _encode(error.refusal))


def _handler(request: Request) -> Handler:
    """Find what answers: the name of an interface, where the path has one, does not say what is asked."""
    parts = request.path.split("/")
    if parts[:3] == ["", "v1", "wg"]:
        parts[3] = "*"
    found = _HANDLERS.get((request.method, "/".join(parts)))
    if found is None:
        raise RefusedError(Refusal("not found", 404, f"{request.method} {request.path} is not simulated", "not_found"))
    return found


def _name(request: Request) -> str:
    return request.path.split("/")[3]


def _health(agent: SimulatedAgent, request: Request) -> Answer:
    del agent, request
    return Answer(200, b'{"status":"ok"}')


def _status(agent: SimulatedAgent, request: Request) -> Answer:
    del request
    return Answer(200, _encode(agent.status()))


def _watch(agent: SimulatedAgent, request: Request) -> Answer:
    agent.holds_back_s = held_back_s(request.headers.get(COUNTERS_HEADER))
    return Answer(200, None)


def _push(agent: SimulatedAgent, request: Request) -> Answer:
    name = _name(request)
    push: Push = msgspec.json.decode(request.body, type=Push)
    _check(check_push(push, _situation(agent, name, config_of(push))))
    kept = pushed(push, agent.interfaces.get(name))
    agent.keep(kept)
    agent.around.pushed(agent.node_id, push, len(request.body))
    applied = Applied(push.generation, changed=True, verified=True, seconds=0.001, held=kept.held)
    return Answer(200, _encode(applied))


def _delete(agent: SimulatedAgent, request: Request) -> Answer:
    name = _name(request)
    config_id = ConfigId(request.query["config_id"]) if "config_id" in request.query else None
    generation = Generation(int(request.query["generation"])) if "generation" in request.query else None
    _check(check_delete(_situation(agent, name, config_id), config_id, generation))
    if (gone := agent.interfaces.get(name)) is not None:
        agent.past[gone.settings.config_id] = max(generation or Generation(0), gone.generation)
        agent.drop(gone)
    return Answer(204)


def _unmute(agent: SimulatedAgent, request: Request) -> Answer:
    _kept(agent, _name(request))
    return Answer(204)


def _takeover(agent: SimulatedAgent, request: Request) -> Answer:
    """Call peers: every client answers, and is this node's from then on."""
    kept = _kept(agent, _name(request))
    wanted = msgspec.json.decode(request.body, type=Takeover)
    for i, peer in enumerate(wanted.peers):
        if peer.public_key not in kept.peers:
            raise FieldError(f"peers[{i}].public_key", f"interface {kept.settings.name} has no such peer")
    here = set(kept.sessions.keys)
    come: dict[str, str] = {peer.public_key: peer.endpoint for peer in wanted.peers if peer.public_key not in here}
    kept.sessions.add(come, [int(time.time())] * len(come))
    called: list[str] = [peer.public_key for peer in wanted.peers]
    agent.around.called(agent.node_id, called)
    answered = {peer.public_key: ANSWERED_S for peer in wanted.peers}
    return Answer(200, _encode(TakeoverResult(answered, ())), ANSWERED_S)


def _probe(agent: SimulatedAgent, request: Request) -> Answer:
    """Say who answers. Between nodes the data plane is simulated; the panel's own probes are real."""
    wanted = msgspec.json.decode(request.body, type=ProbeRequest)
    _kept(agent, wanted.interface)
    endpoints = [target.endpoint for target in wanted.targets]
    silent = tuple(each for each in endpoints if agent.around.is_silent(each.rpartition(":")[0].strip("[]")))
    answered = {endpoint: PROBED_S for endpoint in endpoints if endpoint not in silent}
    return Answer(200, _encode(ProbeResult(answered, silent)), wanted.timeout_s if silent else 0.0)


def _request_certificate(agent: SimulatedAgent, request: Request) -> Answer:
    del request
    agent.new_key, csr = make_request(agent.node_id)
    return Answer(200, _encode(CertificateRequest(csr)))


def _install_certificate(agent: SimulatedAgent, request: Request) -> Answer:
    given = msgspec.json.decode(request.body, type=Certificate)
    if agent.new_key is None:
        raise FieldError("certificate", "there is no open request; POST /v1/certificate/request first")
    check_certificate(key=agent.new_key, certificate=given.certificate, node_id=agent.node_id)
    agent.show(agent.new_key, given)
    return Answer(204)


def _revoke(agent: SimulatedAgent, request: Request) -> Answer:
    agent.refuse(msgspec.json.decode(request.body, type=Revoked).crl)
    return Answer(204)


def _usage(agent: SimulatedAgent, request: Request) -> Answer:
    """Say what moved since the last batch, whose number is its time."""
    agent.holds_back_s = held_back_s(request.headers.get(COUNTERS_HEADER))
    since = msgspec.json.decode(request.body, type=UsageRequest).sequence
    now = time.time()
    found = {kept.settings.config_id: tuple(kept.sessions.used(since)) for kept in agent.interfaces.values()}
    return Answer(200, _encode(UsageBatch("simulated", now_ms(now), now, found)))


def _flows(agent: SimulatedAgent, request: Request) -> Answer:
    """Say that its NAT carries as many connections as an agent tells of."""
    _kept(agent, _name(request))
    return Answer(200, _MOST_FLOWS)


def _kept(agent: SimulatedAgent, name: str) -> Kept:
    if (kept := agent.interfaces.get(name)) is None:
        raise RefusedError(not_found(InterfaceName(name)))
    return kept


def _situation(agent: SimulatedAgent, name: str, config_id: ConfigId | None) -> Situation:
    kept = agent.interfaces.get(name)
    known = KeptInterface(kept.settings.config_id, kept.generation, kept.history) if kept else None
    past = agent.past.get(config_id) if config_id is not None else None
    return Situation(InterfaceName(name), known, foreign=False, past=past)


def _check(refusal: Refusal | None) -> None:
    if refusal is not None:
        raise RefusedError(refusal)


def _bad_field(error: FieldError) -> Answer:
    return Answer(422, _encode(Refusal("a field is invalid", 422, str(error), "bad_field", field=error.field)))


_HANDLERS: Mapping[tuple[str, str], Handler] = {
    ("GET", "/health"): _health,
    ("GET", "/v1/status"): _status,
    ("GET", "/v1/watch"): _watch,
    ("POST", "/v1/probe"): _probe,
    ("POST", "/v1/usage"): _usage,
    ("POST", "/v1/certificate/request"): _request_certificate,
    ("PUT", "/v1/certificate"): _install_certificate,
    ("PUT", "/v1/revoked"): _revoke,
    ("PUT", "/v1/wg/*"): _push,
    ("GET", "/v1/wg/*/flows"): _flows,
    ("DELETE", "/v1/wg/*"): _delete,
    ("POST", "/v1/wg/*/takeover"): _takeover,
    ("POST", "/v1/wg/*/unmute"): _unmute,
}
