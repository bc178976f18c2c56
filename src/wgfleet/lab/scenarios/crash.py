"""`crash`: WireGuard ends on a node that lives, while every client pings through the tunnel without pause.

In each round it ends in four ways, one after the other, on the node with the most live sessions: `killed`, its
wireguard-go by SIGKILL; `deleted`, its link by `ip link del`; `port`, its config's listen port is changed; `both`, its
wireguard-go together with its agent, which is started again `RESTART_S` later, as its unit does. Counted for the
clients whose session was there: `gap_ms`, the longest silence as pings.py defines it, from before to `WATCH_S` after
(promised: `BAR_MS` but for `both`, where others take them over, or the agent calls them when the panel has had time to
say so). `called` and `answered`: what the audit log has of the agent's calls. `failovers`: those that began meanwhile,
which moves clients too; promised only for `deleted` and `port` that there are none.
"""

import signal
import time
from collections.abc import Callable
from typing import Any

from wgfleet.lab import fleet, pings, stock
from wgfleet.lab.hosts import Host
from wgfleet.lab.panel_client import PanelClient
from wgfleet.lab.progress import Progress
from wgfleet.lab.scenarios import standings
from wgfleet.lab.scenarios.failover import RETURN_S, SHORT_TRIAL, percentile, ping_and_find_busiest
from wgfleet.lab.scenarios.options import ScenarioOptions
from wgfleet.lab.state import Lab

BAR_MS = 1000.0
BOTH_BAR_MS = 3000.0
WATCH_S = 6.0
RESTART_S = 1.0
Round = dict[str, Any]


def run(lab: Lab, options: ScenarioOptions, progress: Progress) -> dict[str, Any]:
    """Run the rounds; `ok` means that every client was back in time."""
    rounds: list[Round] = []
    fleet.restart_panel(lab, SHORT_TRIAL)
    with fleet.client(lab) as panel:
        fleet.wait_connected(panel, lab.nodes)
        for number in range(options.rounds):
            for kind in WAYS:
                standings.wait_all_serving(lab, panel, RETURN_S)
                with progress.step(f"round {number + 1} of {options.rounds}: {kind}"):
                    rounds.append(crash(lab, panel, options.rate, kind))
    return summary(rounds)


def summary(rounds: list[Round]) -> dict[str, Any]:
    """Sum rounds up, by the way in which WireGuard ended (pure)."""
    ways = {}
    for kind in dict.fromkeys(entry["kind"] for entry in rounds):
        mine = [entry for entry in rounds if entry["kind"] == kind]
        gaps = sorted(gap for entry in mine for gap in entry["gaps_ms"])
        ways[kind] = {
            "gap_ms": {"p50": percentile(gaps, 50), "max": gaps[-1]} if gaps else {},
            "clients": len(gaps),
            **{name: sum(entry[name] for entry in mine) for name in ("called", "answered", "failovers")},
        }
    late = {
        kind: way["gap_ms"]["max"]
        for kind, way in ways.items()
        if way["gap_ms"] and way["gap_ms"]["max"] > (BOTH_BAR_MS if kind == "both" else BAR_MS)
    }
    return {"ok": bool(ways) and all(way["clients"] for way in ways.values()) and not late, **ways, "each": rounds}


def crash(lab: Lab, panel: PanelClient, rate: float, kind: str) -> Round:
    """Have WireGuard end on the node with the most live sessions, and watch."""
    running, live, node = ping_and_find_busiest(lab, rate)
    begun = time.time()
    WAYS[kind](lab, panel, node)
    fleet.favour_nodes(lab)
    time.sleep(WATCH_S)
    counts = {count.client: count for count in pings.measure(running)}
    names = standings.clients_by_key(lab, panel)
    hit = sorted(names[key] for key in live[node.name])
    if kind == "port":  # it ends on every node
        hit = sorted(counts)
    found = panel.all("/api/audit-logs?action=called_back")
    entries = [each["details"] for each in found if standings.moment(each["at"]) >= begun]
    return {
        "kind": kind,
        "node": node.name,
        "gaps_ms": [counts[name].worst_gap_ms for name in hit],
        "called": sum(each["sessions"] for each in entries),
        "answered": sum(each["answered"] for each in entries),
        "failovers": len(standings.failovers(panel, begun)),
    }


def _kill(_lab: Lab, _panel: PanelClient, node: Host) -> None:
    node.signal(signal.SIGKILL, "wireguard-go")


def _delete(_lab: Lab, _panel: PanelClient, node: Host) -> None:
    node.run("ip", "link", "del", stock.INTERFACE)


def _kill_both(_lab: Lab, _panel: PanelClient, node: Host) -> None:
    fleet.kill_agent(node)
    node.signal(signal.SIGKILL, "wireguard-go")
    time.sleep(RESTART_S)
    fleet.start_agent(node)


def _change_port(_lab: Lab, panel: PanelClient, node: Host) -> None:
    port = int(node.run("wg", "show", stock.INTERFACE, "listen-port"))
    changed = fleet.LISTEN_PORT + 1000 if port == fleet.LISTEN_PORT else fleet.LISTEN_PORT
    panel.call("PATCH", f"/api/configs/{fleet.CONFIG}", {"listen_port": changed})


WAYS: dict[str, Callable[[Lab, PanelClient, Host], None]] = {
    "killed": _kill,
    "deleted": _delete,
    "both": _kill_both,
    "port": _change_port,
}
