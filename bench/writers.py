"""Waits for the writer's turn of SQLite: of a core's threads, while the API's processes write without a pause.

Prints one JSON object: how long a write of the first took, in s, alone and beside the others, by an ordinary thread and
by one that goes first, as those of decisions do; and the ratio.

Usage, from the top of the repository:
.venv/bin/python -m bench.writers [--processes 3] [--threads 16] [--seconds 10]
"""

import argparse
import json
import multiprocessing
import os
import statistics
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.synchronize import Event
from pathlib import Path

from wgfleet.panel.services import audit
from wgfleet.panel.store import Store, turns
from wgfleet.panel.store.schema import migrate

PAUSE_S = 0.05


def write(store: Store) -> None:
    with store.write() as tx:
        for _ in range(10):
            audit.record(tx, "bench", "written", "bench", "1")


def flood(url: str, threads: int, stop: Event) -> None:
    store = Store(url)

    def work() -> None:
        while not stop.is_set():
            write(store)

    working = [threading.Thread(target=work) for _ in range(threads)]
    for thread in working:
        thread.start()
    for thread in working:
        thread.join()


def measure(store: Store, seconds: float) -> list[float]:
    taken, end = [], time.monotonic() + seconds
    while time.monotonic() < end:
        began = time.monotonic()
        write(store)
        taken.append(time.monotonic() - began)
        time.sleep(PAUSE_S)
    return taken


def both(store: Store, seconds: float) -> dict[str, dict[str, float]]:
    """Measure an ordinary thread and one that goes first, beside each other."""
    with ThreadPoolExecutor(1) as ordinary, ThreadPoolExecutor(1, initializer=turns.go_first) as first:
        waiting = {name: pool.submit(measure, store, seconds) for name, pool in (("any", ordinary), ("first", first))}
        return {name: shown(each.result()) for name, each in waiting.items()}


def shown(taken: list[float]) -> dict[str, float]:
    ordered = sorted(taken)
    return {
        "writes": len(taken),
        "median_s": round(statistics.median(taken), 4),
        "p99_s": round(ordered[int(len(ordered) * 0.99)], 4),
        "longest_s": round(ordered[-1], 4),
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--processes", type=int, default=3)
    parser.add_argument("--threads", type=int, default=16, help="of each")
    parser.add_argument("--seconds", type=float, default=10.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{Path(folder) / 'panel.sqlite'}"
        store = Store(url)
        migrate(store)
        context = multiprocessing.get_context("spawn")
        stop = context.Event()
        alone = both(store, options.seconds)
        others = [context.Process(target=flood, args=(url, options.threads, stop)) for _ in range(options.processes)]
        for other in others:
            other.start()
        time.sleep(2)
        beside = both(store, options.seconds)
        stop.set()
        for other in others:
            other.join()
        store.close()
    figures = ("median_s", "p99_s", "longest_s")
    ratio = {who: {key: round(beside[who][key] / alone[who][key], 1) for key in figures} for who in alone}
    load = os.getloadavg()[0]
    print(json.dumps({"alone": alone, "beside_floods": beside, "ratio": ratio, "load_average": load}, indent=2))


if __name__ == "__main__":
    main()
