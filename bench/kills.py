"""Kill -9 of each process of a panel while it fails a dead node over: what is lost, and how long it takes.

A node dies; up to `--within` s later a process of the panel is killed: the core, one of those that answer calls, all of
them, or the parent, which is started again at once as its unit would. Prints one JSON object: by process, from the
death of the node until it is called down, until the first of its clients is called by another node and until all are,
and from the kill until the API answers. `none` is the same without a kill. `lost` counts clients that nobody called,
operations that did not end, and peers that were made just before the kill and are not on each node that lives: all have
to be 0.

Usage, from the top of the repository:
.venv/bin/python -m bench.kills [--rounds 20] [--configs 8] [--peers 50] [--within 1.5] [--postgresql]
"""

import argparse
import json
import os
import random
import signal
import statistics
import sys
import tempfile
import time
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.simulated import measures, processes
from bench.simulated.fleet import Fleet, Group, Shape

NODES = 6  # of a config, of which three may die
PATIENCE_S = 180.0
REST_S = 2.0  # after a kill: until the panel has looked at all nodes again, it knows no round trip to some
VICTIMS = ("core", "api-1", "api-all", "parent", "none")
FIGURES = ("decided_s", "first_call_s", "all_called_s", "api_answers_s", "calls_per_peer")


@dataclass(frozen=True, slots=True)
class Doomed:
    """A node that is to die: its config, its id and its address, and how many nodes of the config live after it."""

    group: Group
    node_id: str
    address: str
    left: int


def doomed(fleet: Fleet, rounds: int) -> list[Doomed]:
    """Return which nodes die, in turn of all configs, so that none loses many at once."""
    found = []
    for number in range(rounds):
        group = fleet.groups[number % len(fleet.groups)]
        place = number // len(fleet.groups)
        node_id, address = list(group.nodes.items())[place]
        found.append(Doomed(group, node_id, address, len(group.nodes) - place - 1))
    return found


def kill(fleet: Fleet, victim: str) -> float:
    """Kill a process of the panel; return how long it took until the API answered again, in s."""
    began = time.monotonic()
    if victim == "parent":
        fleet.panel.kill()
        fleet.panel.start()
    else:
        prefix = "wgfleet-api-" if victim == "api-all" else f"wgfleet-{victim}"
        for pid in processes.named(fleet.panel.pid, prefix):
            os.kill(pid, signal.SIGKILL)
    fleet.wait(lambda: _answers(fleet), "the API answers", PATIENCE_S, every_s=0.01)
    return time.monotonic() - began


def _answers(fleet: Fleet) -> bool:
    try:
        caller = fleet.caller()
        try:
            caller.get("/api/nodes?limit=1")
        finally:
            caller.close()
    except OSError:
        return False
    return True


def one_round(fleet: Fleet, dying: Doomed, victim: str, after_s: float) -> dict[str, Any]:
    """Let a node die and kill a process; return its figures."""
    time.sleep(REST_S)
    group = dying.group
    waiting = set(group.peers[dying.node_id].values())
    fleet.ask("take_calls")
    died, died_wall = time.monotonic(), fleet.ask("die", dying.address)
    caller = fleet.caller()
    made = caller.post(f"/api/configs/{group.name}/peers", {"name": f"before-{time.time_ns()}"})
    caller.close()
    time.sleep(max(0.0, died + after_s - time.monotonic()))
    gap_s = None if victim == "none" else kill(fleet, victim)
    calls: list[float] = []
    counted: Counter[str] = Counter()

    def ended() -> bool:
        for call in fleet.ask("take_calls"):
            calls.append(call.at - died)
            counted.update(call.keys)
        return waiting <= counted.keys() and not fleet.database.unfinished()

    def arrived() -> bool:
        return bool(fleet.ask("holders", group.name, made["public_key"]) >= dying.left)

    in_time = True
    try:
        fleet.wait(ended, "the failover ends", PATIENCE_S, every_s=0.05)
        fleet.wait(arrived, "the new peer is on all nodes", PATIENCE_S, every_s=0.05)
    except SystemExit:
        in_time = False
    down = fleet.database.down_at(dying.node_id, died_wall)
    return {
        "decided_s": None if down is None else down - died_wall,
        "first_call_s": min(calls, default=None),
        "all_called_s": max(calls, default=None),
        "api_answers_s": gap_s,
        "calls_per_peer": sum(counted[key] for key in waiting) / len(waiting),
        "lost": 0 if in_time else len(waiting - counted.keys()) + fleet.database.unfinished() + (not arrived()),
    }


def shown(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the figures of the rounds with one victim."""
    found: dict[str, Any] = {"rounds": len(rounds), "lost": sum(each["lost"] for each in rounds)}
    for name in FIGURES:
        values = [each[name] for each in rounds if each[name] is not None]
        if values:
            found[name] = {"median": round(statistics.median(values), 2), "longest": round(max(values), 2)}
    return found


def measure(rounds: int, configs: int, peers: int, within_s: float, *, postgresql: bool) -> dict[str, Any]:
    """Make a fleet, and let its nodes die one after another, each victim in turn."""
    chance = random.Random(1)  # noqa: S311 - no secret
    by_victim: dict[str, list[dict[str, Any]]] = defaultdict(list)
    with tempfile.TemporaryDirectory(prefix="wgfleet-bench-") as place:
        shape = Shape(configs * NODES, peers, configs, 0.2)
        with Fleet(shape, Path(place), postgresql=postgresql) as fleet:
            fleet.join()
            fleet.people()
            measures.first_sync(fleet)
            measures.settled(fleet)
            for number, dying in enumerate(doomed(fleet, rounds)):
                victim = VICTIMS[number % len(VICTIMS)]
                by_victim[victim].append(one_round(fleet, dying, victim, chance.uniform(0, within_s)))
    return {
        "database": "postgresql" if postgresql else "sqlite",
        "nodes": configs * NODES,
        "load_average": os.getloadavg()[0],
        **{victim: shown(found) for victim, found in by_victim.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=24, help="a fifth of them kills nothing")
    parser.add_argument("--configs", type=int, default=8, help="of six nodes each, of which three may die")
    parser.add_argument("--peers", type=int, default=50, help="live peers of each node")
    parser.add_argument("--within", type=float, default=1.5, help="s after the death of the node")
    parser.add_argument("--postgresql", action="store_true")
    options = parser.parse_args()
    if options.rounds > options.configs * NODES // 2:
        raise SystemExit("of a config three nodes may die: more rounds take more configs")
    found = measure(options.rounds, options.configs, options.peers, options.within, postgresql=options.postgresql)
    sys.stdout.write(json.dumps(found, indent=2) + "\n")
    if lost := sum(found[victim]["lost"] for victim in VICTIMS if victim in found):
        raise SystemExit(f"{lost} were lost")


if __name__ == "__main__":
    main()
