"""Route `POST /v1/probe`, which probes the interfaces of other nodes from here. The panel judges the results."""

import asyncio
from collections import Counter
from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from wgfleet.agent.server.http import answer, decode, read_body
from wgfleet.probing.prober import ProbeOutcome, Prober
from wgfleet.protocol.addresses import split_endpoint
from wgfleet.protocol.errors import FieldError
from wgfleet.protocol.ids import InterfaceName, parse_interface_name
from wgfleet.protocol.keys import parse_private_key, parse_public_key
from wgfleet.protocol.messages import ProbeRequest, ProbeResult

MAX_TARGETS = 1024
MAX_TIMEOUT_S = 5.0
MAX_TRIES = 40


def check(request: ProbeRequest) -> None:
    """Raise `FieldError` for the first wrong field."""
    parse_interface_name(request.interface, "interface")
    if not 0 < request.timeout_s <= MAX_TIMEOUT_S:
        raise FieldError("timeout_s", f"must be above 0 and at most {MAX_TIMEOUT_S:.0f} s, not {request.timeout_s}")
    if not 1 <= request.tries <= MAX_TRIES:
        raise FieldError("tries", f"must be from 1 to {MAX_TRIES}, not {request.tries}")
    if len(request.targets) > MAX_TARGETS:
        raise FieldError("targets", f"{len(request.targets)} are more than {MAX_TARGETS}; send several requests")
    seen: set[str] = set()
    for i, target in enumerate(request.targets):
        split_endpoint(target.endpoint, f"targets[{i}].endpoint")
        parse_public_key(target.public_key, f"targets[{i}].public_key")
        parse_private_key(target.private_key, f"targets[{i}].private_key")
        if target.endpoint in seen:
            raise FieldError(f"targets[{i}].endpoint", f"{target.endpoint} is listed twice")
        seen.add(target.endpoint)


class ProbeRoute:
    """Handler of the route, with this agent's prober. `check_kept` raises where the agent lacks the interface."""

    def __init__(self, check_kept: Callable[[InterfaceName], object], prober: Prober) -> None:
        self._check_kept = check_kept
        self._prober = prober

    def routes(self) -> list[Route]:
        """Return the route."""
        return [Route("/v1/probe", self.probe, methods=["POST"])]

    async def probe(self, request: Request) -> Response:
        """`POST /v1/probe`."""
        wanted = decode(await read_body(request), ProbeRequest)
        check(wanted)
        self._check_kept(wanted.interface)
        if wanted.tries > 1:
            self._prober.renew()
        # The prober keeps the tries at one target apart.
        tries = [target for target in wanted.targets for _ in range(wanted.tries)]
        outcomes = await asyncio.gather(*(self._prober.probe(target, wanted.timeout_s) for target in tries))
        return answer(form_result(outcomes))


def form_result(outcomes: list[ProbeOutcome]) -> ProbeResult:
    """Divide outcomes by whether there was an answer to any try."""
    answered = {each.endpoint: round(each.seconds, 6) for each in outcomes if each.seconds is not None}
    missed = Counter(each.endpoint for each in outcomes if each.seconds is None)
    sent = {each.endpoint for each in outcomes if each.sent}
    return ProbeResult(
        answered=answered,
        unanswered=tuple(endpoint for endpoint in missed if endpoint not in answered),
        unsent=tuple(endpoint for endpoint in missed if endpoint not in sent),
        lost={endpoint: count for endpoint, count in missed.items() if endpoint in answered},
    )
