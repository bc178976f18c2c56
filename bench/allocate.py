"""What an address costs when 100,000 are in use, beside what any row costs.

For SQLite and PostgreSQL, a JSON object each: the time of one transaction that gives a peer an IPv4 and an IPv6
address (p50 and p99 in ms) with 1,000 and with 100,000 peers, and out of 10,000 gaps; of a transaction that inserts one
row, taken in turn with the former; and the time of a batch of 1,000 when the pool was empty and when it held 99,000.
`ratio` is allocation to insert, `growth` is 100,000 to 1,000 peers. The PostgreSQL server does not wait for its disk.
"""

import json
import tempfile
import time
from contextlib import ExitStack
from statistics import quantiles

from sqlalchemy import insert

from tests.panel.store.networks import add_config, add_peers, add_pool
from tests.postgresql import postgresql_server
from wgfleet.panel.store import Store, addresses
from wgfleet.panel.store.schema import migrate
from wgfleet.panel.store.tables import FreeOffset, Pool

PEERS = 100_000
BATCH = 1_000
GAPS = 10_000
SINGLES = 500


class Bench:
    def __init__(self, url: str) -> None:
        self.store = Store(url)
        migrate(self.store)
        self.made = 0
        self.rows = 0
        with self.store.write() as tx:
            add_config(tx, "c")
            self.pools = [add_pool(tx, "c", network) for network in ("10.0.0.0/14", "fd00:8::/64")]
            self.elsewhere = add_pool(tx, "c", "172.16.0.0/12")

    def peers(self, count: int) -> list[str]:
        with self.store.write() as tx:
            names = add_peers(tx, "c", (f"p{number:06}" for number in range(self.made, self.made + count)))
        self.made += count
        return names

    def batches(self, total: int) -> list[float]:
        """Give addresses to `total` new peers, and return the seconds of each batch of 1,000."""
        return [allocation(self.store, self.pools, self.peers(BATCH)) for _ in range(total // BATCH)]

    def insert(self) -> float:
        self.rows += 1
        row = {"pool_id": self.elsewhere.id, "offset": self.rows}
        begin = time.perf_counter()
        with self.store.write() as tx:
            tx.session.execute(insert(FreeOffset.__table__), [row])  # type: ignore[arg-type]
        return time.perf_counter() - begin

    def singles(self) -> dict[str, float]:
        """Time allocations for one peer each, in turn with inserts of one row."""
        names = self.peers(SINGLES)
        pairs = [(allocation(self.store, self.pools, [name]), self.insert()) for name in names]
        allocated, inserted = percentiles([pair[0] for pair in pairs]), percentiles([pair[1] for pair in pairs])
        return {
            "allocate_p50_ms": allocated[0],
            "allocate_p99_ms": allocated[1],
            "insert_p50_ms": inserted[0],
            "insert_p99_ms": inserted[1],
            "ratio": round(allocated[0] / inserted[0], 2),
        }

    def run(self) -> dict[str, object]:
        first = self.batches(BATCH)
        few = self.singles()
        rest = self.batches(PEERS - BATCH)
        many = self.singles()
        with self.store.write() as tx:
            addresses.release(tx, [f"p{number:06}" for number in range(0, PEERS, PEERS // GAPS)])
        gaps = self.singles()
        self.store.close()
        return {
            "peers": PEERS,
            "batch_of_1000_ms_empty": round(first[0] * 1000, 1),
            "batch_of_1000_ms_full": round(rest[-1] * 1000, 1),
            "at_1000": few,
            "at_100000": many,
            "at_100000_from_gaps": gaps,
            "ratio": many["ratio"],
            "growth": round(many["allocate_p50_ms"] / few["allocate_p50_ms"], 2),
        }


def allocation(store: Store, pools: list[Pool], names: list[str]) -> float:
    begin = time.perf_counter()
    with store.write() as tx:
        addresses.allocate(tx, pools, names)
    return time.perf_counter() - begin


def percentiles(seconds: list[float]) -> tuple[float, float]:
    cuts = quantiles(seconds, n=100)
    return round(cuts[49] * 1000, 3), round(cuts[98] * 1000, 3)


def main() -> None:

    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        postgresql = stack.enter_context(stack.enter_context(postgresql_server()).database())
        for name, url in (("sqlite", f"sqlite:///{folder}/panel.sqlite"), ("postgresql", postgresql)):
            print(json.dumps({"bench": "allocate", "database": name, **Bench(url).run()}), flush=True)


main()
