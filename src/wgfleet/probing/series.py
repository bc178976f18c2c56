"""A series of probes of one target, for paths on which packets get lost: it ends with the first answer."""

import asyncio
from collections.abc import Iterable

from wgfleet.probing.prober import ProbeOutcome, Prober
from wgfleet.protocol.messages import ProbeTarget


async def probe_series(
    prober: Prober, target: ProbeTarget, timeouts_s: Iterable[float], apart_s: float
) -> ProbeOutcome | None:
    """Probe a target once for each of the times, the next `apart_s` after the last; return the first answer.

    Without any, the outcome is that of a probe that was sent, or of one that could not be; None: there was no time.
    """

    async def one(number: int, timeout_s: float) -> ProbeOutcome:
        await asyncio.sleep(number * apart_s)
        return await prober.probe(target, timeout_s)

    tries = [asyncio.create_task(one(number, timeout_s)) for number, timeout_s in enumerate(timeouts_s)]
    best: ProbeOutcome | None = None
    try:
        for ended in asyncio.as_completed(tries):
            outcome = await ended
            if outcome.answer is not None:
                return outcome
            if best is None or outcome.sent:
                best = outcome
    finally:
        for each in tries:
            each.cancel()
        await asyncio.gather(*tries, return_exceptions=True)
    return best
