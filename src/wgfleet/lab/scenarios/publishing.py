"""`dns`: nodes die, one a round, and what the endpoint's name lists is asked for every 50 ms.

In each round the node that the first client's session is on is cut off. `detected_s`: from the cut until the panel
wrote down that the node is down, which is its decision. `answer_changed_s`: from the decision until the name server
answered without the node for the first time, so up to 50 ms too long (promised: p99 at most 1 s);
`death_to_answer_s`: the same from the cut. Then that client's user does what users do and toggles the tunnel
(`wg-quick down`, `up`), which resolves the name anew: `reconnected_s` is from there to the first reply through the
tunnel, and `reached_live` how often the session was then on a node that lives (promised: always). The node's cable is
put back, and the next round begins when the name lists it again. `fewest`: the addresses in the shortest answer of all;
`never_below_min`: that was never below the endpoint group's `min_nodes`, all nodes but one (promised). `calls`: of the
DNS provider by the panel. `samples`: our questions that got an answer, `missed` those that got none.
"""

import re
import time
from typing import Any

from wgfleet.lab import face, fleet, nameserver, stock
from wgfleet.lab.errors import LabError
from wgfleet.lab.hosts import Host
from wgfleet.lab.panel_client import PanelClient
from wgfleet.lab.progress import Progress
from wgfleet.lab.sampler import Sampler
from wgfleet.lab.scenarios import failover, standings
from wgfleet.lab.scenarios.options import Options
from wgfleet.lab.state import Lab

ROUNDS = 20
MAX_P99_S = 1.0
_GONE_S, _BACK_S, _REPLY_S = 15.0, 90.0, 20.0
_CALLS = re.compile(r'^wgfleet_dns_calls_total\{call="(\w+)",provider="rfc2136"\} (\S+)$', re.MULTILINE)


def run(lab: Lab, options: Options, progress: Progress) -> dict[str, Any]:
    """Run the rounds."""
    rounds = []
    fleet.kill_panel(lab)
    fleet.start_panel(lab, failover.SHORT_TRIAL)
    fleet.wait_answering(lab)
    with fleet.client(lab) as panel:
        fleet.wait_connected(panel, lab.nodes)
        face.set_endpoint_group(lab, panel, min_nodes=lab.nodes - 1)
        standings.wait_all_serving(lab, panel, _BACK_S)
        with Sampler(nameserver.ENDPOINT) as sampler:
            wait_whole(lab, sampler)
            before = calls(panel)
            for number in range(options.rounds):
                with progress.step(f"round {number + 1} of {options.rounds}"):
                    rounds.append(_round(lab, panel, sampler))
            after = calls(panel)
    figures = {
        "answer_changed_s": _spread([each["answered"] - each["detected"] for each in rounds]),
        "detected_s": _spread([each["detected"] - each["died"] for each in rounds]),
        "death_to_answer_s": _spread([each["answered"] - each["died"] for each in rounds]),
        "reconnected_s": _spread([each["reconnected_s"] for each in rounds]),
        "reached_live": sum(each["live"] for each in rounds),
        "rounds": len(rounds),
        "fewest": sampler.fewest,
        "never_below_min": sampler.fewest >= lab.nodes - 1,
        "samples": len(sampler.answers),
        "missed": sampler.missed,
        "calls": {call: after.get(call, 0) - before.get(call, 0) for call in after},
    }
    kept = figures["answer_changed_s"]["p99"] <= MAX_P99_S and figures["never_below_min"]
    return {"ok": kept and figures["reached_live"] == len(rounds), **figures}


def _round(lab: Lab, panel: PanelClient, sampler: Sampler) -> dict[str, Any]:
    device = lab.host("client-1")
    node = _server_of(lab, device)
    died = time.time()
    lab.cut(node.name)
    answered = sampler.wait(node.address, listed=False, since=died, within_s=_GONE_S)
    toggled = time.monotonic()
    stock.down(device)
    stock.up(device)
    stock.wait_reply(device, fleet.NODE_TUNNEL_ADDRESS, timeout_s=_REPLY_S)
    reconnected_s = time.monotonic() - toggled
    live = _server_of(lab, device) != node
    detected = failover.detected_at(lab, panel, node, died)
    mended = time.time()
    lab.mend(node.name)
    standings.wait_all_serving(lab, panel, _BACK_S)
    sampler.wait(node.address, listed=True, since=mended, within_s=_BACK_S)
    standings.wait_operations(panel)
    return {"died": died, "detected": detected, "answered": answered, "reconnected_s": reconnected_s, "live": live}


def wait_whole(lab: Lab, sampler: Sampler) -> None:
    """Wait until the name lists every node."""
    begun = time.time()
    for host in fleet.hosts(lab, "node"):
        sampler.wait(host.address, listed=True, since=begun, within_s=_BACK_S)
    sampler.answers.clear()


def calls(panel: PanelClient) -> dict[str, int]:
    """Return how often the panel has called the DNS provider since its start, by what for."""
    return {call: int(float(count)) for call, count in _CALLS.findall(panel.text("/metrics"))}


def _server_of(lab: Lab, device: Host) -> Host:
    """Return the node that a client sends to."""
    address = device.run("wg", "show", stock.INTERFACE, "endpoints").split()[1].rpartition(":")[0]
    for host in fleet.hosts(lab, "node"):
        if host.address == address:
            return host
    raise LabError(f"{device.name} sends to {address}, which is no node")


def _spread(values: list[float]) -> dict[str, float]:
    ordered = sorted(round(value, 3) for value in values)
    return {
        "p50": failover.percentile(ordered, 50),
        "p99": failover.percentile(ordered, 99),
        "max": ordered[-1],
    }
