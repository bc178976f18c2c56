"""`agent-down`: a node's agent is killed while its WireGuard goes on serving and every client pings without pause.

Nobody may be moved. `moves`: failovers and peers with another home; `withdrawals`: nodes taken out of use; `lost` and
`clients_lost`: packets, and clients that lost any, over the whole time. `health`: how the panel judged the node while
the agent was away (promised: `unmanaged`), `noticed_s` after how long; `back_s`: from the agent's new start until the
node was `serving` again.

With `--floating` the agent is away for longer than the kernel keeps its addresses, so they go to other nodes, and so do
the clients behind them: they may be silent for `MOVED_S` and no longer. No address may have two holders meanwhile
(`broken`; the figures are those of holder.py), and in the end each has one.
"""

import time
from typing import Any

from wgfleet.lab import face, fleet, holdings, pings
from wgfleet.lab.address_sampler import AddressSampler
from wgfleet.lab.progress import Progress
from wgfleet.lab.scenarios import holder, standings
from wgfleet.lab.scenarios.options import ScenarioOptions
from wgfleet.lab.state import Lab
from wgfleet.lab.topology import ROUTER

AWAY_S = 5.0
AWAY_FLOATING_S, AFTER_S = 12.0, 3.0
MOVED_S = 10.0  # docs/floating.md
NOTICED_S = 60.0


def run(lab: Lab, options: ScenarioOptions, progress: Progress) -> dict[str, Any]:
    """Kill the agent of the busiest node, watch, start it again."""
    addresses = face.floating(lab)
    with (
        fleet.client(lab) as panel,
        AddressSampler(lab.host(ROUTER), fleet.hosts(lab, "node"), addresses) as sampler,
        progress.step("agent killed and started again"),
    ):
        homes = standings.homes(panel)
        running = pings.start(fleet.hosts(lab, "client"), fleet.NODE_TUNNEL_ADDRESS, rate=options.rate)
        node = standings.busiest(lab, panel)
        begun = time.time()
        fleet.kill_agent(node)
        noticed = standings.wait_state(lab, panel, node.name, "unmanaged", NOTICED_S)
        time.sleep(AWAY_FLOATING_S if addresses else AWAY_S)
        state = standings.states(lab, panel)[node.name]
        repaired = time.time()
        fleet.start_agent(node)
        back = standings.wait_state(lab, panel, node.name, "serving", NOTICED_S)
        time.sleep(AFTER_S if addresses else 0.0)
        counts = pings.measure(running)
        figures: dict[str, Any] = {
            "node": node.name,
            "health": state,
            "noticed_s": round(noticed, 1),
            "back_s": round(back, 1),
            "withdrawals": len(standings.withdrawals(lab, panel, begun)),
            "moves": len(standings.failovers(panel, begun)) + standings.moved(homes, standings.homes(panel)),
            "sent": sum(count.sent for count in counts),
            "lost": sum(count.lost for count in counts),
            "clients_lost": sum(count.lost > 0 for count in counts),
        }
    kept = state == "unmanaged" and not figures["withdrawals"] and not figures["moves"]
    if not addresses:
        return {"ok": kept and not figures["clients_lost"], **figures}
    figures |= holder.figures(lab, sampler, node.name, begun, repaired, counts)
    wrong = holdings.broken(figures, unseen=False)
    return {"ok": kept and not wrong and figures["worst_gap_ms"] <= MOVED_S * 1000, **figures, "broken": wrong}
