"""Witnesses: other nodes, which a node probes when it does not hear the panel, and which of them count.

One that never answered counts for nothing: a firewall between the nodes must not look like the end of the network.
"""

import asyncio
from collections.abc import Collection

from wgfleet.probing.prober import Prober
from wgfleet.protocol.keys import PrivateKey, PublicKey
from wgfleet.protocol.messages import ProbeTarget


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
        """Probe all at once; return those that answered, as soon as there are `enough`."""
        probes = [
            asyncio.ensure_future(self._prober.probe(ProbeTarget(each, own_key, probe_key), timeout_s=timeout_s))
            for each in endpoints
        ]
        answered: set[str] = set()
        try:
            for probe in asyncio.as_completed(probes):
                outcome = await probe
                if outcome.answer is not None:
                    answered.add(outcome.endpoint)
                    if len(answered) >= enough:
                        break
        finally:
            for each in probes:
                each.cancel()
        self._proven |= answered
        return answered
