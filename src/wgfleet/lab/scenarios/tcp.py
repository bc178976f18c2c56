"""`tcp`: what becomes of TCP connections through a node that is removed, and through one that dies.

The server is the router, behind a firewall that lets only in what began with a SYN there, as nearly every server is.
Each client runs the four programs of tcp_flows.py. In each round the node with the most live sessions is removed by the
API (`planned`) and put back, then another one is killed (`killed`) and put back. Counted, of the programs of clients
whose session was on that node, by what the program does: `kept`: its connection lived on; `ended`: the program learnt
that it had ended, and made a new one, with `known_s`, from the event until it learnt that, and `wait_s`, the longest
time that it waited for anything; `hanging`: it still waited when `WATCH_S` had passed. Promised is that nothing hangs,
`download` included, which sends nothing and would learn nothing: nodes tell each other of connections (with
`--backbone`), or the panel.
"""

import json
import sys
import time
from collections.abc import Sequence
from typing import Any

from wgfleet.lab import fleet, pings, tcp_flows
from wgfleet.lab.hosts import Host
from wgfleet.lab.panel_client import PanelClient
from wgfleet.lab.progress import Progress
from wgfleet.lab.scenarios import drain, mesh, standings
from wgfleet.lab.scenarios.failover import RETURN_S, SHORT_TRIAL, percentile, ping_and_find_busiest
from wgfleet.lab.scenarios.options import ScenarioOptions
from wgfleet.lab.state import Lab
from wgfleet.lab.topology import NODE_SEGMENT, ROUTER
from wgfleet.lab.waiting import wait_for

PORT = 7000
WATCH_S = 12.0
_BEFORE_S = 7.0  # in which `idle` asks, too, and the node and the panel get to know of connections
_RATE = 10.0
_ENDS_S = 30.0
FIREWALL = f"""
table inet lab_firewall {{
  chain in {{
    type filter hook input priority filter; policy accept;
    tcp dport {PORT} ct state invalid drop
    tcp dport {PORT} ct state new tcp flags & (fin | syn | rst | ack) != syn drop
  }}
}}
"""
Round = dict[str, Any]


def run(lab: Lab, options: ScenarioOptions, progress: Progress) -> dict[str, Any]:
    """Run the rounds; `ok` means that nothing hung that could know better."""
    server = lab.host(ROUTER)
    server.run("nft", "-f", "-", stdin=FIREWALL)
    server.start([sys.executable, "-P", "-m", "wgfleet.lab.tcp_flows", "serve", str(PORT)], "tcp-server")
    fleet.restart_panel(lab, SHORT_TRIAL)
    rounds = []
    with fleet.client(lab) as panel:
        fleet.wait_connected(panel, lab.nodes)
        if options.backbone:
            with progress.step("backbone up"):
                mesh.turn_on(lab, panel)
        for number in range(options.rounds):
            for event in ("planned", "killed"):
                standings.wait_all_serving(lab, panel, RETURN_S)
                with progress.step(f"round {number + 1} of {options.rounds}: {event}"):
                    rounds.append(lose(lab, panel, event))
    return summary(rounds)


def lose(lab: Lab, panel: PanelClient, event: str) -> Round:
    """Have the node with the most live sessions go while the clients' programs run; put it back."""
    running, live, node = ping_and_find_busiest(lab, _RATE)
    clients = fleet.hosts(lab, "client")
    logs = start(clients)
    time.sleep(_BEFORE_S)
    at = time.time()
    operation = None
    if event == "planned":
        operation = panel.call("DELETE", f"/api/configs/{fleet.CONFIG}/nodes/{drain.node_id(lab, node)}")
    else:
        fleet.power_off(node)
    fates = {name: _read(log) for name, log in logs.items()}
    pings.measure(running)
    if operation is not None:
        panel.wait_operation(operation["id"], timeout_s=_ENDS_S * 4)
        drain.put_back(lab, panel, node)
    else:
        fleet.start_agent(node)
    names = standings.clients_by_key(lab, panel)
    hit = {names[key] for key in live[node.name]}
    return {
        "event": event,
        "node": node.name,
        "clients": len(hit),
        "programs": [judge(kind, fate, at) for name in sorted(hit) for kind, fate in fates[name].items()],
    }


def start(clients: Sequence[Host]) -> dict[str, Any]:
    """Start the programs of each client; return their logs."""
    seconds = _BEFORE_S + WATCH_S
    words = ["use", NODE_SEGMENT.gateway, str(PORT), str(seconds)]
    name = f"tcp-{time.monotonic_ns()}"
    return {
        host.name: host.start([sys.executable, "-P", "-m", "wgfleet.lab.tcp_flows", *words], name) for host in clients
    }


def _read(log: Any) -> dict[str, Any]:
    # A long line is written in pieces.
    wait_for(lambda: log.read_text().endswith("\n"), f"{log} does not end", within_s=WATCH_S + _ENDS_S)
    found: dict[str, Any] = json.loads(log.read_text())
    return found


def judge(kind: str, fate: dict[str, Any], at: float) -> Round:
    """Say what became of a program's connection at an event (pure)."""
    ended = [when for when in fate["ended"] if when >= at]
    waits = [end - begin for begin, end in fate["waits"] if end >= at]
    last = fate["waiting_since"]
    # A wait of which nobody saw the end is one where it has lasted longer than any that ended well.
    hanging = last is not None and at + WATCH_S - last > WATCH_S / 2
    return {
        "kind": kind,
        "fate": "hanging" if hanging else "ended" if ended else "kept",
        "known_s": round(ended[0] - at, 3) if ended else None,
        "wait_s": round(max(waits, default=0.0), 3),
    }


def summary(rounds: list[Round]) -> dict[str, Any]:
    """Sum rounds up, by event and by what the programs do (pure)."""
    figures: dict[str, Any] = {}
    ok = True
    for event in dict.fromkeys(entry["event"] for entry in rounds):
        programs = [each for entry in rounds if entry["event"] == event for each in entry["programs"]]
        ok &= bool(programs)
        figures[event] = {"clients": sum(entry["clients"] for entry in rounds if entry["event"] == event)}
        for kind in tcp_flows.KINDS:
            mine = [each for each in programs if each["kind"] == kind]
            counts = {fate: sum(each["fate"] == fate for each in mine) for fate in ("kept", "ended", "hanging")}
            ok &= not counts["hanging"]
            moved = [each for each in mine if each["fate"] != "hanging"]
            known = [each["known_s"] for each in moved if each["known_s"] is not None]
            figures[event][kind] = {
                **counts,
                "known_s": _spread(known),
                "wait_s": _spread([e["wait_s"] for e in moved]),
            }
    return {"ok": ok and bool(rounds), "rounds": len(rounds) // 2, **figures, "each": rounds}


def _spread(values: Sequence[float]) -> dict[str, float]:
    ordered = sorted(values)
    return {"p50": percentile(ordered, 50), "max": ordered[-1]} if ordered else {}
