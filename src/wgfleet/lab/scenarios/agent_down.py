"""`agent-down`: a node's agent is killed while its WireGuard goes on serving and every client pings without pause.

Nobody may be moved. `moves`: failovers and peers with another home; `withdrawals`: nodes taken out of use; `lost` and
`clients_lost`: packets, and clients that lost any, over the whole time. `health`: how the panel judged the node while
the agent was away (promised: `unmanaged`), `noticed_s` after how long; `back_s`: from the agent's new start until the
node was `serving` again.
"""

import time
from typing import Any

from wgfleet.lab import fleet, pings
from wgfleet.lab.progress import Progress
from wgfleet.lab.scenarios import standings
from wgfleet.lab.scenarios.options import ScenarioOptions
from wgfleet.lab.state import Lab

AWAY_S = 5.0
NOTICED_S = 60.0


def run(lab: Lab, options: ScenarioOptions, progress: Progress) -> dict[str, Any]:
    """Kill the agent of the busiest node, watch, start it again."""
    with fleet.client(lab) as panel, progress.step("agent killed and started again"):
        begun, homes = time.time(), standings.homes(panel)
        running = pings.start(fleet.hosts(lab, "client"), fleet.NODE_TUNNEL_ADDRESS, rate=options.rate)
        node = standings.busiest(lab, panel)
        fleet.kill_agent(node)
        noticed = standings.wait_state(lab, panel, node.name, "unmanaged", NOTICED_S)
        time.sleep(AWAY_S)
        state = standings.states(lab, panel)[node.name]
        fleet.start_agent(node)
        back = standings.wait_state(lab, panel, node.name, "serving", NOTICED_S)
        counts = pings.measure(running)
        figures = {
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
    kept = state == "unmanaged" and not figures["withdrawals"] and not figures["moves"] and not figures["clients_lost"]
    return {"ok": kept, **figures}
