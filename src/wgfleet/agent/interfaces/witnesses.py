"""Witnesses: other nodes, which a node probes when it does not hear the panel, and which of them count.

One that never answered counts for nothing: a firewall between the nodes must not look like the end of the network.
"""

import asyncio
from collections.abc import Collection

from wgfleet.probing.prober import Prober
from wgfleet.probing.series import probe_series
from wgfleet.protocol.keys import PrivateKey, PublicKey
from wgfleet.protocol.messages import ProbeTarget

# Where a third of all probes gets lost, that number is in vain once in 4,000 times; most often one is enough.
TRIES = 8
APART_S = 0.035  # so that all are sent within the shortest time that anybody waits


class Witnesses:
    """The witnesses of one interface. Like all nodes of a cluster they have its key."""

    def __init__(self, prober: Prober) -> None:
        self._prober = prober
        self._proven: set[str] = set()

    def proven(self, endpoints: Collection[str]) -> set[str]:
        """Return those that have answered before."""
        return self._proven.intersection(endpoints)

    async def ask(
        self, endpoints: Collection[str], own_key: PublicKey, probe_key: PrivateKey, *, enough: int, timeout_s: float
    ) -> set[str]:
        """Probe all at once, each again and again until it answers; return those that did, as soon as `enough` have."""
        probes = [
            asyncio.create_task(self._answers(ProbeTarget(each, own_key, probe_key), timeout_s)) for each in endpoints
        ]
        answered: set[str] = set()
        try:
            for probe in asyncio.as_completed(probes):
                if (endpoint := await probe) is not None:
                    answered.add(endpoint)
                    if len(answered) >= enough:
                        break
        finally:
            for each in probes:
                each.cancel()
        self._proven |= answered
        return answered

    async def _answers(self, target: ProbeTarget, timeout_s: float) -> str | None:
        """Return the endpoint of a witness that answers one of a few probes, or None."""
        left_s = (timeout_s - number * APART_S for number in range(TRIES))
        outcome = await probe_series(self._prober, target, (each for each in left_s if each > 0), APART_S)
        return None if outcome is None or outcome.answer is None else target.endpoint
