"""Server time of each page's first paint at 200 nodes and 100,000 peers, beside the service call that it stands on.

Prints one JSON object. Pages are called in this process as an administrator, with all middleware and nothing between;
`floor_ms` is what the page's main service call takes alone, `ratio` the median to it. `cpu_p50_ms` is this process's
CPU for a page: on a busy machine it says more than the time, and on PostgreSQL it lacks the server's part.

Usage, from the top of the repository:
.venv/bin/python -m bench.pages [--nodes 200] [--peers 100000] [--configs 10] [--rounds 15] [--postgresql]
"""

import argparse
import asyncio
import contextlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx

from bench.simulated import installation
from bench.simulated.installation import Installation
from tests.panel.authority import keep
from tests.postgresql import postgresql_server
from wgfleet.panel import passwords
from wgfleet.panel.api import Panel
from wgfleet.panel.dns.metrics import DnsMetrics
from wgfleet.panel.dns.plugins import DnsPlugins
from wgfleet.panel.dns.publisher import Publisher
from wgfleet.panel.dns.rate_limits import Limiter
from wgfleet.panel.reconcile.engine.events import Events
from wgfleet.panel.services import audit, backups, configs, operations
from wgfleet.panel.services.access import sign_ins, users
from wgfleet.panel.services.access.callers import Role
from wgfleet.panel.services.access.users import UserSpec
from wgfleet.panel.services.dns import commands
from wgfleet.panel.services.fleet import assignments, capacity, nodes, peer_lists, peers
from wgfleet.panel.services.fleet.peer_lists import PeerFilter, PeerOrder
from wgfleet.panel.services.moves import departures
from wgfleet.panel.settings import Settings
from wgfleet.panel.store import Store, Tx
from wgfleet.panel.store.schema import migrate
from wgfleet.panel.vault import load_vault
from wgfleet.panel.web.site import create_site

GOAL_MS = 100.0
PAGE = 51
Floor = Callable[[Tx], object]


def pages(made: Installation) -> dict[str, Floor]:
    """Return the pages, each with the service call that it stands on."""
    config, peer, node = made.configs[0], made.peers[7], "idle7"
    everybody = PeerFilter()

    def serving(tx: Tx) -> object:
        return [assignments.listing(tx, configs.id_of(tx, name)) for name in made.configs]

    def listed(tx: Tx) -> object:
        return peer_lists.page(tx, everybody, 180, PeerOrder.MADE, None, 50, backwards=False)

    def found(tx: Tx) -> object:
        return peer_lists.search(tx, PeerFilter(config_ids=[configs.id_of(tx, config)]), 180, "anna-phone-16", None, 50)

    def of_config(tx: Tx) -> object:
        return assignments.listing(tx, configs.id_of(tx, config))

    def leaving(tx: Tx) -> object:
        return departures.foresee(tx, configs.get(tx, config), nodes.get(tx, node))

    return {
        "/": serving,
        "/peers": listed,
        "/peers?sort=-name": listed,
        f"/peers?config={config}&live=yes": listed,
        f"/peers?config={config}&search=anna-phone-16": found,
        f"/peers?node={node}": listed,
        f"/peers/{peer}": lambda tx: peers.shown(tx, peer),
        f"/peers/{peer}/edit": lambda tx: peers.shown(tx, peer),
        "/peers/new": lambda tx: configs.page(tx, None, PAGE),
        "/configs": lambda tx: configs.page(tx, None, PAGE),
        "/new/config": lambda tx: configs.page(tx, None, 1),
        f"/configs/{config}": of_config,
        f"/configs/{made.configs[1]}": lambda tx: assignments.listing(tx, configs.id_of(tx, made.configs[1])),
        f"/configs/{config}/edit": lambda tx: configs.get(tx, config),
        f"/configs/{config}/capacity": lambda tx: capacity.of_config(tx, configs.get(tx, config), live_within_s=180),
        f"/configs/{config}/nodes/new": of_config,
        f"/configs/{config}/nodes/{node}/remove": leaving,
        f"/configs/{config}/rebalance": of_config,
        "/nodes": lambda tx: nodes.page(tx, None, 1000),
        f"/nodes/{node}": lambda tx: nodes.get(tx, node),
        f"/nodes/{node}/drain": leaving,
        "/operations": lambda tx: operations.page(tx, None, None, None, PAGE),
        f"/operations/{made.operation}": lambda tx: operations.get(tx, made.operation),
        "/events": lambda tx: audit.page(tx, limit=PAGE),
        "/events?kind=changes": lambda tx: audit.page(tx, limit=PAGE),
        f"/events?config={config}": lambda tx: audit.page(tx, limit=PAGE),
        f"/events?node={node}": lambda tx: audit.page(tx, limit=PAGE),
        "/audit": lambda tx: audit.page(tx, limit=PAGE),
        "/backups": lambda tx: backups.page(tx, limit=PAGE),
        "/dns": lambda tx: commands.page(tx, None, None, PAGE),
        "/floating": lambda tx: configs.page(tx, None, PAGE),
        "/devices": lambda tx: configs.page(tx, None, 1),
    }


