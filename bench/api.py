"""What people wait for at size: lists, searches, a new peer, 10,000 at once, on a panel with 100,000 peers.

Prints one JSON object. A real `panel run` is called over HTTP on loopback by 1 and by 8 clients on kept-alive
connections. Beside each figure is its floor of the same run: the same rows by the driver alone (`bare_rows_ms`) and an
answer of the same size from memory (`echo_p50_ms`); `ratio` is the median to both. `cpu_ms` is the
panel's CPU for a call, its background work included: on a busy machine it says more than the time.

Usage, from the top of the repository:
.venv/bin/python -m bench.api [--peers 100000] [--configs 10] [--nodes 97] [--seconds 3] [--postgresql]
"""

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

from bench.simulated import api_calls, bulk, measures, people, processes
from bench.simulated.fleet import Fleet, Shape
from bench.simulated.rows import BareRows

AGENTS = 3


def measure(peers: int, configs: int, nodes: int, seconds: float, *, postgresql: bool) -> dict[str, object]:
    """Make the installation, time it, and take it down. One config, `wg0`, is on real lines to simulated agents."""
    each = peers // configs
    with (
        tempfile.TemporaryDirectory(prefix="wgfleet-bench-") as place,
        Fleet(Shape(AGENTS, 0, 1, 0.0), Path(place), postgresql=postgresql) as fleet,
    ):
        fleet.join()
        port, key = fleet.panel.plain_port, fleet.panel.key
        names = [f"big{number}" for number in range(configs - 1)]
        written = people.fill(fleet.database.url, fleet.panel.data, names, each, nodes)
        started = _memory(fleet.panel.pid)
        many = bulk.measure(port, key, "wg0", names[-1], min(each, 10_000))
        fleet.wait(fleet.has_all, "all nodes have everything")
        timed = api_calls.measure(fleet.panel, written, BareRows(fleet.database), seconds)
        return {
            "peers": peers,
            "configs": configs,
            "nodes": nodes + AGENTS,
            "database": "postgresql" if postgresql else "sqlite",
            "load_average": os.getloadavg()[0],
            "calls": timed,
            "many_in_one_call": many,
            "applied_on_all_nodes_ms": measures.applied_ms(fleet),
            "memory_before": started,
            "memory": _memory(fleet.panel.pid),
        }


def _memory(pid: int) -> dict[str, float]:
    """Return the resident memory in MB of the panel's processes by name, and of all with what they share once."""
    found = {name: round(used.rss_mb) for name, used in processes.usage(pid).by_name.items()}
    return {**found, "all_with_shared_once": processes.own_mb(pid)}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--peers", type=int, default=100_000)
    parser.add_argument("--configs", type=int, default=10)
    parser.add_argument("--nodes", type=int, default=97, help="without an agent, beside three that have one")
    parser.add_argument("--seconds", type=float, default=3.0, help="for each call and number of clients")
    parser.add_argument("--postgresql", action="store_true")
    options = parser.parse_args()
    found = measure(options.peers, options.configs, options.nodes, options.seconds, postgresql=options.postgresql)
    sys.stdout.write(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
