"""Sums of usage of 100,000 peers on 200 nodes, as API and page ask for them.

Prints one JSON object, in ms for each question, the best of three; `rows`: those of usage that it is about. The peers
are spread over `configs`, each of which is on all nodes.

Usage, from the top of the repository: .venv/bin/python -m bench.usage [--days 2] [--configs 10]
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

from sqlalchemy import insert

from wgfleet.panel.services import usage
from wgfleet.panel.services.usage import By, Per, UsageQuestion
from wgfleet.panel.store import Store, schema, summed_usage
from wgfleet.panel.store.tables import UsageCounter, UsageHour

PEERS = 100_000
NODES = 200
FIRST = 490_008  # hour, at which a day begins
TRIES = 3


def fill(store: Store, configs: int, hours: int) -> None:
    """Have each peer use something in each hour, at one node."""
    counters = [
        {
            "id": number,
            "node_id": f"n{number % NODES:03}",
            "config_id": f"c{number // NODES % configs}",
            "public_key": f"k{number}",
            "peer_id": f"p{number:06}",
            "life": 1,
            "claimed_received": 0,
            "claimed_sent": 0,
            "former": False,
        }
        for number in range(1, PEERS + 1)
    ]
    with store.write() as tx:
        tx.session.execute(insert(UsageCounter), counters)
    for hour in range(FIRST, FIRST + hours):
        with store.write() as tx:
            rows = [
                {"counter_id": number, "hour": hour, "received": 1000, "sent": 2000} for number in range(1, PEERS + 1)
            ]
            tx.session.execute(insert(UsageHour), rows)
            summed_usage.add(tx, ((hour, each["config_id"], each["node_id"], 1000, 2000) for each in counters))


def questions(hours: int) -> dict[str, UsageQuestion]:
    until = FIRST + hours
    day = (max(FIRST, until - 24), until)
    return {
        "day_by_hour_and_config": UsageQuestion(Per.HOUR, By.CONFIG, *day),
        "day_by_hour_and_node": UsageQuestion(Per.HOUR, By.NODE, *day),
        "day_by_config": UsageQuestion(Per.TOTAL, By.CONFIG, *day),
        "day_by_node": UsageQuestion(Per.TOTAL, By.NODE, *day),
        "all_by_hour_and_config": UsageQuestion(Per.HOUR, By.CONFIG, FIRST, until),
        "all_by_day_and_config": UsageQuestion(Per.DAY, By.CONFIG, FIRST, until),
        "all_by_month_and_config": UsageQuestion(Per.MONTH, By.CONFIG, FIRST, until),
        "day_of_a_node": UsageQuestion(Per.HOUR, By.CONFIG, *day, node_id="n007"),
        "day_of_a_peer": UsageQuestion(Per.HOUR, By.CONFIG, *day, peer_id="p000777"),
        "day_by_peer": UsageQuestion(Per.TOTAL, By.PEER, *day),
    }


def best_ms(store: Store, asked: UsageQuestion) -> float:
    found = []
    for _ in range(TRIES):
        began = time.perf_counter()
        with store.read() as tx:
            usage.sums(tx, asked, None, 500)
        found.append(time.perf_counter() - began)
    return round(min(found) * 1000, 1)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--days", type=int, default=2)
    parser.add_argument("--configs", type=int, default=10)
    given = parser.parse_args()
    hours = given.days * 24 - 5  # a day that is not over
    with tempfile.TemporaryDirectory() as directory:
        store = Store(f"sqlite:///{Path(directory) / 'panel.sqlite'}")
        schema.migrate(store)
        fill(store, given.configs, hours)
        figures: dict[str, float] = {"rows": PEERS * hours, "configs": given.configs}
        figures |= {name: best_ms(store, asked) for name, asked in questions(hours).items()}
        store.close()
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
