"""Homes for peers over 200 nodes, beside nothing but as many operations on a heap.

JSON: seconds for 100,000 peers and for half as many (best of three), the plain loop's, `ratio` to it, and `growth`
from half to whole, which is 2 where the cost of a peer does not depend on how many there are.
"""

import json
import time
from collections.abc import Callable
from heapq import heapify, heapreplace

from wgfleet.panel.domain.placement.place import Candidate, Unplaced, place
from wgfleet.protocol.ids import NodeGroupId, NodeId, PeerId

PEERS = 100_000
NODES = 200
GROUPS = 10


def fleet(count: int) -> list[Candidate]:
    return [
        Candidate(
            node_id=NodeId(f"n{number:03}"),
            group_id=NodeGroupId(f"g{number % GROUPS}"),
            priority=number % GROUPS // 2,
            weight=1 + number % 3,
            capacity=2 * PEERS // count,
            load=number,
        )
        for number in range(count)
    ]


def crowd(count: int) -> list[Unplaced]:
    return [
        Unplaced(PeerId(f"p{number:06}"), NodeGroupId(f"g{number % GROUPS}") if number % 2 else None)
        for number in range(count)
    ]


def plain(count: int) -> None:
    heap = [(1.0, f"n{number:03}") for number in range(NODES)]
    heapify(heap)
    homes = {}
    for number in range(count):
        burden, node_id = heap[0]
        homes[number] = node_id
        heapreplace(heap, (burden + 1.0, node_id))


def best(work: Callable[[], object]) -> float:
    def timed() -> float:
        begin = time.perf_counter()
        work()
        return time.perf_counter() - begin

    return min(timed() for _ in range(3))


def main() -> None:
    nodes, whole, half = fleet(NODES), crowd(PEERS), crowd(PEERS // 2)
    whole_s, half_s = best(lambda: place(whole, nodes)), best(lambda: place(half, nodes))
    plain_s = best(lambda: plain(PEERS))
    few_s = best(lambda: place(whole, fleet(NODES // 10)))
    print(
        json.dumps(
            {
                "bench": "placement",
                "peers": PEERS,
                "nodes": NODES,
                "seconds": round(whole_s, 3),
                "seconds_half_the_peers": round(half_s, 3),
                "seconds_a_tenth_of_the_nodes": round(few_s, 3),
                "plain_heap_seconds": round(plain_s, 3),
                "ratio": round(whole_s / plain_s, 2),
                "growth": round(whole_s / half_s, 2),
            }
        )
    )


main()
