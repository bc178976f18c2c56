"""Many peers made in one call, while another client writes: how long either waits."""

import asyncio
import time
from itertools import count
from typing import Any

from bench.simulated.clients import Client, figures

BEFORE_S = 1.5


def measure(port: int, key: str, config: str, other: str, peers: int) -> dict[str, Any]:
    """Make `peers` in one call in a config; peers are made one by one in `other` before and meanwhile."""
    return asyncio.run(_measured(port, key, config, other, peers))


async def _measured(port: int, key: str, config: str, other: str, peers: int) -> dict[str, Any]:
    bulk, single = [await Client.open(port, key) for _ in range(2)]
    taken: list[tuple[float, float]] = []
    ended = asyncio.Event()

    async def write() -> None:
        for number in count():
            if ended.is_set():
                return
            began = time.monotonic()
            await single.call("POST", f"/api/configs/{other}/peers", {"name": f"beside{number}"})
            taken.append((began, time.monotonic() - began))

    async with asyncio.TaskGroup() as group:
        group.create_task(write())
        await asyncio.sleep(BEFORE_S)
        began = time.monotonic()
        await bulk.call("POST", f"/api/configs/{config}/peers/batch", {"count": peers})
        took = time.monotonic() - began
        ended.set()
    bulk.close()
    single.close()
    alone = sorted(seconds for at, seconds in taken if at + seconds < began)
    beside = sorted(seconds for at, seconds in taken if at + seconds >= began)
    return {
        "peers": peers,
        "seconds": round(took, 2),
        "writes_before": figures(alone),
        "writes_beside": figures(beside),
    }
