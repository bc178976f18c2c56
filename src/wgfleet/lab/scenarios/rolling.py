"""`rolling`: every node is restarted, one after the other, and what the endpoint's name lists is asked for every 50 ms.

As people do it for an update: the node is drained, all that runs on it is killed and started again, it is uncordoned
when it serves, and when the name lists it again it is the next one's turn. With `--kill` nobody announces anything, as
in a power cut. `calls`: of the DNS provider by the panel, and `calls_per_node` those that changed something. `fewest`:
the addresses in the shortest answer; `never_below_min`: that was never below the endpoint group's `min_nodes`, all
nodes but one (promised). `unlisted`: nodes that the name did not list for a while. `seconds`: of the whole; `samples`:
our questions that got an answer, `missed` those that got none.
"""

import time
from typing import Any

from wgfleet.lab import fleet
from wgfleet.lab.hosts import Host
from wgfleet.lab.progress import Progress
from wgfleet.lab.scenarios import drain, listing, standings
from wgfleet.lab.scenarios.listing import BACK_S, Listing
from wgfleet.lab.scenarios.options import ScenarioOptions
from wgfleet.lab.state import Lab

_DRAINED_S, _NOTICED_S = 60.0, 30.0


def run(lab: Lab, options: ScenarioOptions, progress: Progress) -> dict[str, Any]:
    """Restart the nodes."""
    machines = fleet.hosts(lab, "node")
    with listing.watched(lab) as watch:
        begun = time.time()
        with progress.step(f"{len(machines)} nodes restarted, one after the other", len(machines)) as step:
            for host in machines:
                _restart(watch, host, announced=not options.kill)
                step.advance()
        seconds = time.time() - begun
        figures = watch.figures()
        unlisted = [host for host in machines if watch.sampler.first(host.address, listed=False, since=begun)]
    return {
        "ok": figures["never_below_min"],
        "nodes": len(machines),
        **figures,
        "calls_per_node": round(figures["calls"].get("apply", 0) / len(machines), 2),
        "unlisted": len(unlisted),
        "seconds": round(seconds, 1),
    }


def _restart(watch: Listing, host: Host, *, announced: bool) -> None:
    lab, panel, sampler = watch.lab, watch.panel, watch.sampler
    path = f"/api/nodes/{drain.node_id(lab, host)}"
    if announced:
        for operation in panel.call("POST", f"{path}/drain")["items"]:
            panel.wait_operation(operation["id"], timeout_s=_DRAINED_S)
    stopped = time.time()
    fleet.power_off(host)
    # A machine that starts again is away for longer than it takes to find that out.
    standings.wait_state(lab, panel, host.name, "down", _NOTICED_S)
    sampler.wait(host.address, listed=False, since=stopped, within_s=_NOTICED_S)
    fleet.start_agent(host)
    standings.wait_all_serving(lab, panel, BACK_S)
    if announced:
        panel.call("POST", f"{path}/uncordon")
    sampler.wait(host.address, listed=True, since=time.time(), within_s=BACK_S)
