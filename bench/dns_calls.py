"""Calls that a change of a published name costs at Cloudflare, for names of 1, 10 and 100 nodes.

JSON: reads and writes of each change, counted in the request log of the tests' stand-in; `first` includes the one
read of the zone's name. A change is written by one call, however many records it is.
"""

import json
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.providers.publication import Calls, Panel, panel
from wgfleet.panel.domain.dns.states import SyncState

NODES = (1, 10, 100)


def counted(at: Panel, change: Callable[[], object], converge: Callable[[], object]) -> dict[str, int]:
    with at.counted() as found:
        change()
        converge()
    calls: Calls = found[0]
    return {"reads": calls.reads, "writes": calls.writes}


def measured(at: Panel, count: int) -> dict[str, object]:
    """Publish a name with that many nodes, then add one, remove one, and change the TTL of all."""
    nodes = [at.node(f"n{count}-{number}") for number in range(count + 1)]
    config = at.publish(*nodes[:count])

    def converge() -> None:
        state = at.converge(config)
        if state is not SyncState.SYNCED:
            raise SystemExit(f"{at.name(config)} is {state}")

    return {
        "nodes": count,
        "first": counted(at, lambda: None, converge),
        "add_one": counted(at, lambda: at.serve(config, nodes[count]), converge),
        "remove_one": counted(at, lambda: at.world.remove(config, nodes[0]), converge),
        "change_ttl": counted(at, lambda: at.set_ttl(config, 120), converge),
        "routine": counted(at, lambda: at.cycle(config), lambda: at.cycle(config)),
        "records": len(at.listed(config)),
    }


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, panel(Path(folder)) as at:
        print(json.dumps({"bench": "dns_calls", "names": [measured(at, count) for count in NODES]}))


main()
