"""`return --kind`: a node is out for a moment, and is back while other nodes have its clients.

`stop`: its WireGuard and its agent are stopped, as in a machine that is paused. `wireguard`: its wireguard-go alone.
`cut`: its cable is pulled. `--away` seconds later that is undone. Meanwhile packets flow from the node to its clients,
each of which would draw a client back there. All clients ping without pause from before the outage on.

Counted for the clients whose session was on that node, over all rounds: `gap_ms`, the longest silence, and
`later_gap_ms`, the longest silence from the moment on at which the node was back (promised: `LATER_MS` at most).
`others_gap_ms`: the longest silence of the others.
"""

import signal
import time
from typing import Any

from wgfleet.lab import fleet, pings
from wgfleet.lab.hosts import Host
from wgfleet.lab.panel_client import PanelClient
from wgfleet.lab.progress import Progress
from wgfleet.lab.scenarios import standings
from wgfleet.lab.scenarios.failover import RETURN_S, SHORT_TRIAL, percentile, ping_and_find_busiest
from wgfleet.lab.scenarios.options import Kind, ScenarioOptions
from wgfleet.lab.state import Lab

LATER_MS = 1500.0
WATCH_S = 18.0  # a client that was drawn to a silent node asks for a new session after 15 s
_AGENT, _WIREGUARD = ("agent", "run"), ("wireguard-go",)
_STOPPED = {"stop": (_AGENT, _WIREGUARD), "wireguard": (_WIREGUARD,), "cut": ()}
_OWN = ["ping", "-n", "-i", "0.1"]
Round = dict[str, Any]


def run(lab: Lab, options: ScenarioOptions, progress: Progress) -> dict[str, Any]:
    """Run the rounds; `ok` means that nobody was silent again."""
    rounds: list[Round] = []
    fleet.restart_panel(lab, SHORT_TRIAL)
    with fleet.client(lab) as panel:
        fleet.wait_connected(panel, lab.nodes)
        for number in range(options.rounds):
            standings.wait_all_serving(lab, panel, RETURN_S)
            with progress.step(f"round {number + 1} of {options.rounds}"):
                rounds.append(_relapse(lab, panel, options))
    return summary(rounds, options)


def summary(rounds: list[Round], options: ScenarioOptions) -> dict[str, Any]:
    """Sum rounds up (pure)."""
    later = sorted(gap for each in rounds for gap in each["later_gaps_ms"])
    return {
        "ok": bool(later) and later[-1] <= LATER_MS,
        "kind": options.kind,
        "away_s": options.away_s,
        "clients": len(later),
        "gap_ms": _spread(sorted(gap for each in rounds for gap in each["gaps_ms"])),
        "later_gap_ms": _spread(later),
        "others_gap_ms": max(each["others_gap_ms"] for each in rounds),
        "rounds": len(rounds),
        "each": rounds,
    }


def _spread(gaps: list[float]) -> dict[str, float]:
    return {"p50": percentile(gaps, 50), "p99": percentile(gaps, 99), "max": gaps[-1]} if gaps else {}


def _relapse(lab: Lab, panel: PanelClient, options: ScenarioOptions) -> Round:
    """Have the node with the most live sessions be out for a while, and watch from before on."""
    running, live, node = ping_and_find_busiest(lab, options.rate)
    names = standings.clients_by_key(lab, panel)
    hit = {names[key] for key in live[node.name]}
    _talk(lab, node, hit)
    _out(lab, node, options.kind)
    time.sleep(options.away_s)
    back_at = time.time()
    _back(lab, node, options.kind)
    time.sleep(WATCH_S)
    node.signal(signal.SIGINT, *_OWN)
    counts = {count.client: count for count in pings.measure(running, since=back_at)}
    return {
        "node": node.name,
        "gaps_ms": [counts[name].worst_gap_ms for name in sorted(hit)],
        "later_gaps_ms": [counts[name].later_gap_ms for name in sorted(hit)],
        "others_gap_ms": max((count.worst_gap_ms for name, count in counts.items() if name not in hit), default=0.0),
    }


def _talk(lab: Lab, node: Host, clients: set[str]) -> None:
    """Have packets flow from a node to clients: what it sends when it is back is what draws them there."""
    for client in lab.result["clients"]:
        if client["name"] in clients:
            node.start([*_OWN, client["tunnel_address"].split("/")[0]], f"own-{client['name']}-{time.monotonic_ns()}")


def _out(lab: Lab, node: Host, kind: Kind | None) -> None:
    for words in _STOPPED[kind or "cut"]:
        node.signal(signal.SIGSTOP, *words)
    if kind == "cut":
        lab.cut(node.name)


def _back(lab: Lab, node: Host, kind: Kind | None) -> None:
    for words in reversed(_STOPPED[kind or "cut"]):
        node.signal(signal.SIGCONT, *words)
    if kind == "cut":
        lab.reconnect(node.name)
