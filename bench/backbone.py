"""What it costs a node that peers move: routes in the kernel, and news between agents.

JSON, in microseconds of CPU a peer: `routes` by how many change at once (1, 64, 20,000, and 200,000 for the first
time), with `wall_ms` of each; `told`, `heard`: news of 20,000 peers written and taken in; `read`: the routes compared.
Needs root: it makes a VXLAN device in a network namespace of its own.
"""

import asyncio
import ctypes
import hashlib
import json
import os
import subprocess
import time
from collections.abc import Coroutine
from typing import Any

from wgfleet.agent.interfaces.whereabouts import Whereabouts
from wgfleet.agent.kernel import peer_routes
from wgfleet.agent.kernel.backbone_rules import BackboneNames
from wgfleet.protocol.backbone import News, address, decode, encode
from wgfleet.protocol.ids import InterfaceName

PEERS = 20_000
ALL = 200_000
_NEW_NETWORK = 0x40000000
NAMES = BackboneNames(InterfaceName("lo"), 52820)


def network(number: int) -> str:
    return f"10.{8 + (number >> 16)}.{(number >> 8) & 255}.{number & 255}/32"


async def timed(work: Coroutine[Any, Any, object], count: int) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    await work
    return (time.process_time() - cpu) / count * 1e6, (time.perf_counter() - wall) * 1e3


async def routes() -> dict[str, Any]:
    found: dict[str, Any] = {}
    for count, node in ((ALL, 2), (PEERS, 3), (64, 4), (1, 5)):
        targets: dict[str, str | None] = {network(number): address(node) for number in range(count)}
        cost, wall = await timed(peer_routes.change(NAMES, targets), count)
        found[str(count)] = {"us": round(cost, 1), "wall_ms": round(wall, 2)}
    cost, wall = await timed(peer_routes.networks(NAMES), ALL)
    return {"routes": found, "read": {"us": round(cost, 1), "wall_ms": round(wall, 1)}}


def news() -> dict[str, Any]:
    one, other = (Whereabouts(number, 1, lambda _, claimed: claimed) for number in (1, 2))
    for number in range(PEERS):
        one.seen(hashlib.sha256(str(number).encode()).digest(), 5.0, (network(number),))
    started = time.process_time()
    datagrams = [encode(each) for each in one.news(0, 6.0, PEERS)]
    told = time.process_time() - started
    started = time.process_time()
    for datagram in datagrams:
        message = decode(datagram)
        if isinstance(message, News):
            other.heard(1, message, 6.0)
    heard = time.process_time() - started
    other.take_moved()
    return {
        "told": round(told / PEERS * 1e6, 1),
        "heard": round(heard / PEERS * 1e6, 1),
        "datagrams": len(datagrams),
        "bytes": sum(map(len, datagrams)),
    }


def main() -> None:
    if ctypes.CDLL(None, use_errno=True).unshare(_NEW_NETWORK) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    vxlan = ["ip", "link", "add", NAMES.tunnel, "type", "vxlan", "external", "gpe", "dstport", "53820"]
    for command in (["ip", "link", "set", "lo", "up"], vxlan, ["ip", "link", "set", NAMES.tunnel, "up"]):
        subprocess.run(command, check=True)
    print(json.dumps({**news(), **asyncio.run(routes())}))


if __name__ == "__main__":
    main()
