"""Callers of the panel's API: how long their calls take, one at a time and several beside each other."""

import random
import statistics
import threading
import time
from collections.abc import Callable, Sequence
from itertools import count

from bench.simulated.panel import Caller, CallError

Call = Callable[[Caller], object]
LEAST = 5


def calls(config: str, peers: Sequence[str]) -> dict[str, Call]:
    """Return what is called, by name. `peers` are ids of some that there are."""
    chosen = random.Random(1)  # noqa: S311 - which peer is shown is no secret
    return {
        "list_nodes": lambda caller: caller.get("/api/nodes?limit=100"),
        "list_peers": lambda caller: caller.get(f"/api/configs/{config}/peers?limit=100"),
        "search_peers": lambda caller: caller.get(f"/api/configs/{config}/peers?limit=100&search=r-19"),
        "get_peer": lambda caller: caller.get(f"/api/peers/{chosen.choice(peers)}"),
        "create_peer": lambda caller: caller.post(f"/api/configs/{config}/peers", {"name": f"b{time.time_ns()}"}),
    }


def latency(make: Callable[[], Caller], call: Call, clients: int, seconds: float) -> dict[str, float]:
    """Have clients call without a pause, each `LEAST` times or more; return what their calls took, in ms.

    `refused`: how many calls the panel could not answer at the moment.
    """
    taken: list[float] = []
    refused: list[CallError] = []
    failed: list[BaseException] = []

    def work(caller: Caller) -> None:
        until = time.monotonic() + seconds
        try:
            for number in count():
                began = time.monotonic()
                if number >= LEAST and began > until:
                    return
                try:
                    call(caller)
                except CallError as error:
                    if not error.passes:
                        raise
                    refused.append(error)
                taken.append(time.monotonic() - began)
        except Exception as error:  # noqa: BLE001 - it is raised below, in the thread that waits
            failed.append(error)
        finally:
            caller.close()

    callers = [make() for _ in range(clients)]
    threads = [threading.Thread(target=work, args=(caller,)) for caller in callers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]
    ordered = sorted(taken)
    return {
        "calls": len(ordered),
        "refused": len(refused),
        "p50_ms": round(statistics.median(ordered) * 1000, 2),
        "p99_ms": round(ordered[int(len(ordered) * 0.99)] * 1000, 2),
    }
