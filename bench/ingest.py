"""What telemetry costs the panel: from lines of a watch stream to what is due for the rows, and from there into them.

Prints one JSON object, in µs of CPU. A sample is what a node reports on one peer. `floor_us` is what the same machine
takes in the same run for the least that has to be done: the same lines decoded, and the same rows inserted bare.

Usage, from the top of the repository: .venv/bin/python -m bench.ingest [--peers 1000] [--messages 100]
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, cast

import msgspec

from bench.simulated import floors
from bench.simulated.database import PanelDatabase
from tests.panel.world import World
from wgfleet.panel.agents.watch_messages import WatchMessages
from wgfleet.panel.reconcile.agents.connection import AgentConnection
from wgfleet.panel.services import usage
from wgfleet.panel.services.usage import NodeBatch
from wgfleet.panel.store import sessions as session_rows
from wgfleet.panel.store.sessions import NodeSessions
from wgfleet.protocol.ids import ConfigId, Generation, InterfaceName
from wgfleet.protocol.keys import PublicKey, raw_to_text
from wgfleet.protocol.messages import Change, InterfaceReport, WatchMessage
from wgfleet.protocol.observed import PeerStats
from wgfleet.protocol.usage import UsageBatch, UsageRow

if TYPE_CHECKING:
    from wgfleet.panel.agents.client import AgentClient
    from wgfleet.panel.store import Store

TRIES = 5
SHAKE_EVERY = 100  # messages of a peer until it has another handshake


def stats_of(number: int, step: int) -> PeerStats:
    shaken = 1_764_000_000 + 120 * ((step + number) // SHAKE_EVERY)
    return PeerStats(f"203.0.113.1:{1024 + number}", shaken, 10**9 + 1500 * step + number, 10**10 + 1500 * step)


def lines(peers: int, messages: int) -> list[bytes]:
    """Return what a node says whose peers all send."""
    keys = [PublicKey(raw_to_text(number.to_bytes(32))) for number in range(peers)]
    found = []
    for step in range(messages):
        stats = {key: stats_of(number, step) for number, key in enumerate(keys)}
        report = InterfaceReport(InterfaceName("wg0"), ConfigId("c"), Generation(1), True, "in sync", peers=stats)
        found.append(msgspec.json.encode(Change(1_764_000_000.0 + step, (report,))))
    return found


def least_us(count: int, work: Callable[[int], object]) -> float:
    """Return the CPU time of `work` for each of `count`, the least of a few tries. `work` is given the try's number."""
    found = []
    for number in range(TRIES):
        began = time.process_time()
        work(number)
        found.append((time.process_time() - began) / count * 1e6)
    return min(found)


def take_in(said: list[bytes]) -> None:
    """Take in all lines, and what is due of each."""
    line = AgentConnection("n", cast("AgentClient", nullcontext()), cast("Store", None), lambda: None)
    read = WatchMessages("agent").read
    for each in said:
        if (message := read(each)) is not None:
            line._take(message)  # noqa: SLF001 - as the stream gives it
            line.take_reports()


def decode(said: list[bytes]) -> None:
    decoder = msgspec.json.Decoder(WatchMessage)
    for each in said:
        decoder.decode(each)


def rows(peers: int) -> tuple[float, float]:
    """Write what a node reported on each of its peers; return the cost of a row, and of a bare one."""
    with tempfile.TemporaryDirectory(prefix="wgfleet-bench-") as place:
        url = f"sqlite:///{Path(place) / 'panel.sqlite'}"
        world = World.open(url)
        config = world.config(pools=("10.64.0.0/16",))
        (node,) = world.serving(config, "fra1")
        keys = [peer.public_key for peer in world.peers(config, *(f"p{number}" for number in range(peers)))]

        def write(step: int) -> None:
            stats = {key: stats_of(number, step) for number, key in enumerate(keys)}
            with world.store.write() as tx:
                session_rows.record(tx, [NodeSessions(node.id, config.id, stats)], float(step))

        us = least_us(peers, write)
        world.store.close()
        database = PanelDatabase(url)
        bare = floors.insert_floor(database, peers, None)
        database.close()
    return us, bare.us_per_row


def usage_us(peers: int) -> float:
    """Write what a node counted of each of its peers; return the cost of a row, with all that hangs on it."""
    with tempfile.TemporaryDirectory(prefix="wgfleet-bench-") as place:
        world = World.open(f"sqlite:///{Path(place) / 'panel.sqlite'}")
        config = world.config(pools=("10.64.0.0/16",))
        (node,) = world.serving(config, "fra1")
        keys = [PublicKey(peer.public_key) for peer in world.peers(config, *(f"p{number}" for number in range(peers)))]
        asked = usage.NONE

        def write(step: int) -> None:
            nonlocal asked
            at = time.time()
            rows = tuple(UsageRow(key, 1, int(at), 1500 * (step + 1), 1500 * (step + 1)) for key in keys)
            batch = NodeBatch(node.id, UsageBatch("e", step + 1, at, {ConfigId(config.id): rows}), asked)
            with world.store.write() as tx:
                asked = usage.take(tx, [batch], at)[node.id]

        found = least_us(peers, write)
        world.store.close()
    return found


def compared(us: float, floor_us: float) -> dict[str, float]:
    return {"us": round(us, 2), "floor_us": round(floor_us, 2), "ratio": round(us / floor_us, 2)}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--peers", type=int, default=1000)
    parser.add_argument("--messages", type=int, default=100)
    options = parser.parse_args()
    said = lines(options.peers, options.messages)
    samples = options.peers * options.messages
    taken = least_us(samples, lambda _: take_in(said))
    found = {
        "sample_to_due": compared(taken, least_us(samples, lambda _: decode(said))) | {"a_second": round(1e6 / taken)},
        "row_written": compared(*rows(options.peers)),
        "usage_row_written": {"us": round(written := usage_us(options.peers), 2), "a_second": round(1e6 / written)},
        "bytes_a_sample": len(said[0]) // options.peers,
    }
    sys.stdout.write(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