def measure(options: argparse.Namespace) -> dict[str, object]:
    with _panel(postgresql=options.postgresql) as panel:
        made = installation.fill(panel, options.nodes, options.peers, options.configs, options.audited)
        token = _admin(panel)
        timed = {
            path.replace(made.peers[7], "PEER").replace(made.operation, "OPERATION"): _time(
                panel, token, path, floor, options.rounds
            )
            for path, floor in pages(made).items()
        }
        return {
            "bench": "pages",
            "database": panel.store.engine.dialect.name,
            "nodes": options.nodes,
            "peers": options.peers,
            "configs": options.configs,
            "audit_entries": options.audited,
            "goal_ms": GOAL_MS,
            "load_average": os.getloadavg()[0],
            "slower_than_the_goal": [path for path, found in timed.items() if found["p50_ms"] > GOAL_MS],
            "pages": timed,
        }


@contextlib.contextmanager
def _panel(*, postgresql: bool) -> Iterator[Panel]:
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="wgfleet-bench-")))
        url = f"sqlite:///{folder / 'panel.sqlite'}"
        if postgresql:
            url = stack.enter_context(stack.enter_context(postgresql_server()).database())
        store = Store(url)
        stack.callback(store.close)
        migrate(store)
        settings, vault = Settings(data_dir=folder), load_vault(folder, {}, make=True)
        publisher = Publisher(DnsPlugins.installed(settings), Limiter(store, vault), DnsMetrics())
        yield Panel(store, vault, settings, keep(store, vault), Events(), publisher)


def _admin(panel: Panel) -> str:
    with panel.store.write() as tx:
        _, link = users.create(tx, "bench", UserSpec("admin", Role.ADMIN))
        users.set_password_by_link(tx, link, passwords.hashed("four words that nobody says"))
        tx.flush()
        return sign_ins.begin(tx, panel.vault, sign_ins.claim(tx, "admin"), None, "127.0.0.1", "bench")[1]


def _time(panel: Panel, token: str, path: str, floor: Floor, rounds: int) -> dict[str, Any]:
    async def call() -> tuple[list[float], list[float], httpx.Response]:
        site = httpx.ASGITransport(create_site(panel))
        async with httpx.AsyncClient(transport=site, base_url="http://panel", timeout=600) as client:
            client.cookies.set("wgfleet", token)
            answer = (await client.get(path)).raise_for_status()
            taken, used = [], []
            for _ in range(rounds):
                began, cpu = time.perf_counter(), time.process_time()
                await client.get(path)
                taken.append((time.perf_counter() - began) * 1000)
                used.append((time.process_time() - cpu) * 1000)
            return sorted(taken), sorted(used), answer

    taken, used, answer = asyncio.run(call())
    bare = []
    for _ in range(rounds):
        with panel.store.read() as tx:
            began = time.perf_counter()
            floor(tx)
            bare.append((time.perf_counter() - began) * 1000)
    p50, floor_ms = taken[len(taken) // 2], sorted(bare)[len(bare) // 2]
    return {
        "p50_ms": round(p50, 1),
        "worst_ms": round(taken[-1], 1),
        "cpu_p50_ms": round(used[len(used) // 2], 1),
        "floor_ms": round(floor_ms, 2),
        "ratio": round(p50 / max(floor_ms, 0.001), 1),
        "kb": round(len(answer.content) / 1000, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--nodes", type=int, default=200)
    parser.add_argument("--peers", type=int, default=100_000)
    parser.add_argument("--configs", type=int, default=10)
    parser.add_argument("--audited", type=int, default=200_000, help="entries of the audit log")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--postgresql", action="store_true")
    sys.stdout.write(json.dumps(measure(parser.parse_args()), indent=2) + "\n")


if __name__ == "__main__":
    main()
