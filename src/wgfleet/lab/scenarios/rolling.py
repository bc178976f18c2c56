"""`rolling`: every node is restarted, one after the other, and what the endpoint's name lists is asked for every 50 ms.

As people do it for an update: the node is drained, all that runs on it is killed and started again, it is uncordoned
when it serves, and when the name lists it again it is the next one's turn. With `--kill` nobody announces anything, as
in a power cut. `calls`: of the DNS provider by the panel, and
`calls_per_node` those that changed something. `fewest`: the addresses in the shortest answer; `never_below_min`: that
was never below the endpoint group's `min_nodes`, all nodes but one (promised). `unlisted`: nodes that the name did not
list for a while. `seconds`: of the whole; `samples`: our questions that got an answer, `missed` those that got none.
"""

import time
from typing import Any

from wgfleet.lab import face, fleet, nameserver
from wgfleet.lab.hosts import Host
from wgfleet.lab.panel_client import PanelClient
from wgfleet.lab.progress import Progress
from wgfleet.lab.sampler import Sampler
from wgfleet.lab.scenarios import drain, failover, standings
from wgfleet.lab.scenarios.options import Options
from wgfleet.lab.scenarios.publishing import calls, wait_whole
from wgfleet.lab.state import Lab

_DRAINED_S, _BACK_S, _NOTICED_S = 60.0, 120.0, 10.0


def run(lab: Lab, options: Options, progress: Progress) -> dict[str, Any]:
    """Restart the nodes."""
    machines = fleet.hosts(lab, "node")
    fleet.kill_panel(lab)
    fleet.start_panel(lab, failover.SHORT_TRIAL)
    fleet.wait_answering(lab)
    with fleet.client(lab) as panel:
        fleet.wait_connected(panel, lab.nodes)
        face.set_endpoint_group(lab, panel, min_nodes=lab.nodes - 1)
        standings.wait_all_serving(lab, panel, _BACK_S)
        with Sampler(nameserver.ENDPOINT) as sampler:
            wait_whole(lab, sampler)
            begun, before = time.time(), calls(panel)
            with progress.step(f"{len(machines)} nodes restarted, one after the other", len(machines)) as step:
                for host in machines:
                    _restart(lab, panel, sampler, host, announced=not options.kill)
                    step.advance()
            after = calls(panel)
    spent = {call: after.get(call, 0) - before.get(call, 0) for call in after}
    never_below_min = sampler.fewest >= lab.nodes - 1
    return {
        "ok": never_below_min,
        "nodes": len(machines),
        "fewest": sampler.fewest,
        "min_nodes": lab.nodes - 1,
        "never_below_min": never_below_min,
        "calls": spent,
        "calls_per_node": round(spent.get("apply", 0) / len(machines), 2),
        "unlisted": sum(sampler.first(host.address, listed=False, since=begun) is not None for host in machines),
        "seconds": round(time.time() - begun, 1),
        "samples": len(sampler.answers),
        "missed": sampler.missed,
    }


def _restart(lab: Lab, panel: PanelClient, sampler: Sampler, host: Host, *, announced: bool) -> None:
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
    standings.wait_all_serving(lab, panel, _BACK_S)
    if announced:
        panel.call("POST", f"{path}/uncordon")
    sampler.wait(host.address, listed=True, since=time.time(), within_s=_BACK_S)
