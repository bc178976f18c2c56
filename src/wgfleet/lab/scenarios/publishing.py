"""`dns`: nodes die, one a round, and what the endpoint's name lists is asked for every 50 ms.

In each round the node that the first client's session is on is cut off. `detected_s`: from the cut until the panel
wrote down that the node is down, which is its decision. `answer_changed_s`: from the decision until the name server
answered without the node for the first time, so up to 50 ms too long (promised: p99 at most 1 s);
`death_to_answer_s`: the same from the cut. Then that client's user does what users do and toggles the tunnel
(`wg-quick down`, `up`), which resolves the name again: `reconnected_s` is from there to the first reply through the
tunnel, and `reached_live` how often the session was then on a node that lives (promised: always). The node's cable is
put back, and the next round begins when the name lists it again. `fewest`: the addresses in the shortest answer of all;
`never_below_min`: that was never below the endpoint group's `min_nodes`, all nodes but one (promised). `calls`: of the
DNS provider by the panel. `samples`: our questions that got an answer, `missed` those that got none.
"""

import time
from typing import Any

from wgfleet.lab import fleet, stock
from wgfleet.lab.errors import LabError
from wgfleet.lab.hosts import Host
from wgfleet.lab.progress import Progress
from wgfleet.lab.scenarios import failover, listing, standings
from wgfleet.lab.scenarios.listing import BACK_S, Listing
from wgfleet.lab.scenarios.options import ScenarioOptions
from wgfleet.lab.state import Lab

MAX_P99_S = 1.0
_GONE_S, _REPLY_S = 15.0, 20.0


def run(lab: Lab, options: ScenarioOptions, progress: Progress) -> dict[str, Any]:
    """Run the rounds."""
    rounds = []
    with listing.watched(lab) as watch:
        for number in range(options.rounds):
            with progress.step(f"round {number + 1} of {options.rounds}"):
                rounds.append(_round(watch))
        counted = watch.figures()
    figures = {
        "answer_changed_s": _spread([each["answered"] - each["detected"] for each in rounds]),
        "detected_s": _spread([each["detected"] - each["died"] for each in rounds]),
        "death_to_answer_s": _spread([each["answered"] - each["died"] for each in rounds]),
        "reconnected_s": _spread([each["reconnected_s"] for each in rounds]),
        "reached_live": sum(each["live"] for each in rounds),
        "rounds": len(rounds),
        **counted,
    }
    kept = figures["answer_changed_s"]["p99"] <= MAX_P99_S and figures["never_below_min"]
    return {"ok": kept and figures["reached_live"] == len(rounds), **figures}


def _round(watch: Listing) -> dict[str, Any]:
    lab, panel, sampler = watch.lab, watch.panel, watch.sampler
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
    reconnected = time.time()
    lab.reconnect(node.name)
    standings.wait_all_serving(lab, panel, BACK_S)
    sampler.wait(node.address, listed=True, since=reconnected, within_s=BACK_S)
    standings.wait_operations(panel)
    return {"died": died, "detected": detected, "answered": answered, "reconnected_s": reconnected_s, "live": live}


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
