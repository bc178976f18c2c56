"""Wait of one process for the writer's lock of SQLite while the threads of another write without a pause.

Prints one JSON object: how long a write of the first took, in s, alone and beside the other, and the ratio.
"""

import json
import multiprocessing
import statistics
import tempfile
import threading
import time
from multiprocessing.synchronize import Event
from pathlib import Path

from wgfleet.panel.services import audit
from wgfleet.panel.store import Store
from wgfleet.panel.store.schema import migrate

SECONDS, PAUSE_S, THREADS = 10.0, 0.05, 16


def write(store: Store) -> None:
    with store.write() as tx:
        for _ in range(10):
            audit.record(tx, "bench", "written", "bench", "1")


def flood(url: str, stop: Event) -> None:
    store = Store(url)

    def work() -> None:
        while not stop.is_set():
            write(store)

    threads = [threading.Thread(target=work) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def measure(store: Store) -> list[float]:
    taken, end = [], time.monotonic() + SECONDS
    while time.monotonic() < end:
        began = time.monotonic()
        write(store)
        taken.append(time.monotonic() - began)
        time.sleep(PAUSE_S)
    return taken


def shown(taken: list[float]) -> dict[str, float]:
    ordered = sorted(taken)
    return {
        "writes": len(taken),
        "median_s": round(statistics.median(taken), 4),
        "p99_s": round(ordered[int(len(ordered) * 0.99)], 4),
        "longest_s": round(ordered[-1], 4),
    }


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{Path(folder) / 'panel.sqlite'}"
        store = Store(url)
        migrate(store)
        context = multiprocessing.get_context("spawn")
        stop = context.Event()
        alone = shown(measure(store))
        other = context.Process(target=flood, args=(url, stop))
        other.start()
        time.sleep(2)
        beside = shown(measure(store))
        stop.set()
        other.join()
        store.close()
    ratio = {key: round(beside[key] / alone[key], 1) for key in ("median_s", "p99_s", "longest_s")}
    print(json.dumps({"alone": alone, "beside_a_flood": beside, "ratio": ratio}))


if __name__ == "__main__":
    main()
