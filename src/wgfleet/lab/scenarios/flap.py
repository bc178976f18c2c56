"""`flap`: one node's cable is pulled and put back again and again while every client pings; `--rounds` times (20).

Each time it is cut for `CUT_S`, and connected for the rest of `PERIOD_S`. `moves`: how often failover moved peers from
one node to others (promised: at most `MAX_MOVES` in 20 rounds); `moves_of_a_client`: the most that one peer's home
changed; `withdrawals`: how often the node was taken out of use; `trial_s`: how long it had to answer after the last;
`lost`: packets of all clients, `worst_gap_ms` of any.
"""

import re
import time
from collections import Counter
from typing import Any

from wgfleet.lab import fleet, pings
from wgfleet.lab.progress import Progress
from wgfleet.lab.scenarios import standings
from wgfleet.lab.scenarios.options import ScenarioOptions
from wgfleet.lab.state import Lab

ROUNDS = 20
PERIOD_S, CUT_S = 15.0, 4.0  # 20 in 5 minutes; longer than it takes to find a node down
MAX_MOVES = 3
_TRIAL = re.compile(r"is used after ([\d.]+) s")


def run(lab: Lab, options: ScenarioOptions, progress: Progress) -> dict[str, Any]:
    """Flap the busiest node."""
    rounds = options.rounds if options.rounds > 1 else ROUNDS
    with fleet.client(lab) as panel:
        node = standings.busiest(lab, panel)
        begun, homes = time.time(), standings.homes(panel)
        changed: Counter[str] = Counter()
        running = pings.start(fleet.hosts(lab, "client"), fleet.NODE_TUNNEL_ADDRESS, rate=options.rate)
        with progress.step(f"{node.name} flaps", rounds) as step:
            for _ in range(rounds):
                started = time.monotonic()
                lab.cut(node.name)
                time.sleep(CUT_S)
                lab.reconnect(node.name)
                time.sleep(max(0.0, started + PERIOD_S - time.monotonic()))
                now = standings.homes(panel)
                changed.update(peer for peer, home in homes.items() if now.get(peer) != home)
                homes = now
                step.advance()
        counts = pings.measure(running)
        moves = [each for each in standings.failovers(panel, begun) if _moved_anybody(each)]
        trials = [
            float(found[1])
            for change in standings.changes(lab, panel, begun)
            if (found := _TRIAL.search(change["reason"]))
        ]
        withdrawals = len(standings.withdrawals(lab, panel, begun))
    return {
        "ok": len(moves) <= MAX_MOVES,
        "rounds": rounds,
        "moves": len(moves),
        "moves_of_a_client": max(changed.values(), default=0),
        "withdrawals": withdrawals,
        "trial_s": trials[-1] if trials else None,
        "sent": sum(count.sent for count in counts),
        "lost": sum(count.lost for count in counts),
        "worst_gap_ms": max(count.worst_gap_ms for count in counts),
    }


def _moved_anybody(operation: dict[str, Any]) -> bool:
    result = operation["result"] or {}
    return bool(result.get("peers_migrated") or result.get("sessions_taken_over"))
