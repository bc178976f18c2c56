"""The addresses that the endpoint's name lists while nodes come and go: what `dns` and `rolling` share.

Owns what is asked of the name server and of the panel's count of its calls. Must not know what happens to the nodes.
"""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from wgfleet.lab import face, fleet, nameserver
from wgfleet.lab.panel_client import PanelClient
from wgfleet.lab.sampler import Sampler
from wgfleet.lab.scenarios import failover, standings
from wgfleet.lab.state import Lab

BACK_S = 120.0
_COUNTED_S = 1.0  # the panel counts a call when its answer is there, and the name server answers us before that
_CALLS = re.compile(rf'^wgfleet_dns_calls_total\{{call="(\w+)",provider="{face.DNS_PROVIDER}"\}} (\S+)$', re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Listing:
    """A lab whose endpoint's name is asked for all the time; `before` are the calls of the provider until then."""

    lab: Lab
    panel: PanelClient
    sampler: Sampler
    min_nodes: int
    before: dict[str, int]

    def figures(self) -> dict[str, Any]:
        """Return what was counted until now: the shortest answer, our questions, the panel's calls by what for."""
        time.sleep(_COUNTED_S)
        after = _calls(self.panel)
        return {
            "fewest": self.sampler.fewest,
            "min_nodes": self.min_nodes,
            "never_below_min": self.sampler.fewest >= self.min_nodes,
            "samples": len(self.sampler.answers),
            "missed": self.sampler.missed,
            "calls": {call: count - self.before.get(call, 0) for call, count in after.items()},
        }


@contextmanager
def watched(lab: Lab) -> Iterator[Listing]:
    """Ask for the name from when it lists every node.

    The panel is restarted with a short trial, so that a round is not minutes, and may take one node out at a time.
    """
    min_nodes = lab.nodes - 1
    fleet.restart_panel(lab, failover.SHORT_TRIAL)
    with fleet.client(lab) as panel:
        fleet.wait_connected(panel, lab.nodes)
        face.set_endpoint_group(lab, panel, min_nodes=min_nodes)
        standings.wait_all_serving(lab, panel, BACK_S)
        with Sampler(nameserver.ENDPOINT) as sampler:
            begun = time.time()
            for host in fleet.hosts(lab, "node"):
                sampler.wait(host.address, listed=True, since=begun, within_s=BACK_S)
            sampler.answers.clear()
            yield Listing(lab, panel, sampler, min_nodes, _calls(panel))


def _calls(panel: PanelClient) -> dict[str, int]:
    """Return how often the panel has called the DNS provider since its start, by what for."""
    return {call: int(float(count)) for call, count in _CALLS.findall(panel.text("/metrics"))}
