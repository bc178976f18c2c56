"""`failover`: a node's cable is cut while every client pings through the tunnel without pause; `--rounds` times.

What is counted, for the clients whose session was on that node: `gap_ms`, the longest time between two replies as
pings.py defines it, over all rounds. `detected_ms`: from the cut until the panel wrote down that the node is down.
`moved`: clients that answer again on another node. Between rounds the cable is put back and the node is waited for
until it serves again. Clients on other nodes are watched too: `others_lost` is what they lost in all.
"""

import statistics
import time
from datetime import datetime
from typing import Any

from wgfleet.lab import fleet, pings
from wgfleet.lab.errors import LabError
from wgfleet.lab.hosts import Host
from wgfleet.lab.panel_client import PanelClient
from wgfleet.lab.progress import Progress
from wgfleet.lab.scenarios import drain
from wgfleet.lab.scenarios.options import Options
from wgfleet.lab.state import Lab

CALM_S = 2.0
WATCH_S = 8.0
RETURN_S = 300.0  # the stable period doubles with each round that the same node fails
MAX_P50_MS, MAX_P99_MS = 1500, 3000
Round = dict[str, Any]


def run(lab: Lab, options: Options, progress: Progress) -> dict[str, Any]:
    """Run the rounds; `ok` means that all clients moved, within the bar."""
    rounds: list[Round] = []
    with fleet.client(lab) as panel:
        for number in range(options.rounds):
            with progress.step(f"round {number + 1} of {options.rounds}"):
                rounds.append(cut_busiest(lab, panel, options.rate))
                if number + 1 < options.rounds:
                    wait_all_serving(panel)
    gaps = sorted(gap for entry in rounds for gap in entry["gaps_ms"])
    figures = {
        "gap_ms": {"p50": percentile(gaps, 50), "p99": percentile(gaps, 99), "max": gaps[-1]},
        "detected_ms": round(statistics.median(entry["detected_ms"] for entry in rounds), 1),
        "detected_ms_max": max(entry["detected_ms"] for entry in rounds),
        "clients": len(gaps),
        "moved": sum(entry["moved"] for entry in rounds),
        "others_lost": sum(entry["others_lost"] for entry in rounds),
        "rounds": len(rounds),
    }
    within = figures["gap_ms"]["p50"] <= MAX_P50_MS and figures["gap_ms"]["p99"] <= MAX_P99_MS
    return {"ok": within and figures["moved"] == figures["clients"], **figures}


def percentile(ordered: list[float], percent: int) -> float:
    """Return the nearest-rank percentile of sorted values."""
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]


def cut_busiest(lab: Lab, panel: PanelClient, rate: float) -> Round:
    """Cut the node with the most live sessions off, watch, and put its cable back."""
    devices = fleet.hosts(lab, "client")
    running = pings.start(devices, fleet.NODE_TUNNEL_ADDRESS, rate=rate)
    earlier = {host.name: drain.received(host) for host in fleet.hosts(lab, "node")}
    time.sleep(CALM_S)
    live = {host.name: drain.live_peers(host, earlier[host.name]) for host in fleet.hosts(lab, "node")}
    node = lab.host(max(live, key=lambda name: len(live[name])))
    cut = time.time()
    lab.cut(node.name)
    time.sleep(WATCH_S)
    detected = detected_at(lab, panel, node, cut)
    counts = {count.client: count for count in pings.measure(running)}
    lab.mend(node.name)
    names = {peer["public_key"]: client["name"] for peer, client in _pairs(lab, panel)}
    hit = {names[key] for key in live[node.name]}
    answering = {name for name in hit if counts[name].worst_gap_at < cut + WATCH_S}
    return {
        "node": node.name,
        "detected_ms": round((detected - cut) * 1000, 1),
        "gaps_ms": [counts[name].worst_gap_ms for name in sorted(hit)],
        "moved": len(answering),
        "others_lost": sum(count.lost for name, count in counts.items() if name not in hit),
    }


def _pairs(lab: Lab, panel: PanelClient) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    peers = {peer["id"]: peer for peer in panel.all(f"/api/configs/{fleet.CONFIG}/peers")}
    return [(peers[client["id"]], client) for client in lab.result["clients"]]


def detected_at(lab: Lab, panel: PanelClient, node: Host, since: float) -> float:
    """Return when the panel wrote down that a node is down, in s since the epoch."""
    node_id = drain.node_id(lab, node)
    history = panel.call("GET", f"/api/configs/{fleet.CONFIG}/health")["history"]
    for change in reversed(history):
        at = datetime.fromisoformat(change["at"]).timestamp()
        if change["node_id"] == node_id and change["after"] == "down" and at >= since:
            return at
    raise LabError(f"{node.name} was cut off and the panel did not find it down")


def wait_all_serving(panel: PanelClient) -> None:
    """Wait until every node is healthy again."""
    deadline = time.monotonic() + RETURN_S
    while True:
        nodes = panel.call("GET", f"/api/configs/{fleet.CONFIG}/health?history=0")["nodes"]
        if all(entry["health"] == "serving" for entry in nodes):
            return
        if time.monotonic() > deadline:
            raise LabError(f"not all nodes came back within {RETURN_S:.0f} s: {nodes}")
        time.sleep(0.2)
