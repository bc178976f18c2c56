"""What a fleet costs the panel: simulated agents over real TLS, real handshakes for its probes, a real `panel run`.

Prints one JSON object. CPU is % of one core. `floor` is what the same machine takes in the same run for the least that
has to be done: the same rows inserted bare (`us_per_row`), messages of the same size echoed bare over TLS; `ratios`
compare with it, so they may be compared between machines, and `--smoke` fails on them alone.

Usage, from the top of the repository:
.venv/bin/python -m bench.fleet [--nodes 20] [--peers 200] [--configs 2] [--seconds 60] [--postgresql] [--smoke]
"""

import argparse
import json
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from bench.simulated import floors, measures, ratios
from bench.simulated.fleet import Fleet, Shape
from bench.simulated.measures import Figures

SMOKE = Shape(nodes=8, peers=100, configs=2, share=0.2)
SMOKE_S, CALLS_S, SMOKE_CALLS_S = 25.0, 3.0, 0.7


def measure(shape: Shape, seconds: float, calls_s: float, *, postgresql: bool) -> Figures:
    """Make a fleet, measure it, and take it down."""
    with tempfile.TemporaryDirectory(prefix="wgfleet-bench-") as place:
        with Fleet(shape, Path(place), postgresql=postgresql) as fleet:
            fleet.join()
            fleet.people()
            found: Figures = {
                "shape": asdict(shape) | {"database": "postgresql" if postgresql else "sqlite"},
                "first_sync": measures.first_sync(fleet),
                "sessions": measures.settled(fleet),
                "ledger": measures.counted(fleet) if shape != SMOKE else None,
                "window": measures.window(fleet, seconds),
                "latency": measures.latency(fleet, calls_s),
                "restart": measures.restart(fleet),
                "dead_nodes": measures.dead_nodes(fleet),
            }
            fleet.panel.stop()
            window = found["window"]
            insert = floors.insert_floor(fleet.database, round(window["rows_written_s"]), fleet.pids.get("postgresql"))
        echo = floors.echo_floor(shape.nodes, window["bytes_per_message"])
    found["floor"] = {**asdict(insert), **asdict(echo), "us_per_probe": floors.probe_floor()}
    found["ratios"] = ratios.of(found)
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--nodes", type=int, default=20)
    parser.add_argument("--peers", type=int, default=200, help="live peers of each node")
    parser.add_argument("--configs", type=int, help="default: one for each 10 nodes")
    parser.add_argument("--share", type=float, default=0.2, help="of all counters move in a scan")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--postgresql", action="store_true")
    parser.add_argument("--smoke", action="store_true", help="small and short; fail where a ratio is out of bounds")
    options = parser.parse_args()
    if options.smoke:
        found = measure(SMOKE, SMOKE_S, SMOKE_CALLS_S, postgresql=options.postgresql)
    else:
        configs = options.configs or max(1, options.nodes // 10)
        shape = Shape(options.nodes, options.peers, configs, options.share)
        found = measure(shape, options.seconds, CALLS_S, postgresql=options.postgresql)
    sys.stdout.write(json.dumps(found, indent=2) + "\n")
    if options.smoke and (wrong := ratios.complaints(found["ratios"])):
        raise SystemExit("\n".join(wrong))


if __name__ == "__main__":
    main()
