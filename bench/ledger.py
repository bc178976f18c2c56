"""The usage ledger at 10,000 active peers: rows written per second, and what a day adds to the database.

Prints one JSON object a database. A day is written in batches as agents send them, `BATCHES` an hour of each node;
`first_rows_s` are those that begin an hour, `rows_s` all others, which add to it. `ratio`: to `bare_rows_s`, the same
rows inserted bare in the same run. `grown_mb`: what the day has added, with the sums of hours, days and nodes.

Usage, from the top of the repository: .venv/bin/python -m bench.ledger [--nodes 10] [--peers 1000] [--hours 24]
"""

import argparse
import json
import tempfile
import time
from contextlib import ExitStack

from bench.simulated import floors
from bench.simulated.database import PanelDatabase
from tests.panel.world import World
from tests.postgresql import postgresql_server
from wgfleet.panel.services import usage
from wgfleet.panel.services.usage import NodeBatch
from wgfleet.protocol.ids import ConfigId
from wgfleet.protocol.keys import PublicKey
from wgfleet.protocol.usage import UsageBatch, UsageRow

BATCHES = 3
FIRST = 490_008  # hour, at which a day begins
HOUR_S = 3600
SIZES = {
    "sqlite": "SELECT (page_count - freelist_count) * page_size FROM pragma_page_count, pragma_freelist_count, "
    "pragma_page_size",
    "postgresql": "SELECT pg_database_size(current_database())",
}


def measure(url: str, nodes: int, peers: int, hours: int) -> dict[str, object]:
    """Write `hours` of batches of `nodes` nodes with `peers` active peers each."""
    kind = url.split(":", 1)[0].split("+", 1)[0]
    world = World.open(url)
    config = world.config(pools=("10.64.0.0/16",))
    serving = world.serving(config, *(f"n{number}" for number in range(nodes)))
    keys = {
        node.id: [
            PublicKey(peer.public_key) for peer in world.peers(config, *(f"{node.name}-{n}" for n in range(peers)))
        ]
        for node in serving
    }
    asked = dict.fromkeys(keys, usage.NONE)
    seconds = {True: 0.0, False: 0.0}
    database = PanelDatabase(url)
    before = int(str(database.rows(SIZES[kind])[0][0]))
    for step in range(hours * BATCHES):
        at = float(FIRST * HOUR_S + step * HOUR_S // BATCHES + 1)
        for node_id, of_node in keys.items():
            rows = tuple(UsageRow(key, 1, int(at), 1500 * (step + 1), 15000 * (step + 1)) for key in of_node)
            batch = NodeBatch(node_id, UsageBatch("e", step + 1, at, {ConfigId(config.id): rows}), asked[node_id])
            began = time.perf_counter()
            with world.store.write() as tx:
                asked[node_id] = usage.take(tx, [batch], at)[node_id]
            seconds[step % BATCHES == 0] += time.perf_counter() - began
    grown = int(str(database.rows(SIZES[kind])[0][0])) - before
    bare = floors.insert_floor(database, peers, None)
    database.close()
    world.store.close()
    hourly = nodes * peers * hours
    rows_s = hourly * (BATCHES - 1) / seconds[False]
    return {
        "database": kind,
        "active_peers": nodes * peers,
        "hours": hours,
        "rows_s": round(rows_s),
        "first_rows_s": round(hourly / seconds[True]),
        "bare_rows_s": round(bare.rows_s),
        "ratio": round(bare.rows_s / rows_s, 2),
        "grown_mb": round(grown / 1e6, 1),
        "bytes_per_peer_and_hour": round(grown / hourly),
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--nodes", type=int, default=10)
    parser.add_argument("--peers", type=int, default=1000)
    parser.add_argument("--hours", type=int, default=24)
    given = parser.parse_args()
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="wgfleet-bench-"))
        postgresql = stack.enter_context(stack.enter_context(postgresql_server()).database())
        for url in (f"sqlite:///{folder}/panel.sqlite", postgresql):
            print(json.dumps(measure(url, given.nodes, given.peers, given.hours)), flush=True)


if __name__ == "__main__":
    main()
