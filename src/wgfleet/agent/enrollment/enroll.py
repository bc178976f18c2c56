"""Enrollment: turns a join token into a certificate. Runs once per node, before the agent does."""

import ssl
from typing import Any

import httpx
import msgspec

from wgfleet.agent.enrollment.ca import TIMEOUT, TrustError, fetch_ca, ways_out
from wgfleet.agent.enrollment.certificates import check_certificate, make_request
from wgfleet.agent.state.files import write_atomic
from wgfleet.agent.state.identity import AgentFile, StateDirectory
from wgfleet.doors.panel_url import panel_url, without_name
from wgfleet.doors.tries import Tell, Tries, may_be_done
from wgfleet.protocol.errors import FieldError
from wgfleet.protocol.messages import Enrolled, EnrollRequest
from wgfleet.protocol.quotes import quoted

_LOOPBACK = {"localhost", "127.0.0.1", "::1"}


class EnrollError(Exception):
    """Enrollment failed; the text says why and what to do. Never holds the token."""


class PanelRefusedError(EnrollError):
    """The panel answered with a problem, which `problem` is as it came."""

    def __init__(self, status: int, problem: dict[str, Any]) -> None:
        super().__init__(f"the panel refused ({status}): {str(problem['detail'])[:500]}")
        self.status = status
        self.problem = problem


def enroll(
    *, panel: str, token: str, ca_fingerprint: str | None, state: StateDirectory, port: int, tell: Tell
) -> Enrolled:
    """Get a certificate for a fresh key, store who this agent is, and return it. `tell`: where that takes long."""
    trust = _trust(panel, ca_fingerprint, tell)
    key, csr = make_request("wgfleet-agent")
    body = msgspec.json.encode(EnrollRequest(token=token, csr=csr, port=port))
    try:
        with httpx.Client(verify=trust, timeout=TIMEOUT, trust_env=False) as client:
            response = Tries(client, tell).request(
                "POST", f"{panel.rstrip('/')}/api/enroll", content=body, headers={"content-type": "application/json"}
            )
    except httpx.HTTPError as error:
        if may_be_done("POST", error):
            raise EnrollError(
                f"the panel at {panel} was sent the token and did not answer: {error}; it may have been used up: try "
                "again, and if the panel then refuses it, make another one"
            ) from None
        way_out = ways_out(panel, str(error), pinned=ca_fingerprint is not None)
        raise EnrollError(
            f"the panel at {panel} cannot be reached: {error}" + (f"; {way_out}" if way_out else "")
        ) from None
    if response.is_error:
        raise _refusal(response)
    try:
        enrolled = msgspec.json.decode(response.content, type=Enrolled)
        check_certificate(key=key, certificate=enrolled.certificate, node_id=enrolled.node_id)
    except (msgspec.MsgspecError, FieldError) as error:
        raise EnrollError(f"the answer of {panel} cannot be used ({error}); is it a wgfleet panel?") from None
    state.make()
    state.write_certificate(key=key, certificate=enrolled.certificate.encode(), ca=enrolled.ca.encode())
    write_atomic(state.agent, msgspec.json.encode(AgentFile(enrolled.node_id, port, panel, enrolled.witness)))
    return enrolled


def _trust(panel: str, ca_fingerprint: str | None, tell: Tell) -> ssl.SSLContext | bool:
    """Decide which certificates prove that the other side is the panel."""
    url = panel_url(panel)
    if url is None:
        raise EnrollError(
            f"{quoted(without_name(panel))} is not a panel address such as https://panel.example.com:8443"
        )
    if url.scheme == "http":
        if url.hostname not in _LOOPBACK:
            raise EnrollError(f"{panel}: the token would cross the network unencrypted; use https")
        return True
    if ca_fingerprint is None:
        return ssl.create_default_context()
    try:
        ca = fetch_ca(panel, ca_fingerprint, tell)
    except TrustError as error:
        raise EnrollError(str(error)) from None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=ca)
    return context


def _refusal(response: httpx.Response) -> EnrollError:
    try:
        problem = msgspec.json.decode(response.content)
    except msgspec.MsgspecError:
        problem = response.text[:200]
    if isinstance(problem, dict) and "detail" in problem:
        return PanelRefusedError(response.status_code, problem)
    return EnrollError(f"the panel refused ({response.status_code}): {str(problem)[:500]}")
