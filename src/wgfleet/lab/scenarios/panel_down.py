"""`panel-down`: a node dies, and with it, at a random moment of its failover, a process of the panel; `--rounds` times.

In turn it is the core (which decides), one that answers calls, and the parent of all, by SIGKILL; the parent starts a
child again by itself, and is started again `START_AGAIN_S` later, as systemd does. `gap_ms`: the longest silence of
each client whose session was on the dead node, by the process that was killed; `killed_after_ms`: since the node's
death. Promised, in each round: every such client answers before the node is back; the dead node and no other is taken
out of use, once; every operation ends; every peer has a home on a node, and every node's WireGuard every peer; and when
the node is back, all of them serve and every client answers.
"""

import os
import random
import signal
import threading
import time
from collections import defaultdict
from functools import partial
from pathlib import Path
from typing import Any

from wgfleet.lab import fleet, pings, silence
from wgfleet.lab.errors import LabError
from wgfleet.lab.hosts import Host
from wgfleet.lab.progress import Progress
from wgfleet.lab.scenarios import drain, failover, standings
from wgfleet.lab.scenarios.options import ScenarioOptions
from wgfleet.lab.state import Lab
from wgfleet.lab.waiting import look_for

PROCESSES = ("wgfleet-core", "wgfleet-api-1", "wgfleet")  # as /proc/PID/comm has them; the last is the parent
LONGEST_MS = 2500  # a failover of a few clients takes about half of it, so some kills come after its end
START_AGAIN_S = 1.0
WATCH_S = 14.0
RETURN_S = 60.0
_SOON_S = 30.0
Round = dict[str, Any]


def run(lab: Lab, options: ScenarioOptions, progress: Progress) -> dict[str, Any]:
    """Run the rounds; `ok` means that every promise was kept in each."""
    chance = random.Random()  # noqa: S311 - a moment, not a secret
    rounds: list[Round] = []
    fleet.restart_panel(lab, failover.SHORT_TRIAL)
    with fleet.client(lab) as panel:
        fleet.wait_connected(panel, lab.nodes)
        standings.wait_all_serving(lab, panel, RETURN_S)
    with progress.step(f"{options.rounds} failovers with a process of the panel killed", options.rounds) as step:
        for number in range(options.rounds):
            name = PROCESSES[number % len(PROCESSES)]
            rounds.append(lose_both(lab, name, chance.randint(0, LONGEST_MS), options.rate))
            step.advance()
            step.tell(_line(number, rounds[-1]))  # a round takes half a minute; who interrupts keeps those done
    gaps: dict[str, list[float]] = defaultdict(list)
    for entry in rounds:
        gaps[entry["process"]] += entry["gaps_ms"]
    return {
        "ok": not any(entry["broken"] for entry in rounds),
        "rounds": len(rounds),
        "clients": sum(map(len, gaps.values())),
        "gap_ms": {name: _spread(found) for name, found in gaps.items()},
        "detected_ms_max": max(entry["detected_ms"] for entry in rounds),
        "broken": [{"round": number, **entry} for number, entry in enumerate(rounds) if entry["broken"]],
        "each": rounds,
    }


def lose_both(lab: Lab, process: str, after_ms: int, rate: float) -> Round:
    """Have the busiest node die, and a process of the panel that many ms later; watch, and put the node back."""
    running, live, node = failover.ping_and_find_busiest(lab, rate)
    killing = threading.Timer(after_ms / 1000, kill_process, (lab, process))
    died = time.time()
    lab.cut(node.name)
    killing.start()
    time.sleep(WATCH_S)
    killing.join()
    back = time.time()
    counts = {count.client: count for count in pings.measure(running)}
    with fleet.client(lab) as panel:
        detected = failover.detected_at(lab, panel, node, died)
        names = standings.clients_by_key(lab, panel)
        hit = sorted(names[key] for key in live[node.name])
        # A gap that ends with the counting never ended.
        broken = [f"{name} gets no answer" for name in hit if counts[name].worst_gap_at >= back]
        lab.reconnect(node.name)
        standings.wait_all_serving(lab, panel, RETURN_S)
        standings.wait_operations(panel)
        withdrawn = [change["node"] for change in standings.withdrawals(lab, panel, died)]
        if withdrawn != [node.name]:
            broken.append(f"taken out of use: {withdrawn}")
    return {
        "node": node.name,
        "process": process,
        "killed_after_ms": after_ms,
        "detected_ms": round((detected - died) * 1000, 1),
        "gaps_ms": [counts[name].worst_gap_ms for name in hit],
        "broken": broken + broken_promises(lab),
    }


def kill_process(lab: Lab, name: str) -> None:
    """Kill a process of the panel; see that there is a panel again."""
    host = lab.host("panel")
    for pid in _of_name(host, name):
        os.kill(pid, signal.SIGKILL)
    if name == PROCESSES[-1]:
        time.sleep(START_AGAIN_S)
        if not look_for(lambda: not fleet.panel_runs(lab), within_s=_SOON_S):
            raise LabError("processes of the panel outlive their parent")
        fleet.start_panel(lab, failover.SHORT_TRIAL)
    fleet.wait_answering(lab)


def broken_promises(lab: Lab) -> list[str]:
    """Check what holds when all nodes serve again; return what does not."""
    with fleet.client(lab) as panel:
        peers = panel.all(f"/api/configs/{fleet.CONFIG}/peers")
        serving = {entry["node_id"] for entry in panel.all(f"/api/configs/{fleet.CONFIG}/nodes")}
        failed = [each["id"] for each in panel.all("/api/operations") if each["state"] != "succeeded"]
    broken = [f"operation {identifier} did not succeed" for identifier in failed]
    homeless = [peer["name"] for peer in peers if peer["home_node_id"] not in serving]
    broken += [f"without a home: {homeless}"] if homeless else []
    keys = {peer["public_key"] for peer in peers}
    broken += [
        f"{host.name} has other peers than the panel"
        for host in fleet.hosts(lab, "node")
        if not look_for(partial(_has_peers, host, keys), within_s=_SOON_S)
    ]
    with fleet.client(lab) as panel:
        return broken + silence.silent(lab, panel)


def _of_name(host: Host, name: str) -> list[int]:
    """Return the panel's processes of a name."""
    names = {pid: Path(f"/proc/{pid}/comm").read_text(encoding="ascii").strip() for pid in host.find("panel run")}
    found = [pid for pid, comm in names.items() if comm == name]
    if not found:
        raise LabError(f"the panel has no process {name}, but {sorted(names.values())}")
    return found


def _has_peers(host: Host, keys: set[str]) -> bool:
    return set(drain.handshakes(host)) == keys


def _line(number: int, entry: Round) -> str:
    worst = max(entry["gaps_ms"], default=0)
    said = f"round {number + 1}: {entry['process']} killed after {entry['killed_after_ms']} ms, longest gap {worst} ms"
    return "; ".join([said, *entry["broken"]])


def _spread(gaps: list[float]) -> dict[str, float]:
    ordered = sorted(gaps)
    return {"p50": failover.percentile(ordered, 50), "max": ordered[-1]} if ordered else {}
