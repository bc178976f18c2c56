"""Strangers that connect and say nothing: `python -m wgfleet.lab.idle_connections COUNT SOURCE... -- ADDRESS:PORT...`.

COUNT connections to each door, from the source addresses in turn. What a door closes is opened again after `PAUSE_S`.
Prints a JSON object a second: `open` now, `opened`, `closed` (by the door) and `refused` (or reset) so far. It is a
program of its own, because it runs in a host of the lab.
"""

import asyncio
import json
import sys
from collections import Counter
from itertools import cycle, islice

PAUSE_S = 0.5
EVERY_S = 1.0
CONNECT_S = 10.0


async def _stand_idle(door: tuple[str, int], source: str, counts: Counter[str]) -> None:
    while True:
        try:
            async with asyncio.timeout(CONNECT_S):
                reader, writer = await asyncio.open_connection(*door, local_addr=(source, 0))
        except OSError:
            counts["refused"] += 1
        else:
            counts["opened"] += 1
            counts["open"] += 1
            try:
                while await reader.read(4096):
                    pass
                counts["closed"] += 1
            except OSError:
                counts["closed"] += 1
            finally:
                counts["open"] -= 1
                writer.close()
        await asyncio.sleep(PAUSE_S)


async def _run(count: int, sources: list[str], doors: list[tuple[str, int]]) -> None:
    counts: Counter[str] = Counter(open=0, opened=0, closed=0, refused=0)
    standing = [
        asyncio.create_task(_stand_idle(door, source, counts))
        for door in doors
        for source in islice(cycle(sources), count)
    ]
    while standing:
        await asyncio.sleep(EVERY_S)
        sys.stdout.write(json.dumps(counts) + "\n")
        sys.stdout.flush()


def _main(arguments: list[str]) -> None:
    middle = arguments.index("--")
    doors = [(address, int(port)) for address, _, port in (text.rpartition(":") for text in arguments[middle + 1 :])]
    asyncio.run(_run(int(arguments[0]), arguments[1:middle], doors))


if __name__ == "__main__":
    _main(sys.argv[1:])
