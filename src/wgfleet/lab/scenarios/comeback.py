"""`return`: a dead node comes back while every client pings without pause; with `--kind`, see `relapse`.

The node with the most sessions is cut off; when its clients have moved, its cable is put back. `fenced_s`: from then
until it had no users' peers any more, read from its WireGuard; `unfenced_use`: whether it was in use before that.
`peers_while_out`: the most users' peers that it had after that and before it served (promised: 0). `served_s`: until it
served. `reclaimed`: peers whose home changed by the return, and `pulled_back`: clients with a session on it that is
newer than the return (both promised: 0). The clients that were taken over from it are called once more where they live
now, since what it still sent may have turned them back: `lost` are the packets that all clients lost from the
reconnection on, and `worst_gap_ms` is the longest silence of any, promised to be at most `MAX_GAP_MS`.
"""

import time
from typing import Any

from wgfleet.lab import fleet, pings
from wgfleet.lab.progress import Progress
from wgfleet.lab.scenarios import drain, relapse, standings
from wgfleet.lab.scenarios.options import ScenarioOptions
from wgfleet.lab.state import Lab

DOWN_S, RETURN_S, AFTER_S = 60.0, 120.0, 5.0
LOOK_S = 0.1
MAX_GAP_MS = 300.0  # a call takes a round trip; on this machine, many at once


def run(lab: Lab, options: ScenarioOptions, progress: Progress) -> dict[str, Any]:
    """Cut, wait, reconnect, watch."""
    if options.kind is not None:
        return relapse.run(lab, options, progress)
    devices = fleet.hosts(lab, "client")
    with fleet.client(lab) as panel, progress.step("a node dies and returns"):
        node = standings.busiest(lab, panel)
        lab.cut(node.name)
        standings.wait_state(lab, panel, node.name, "down", DOWN_S)
        standings.wait_operations(panel)
        homes = standings.homes(panel)
        running = pings.start(devices, fleet.NODE_TUNNEL_ADDRESS, rate=options.rate)
        reconnected, begun = time.time(), time.monotonic()
        lab.reconnect(node.name)
        fenced_s, peers_while_out, unfenced_use, state = None, 0, False, "down"
        while state != "serving" and time.monotonic() - begun < RETURN_S:
            held = len(drain.user_keys(node))
            state = standings.states(lab, panel)[node.name]
            if fenced_s is None:
                unfenced_use |= state in standings.IN_USE
                fenced_s = time.monotonic() - begun if not held else None
            elif state not in standings.IN_USE:  # read after the peers: it was out of use when they were counted
                peers_while_out = max(peers_while_out, held)
            time.sleep(LOOK_S)
        served_s = time.monotonic() - begun
        time.sleep(AFTER_S)
        counts = pings.measure(running)
        pulled_back = [key for key, at in drain.handshakes(node).items() if at > reconnected]
        worst_gap_ms = max(count.worst_gap_ms for count in counts)
        figures = {
            "node": node.name,
            "fenced_s": None if fenced_s is None else round(fenced_s, 1),
            "unfenced_use": unfenced_use,
            "peers_while_out": peers_while_out,
            "served_s": round(served_s, 1),
            "served": state == "serving",
            "peers_after": len(drain.user_keys(node)),
            "reclaimed": standings.moved(homes, standings.homes(panel)),
            "pulled_back": len(pulled_back),
            "sent": sum(count.sent for count in counts),
            "lost": sum(count.lost for count in counts),
            "worst_gap_ms": worst_gap_ms,
        }
    bad = [figures[name] for name in ("unfenced_use", "peers_while_out", "reclaimed", "pulled_back")]
    kept = (
        not any(bad)
        and worst_gap_ms <= MAX_GAP_MS
        and fenced_s is not None
        and figures["served"]
        and figures["peers_after"] == len(devices)
    )
    return {"ok": kept, **figures}
