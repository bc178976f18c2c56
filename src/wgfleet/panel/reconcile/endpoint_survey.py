"""A survey of all endpoints of a node from here: which of them answer. What follows from it is decided elsewhere."""

import asyncio
from collections.abc import Callable

from wgfleet.panel import clock
from wgfleet.panel.domain.health.public_endpoints import PublicEndpoints
from wgfleet.panel.services.health import Probed
from wgfleet.probing.prober import Prober
from wgfleet.protocol.keys import PrivateKey, PublicKey
from wgfleet.protocol.messages import ProbeTarget

_TRIES = 3

Took = Callable[[str, float, float], None]
"""Takes an endpoint that answered, when it was asked and how many seconds that took."""


async def survey(prober: Prober, probed: Probed, endpoints: PublicEndpoints, wait_s: float, took: Took) -> None:
    """Probe all endpoints of a node beside each other, a few times; `took` hears of each answer at once."""
    endpoints.looked_at = clock.monotonic()

    async def answers(endpoint: str) -> bool | None:
        target = ProbeTarget(endpoint, PublicKey(probed.public_key), PrivateKey(probed.panel_key))
        for _ in range(_TRIES):
            sent_at = clock.monotonic()
            outcome = await prober.probe(target, wait_s, beside=probed.endpoint)
            if outcome.answer is not None and outcome.seconds is not None:
                took(endpoint, sent_at, outcome.seconds)
                return True
        return False if outcome.sent else None

    found = dict(zip(endpoints.known, await asyncio.gather(*map(answers, endpoints.known)), strict=True))
    endpoints.take(
        {endpoint for endpoint, answer in found.items() if answer},
        {endpoint for endpoint, answer in found.items() if answer is False},
    )
