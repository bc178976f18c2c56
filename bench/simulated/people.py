"""Rows of a large installation, written through the services where bench/api.py does not measure the writing."""

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import insert

from wgfleet.panel.services import configs
from wgfleet.panel.services.configs import ConfigSpec
from wgfleet.panel.services.fleet import nodes, peers
from wgfleet.panel.services.fleet.nodes import NodeSpec
from wgfleet.panel.services.fleet.peers import MAX_BATCH, PeerSpec
from wgfleet.panel.store import Store, Tx
from wgfleet.panel.store import peers as peer_rows
from wgfleet.panel.store.tables import PeerSession
from wgfleet.panel.vault import load_vault

ACTOR = "bench"
FIRST = (
    "anna", "Bert", "carlos", "dora", "Éloïse", "fatemeh", "Günther", "hassan", "ivan", "Jürgen", "مریم", "علی",
    "زهرا", "حسین", "Ольга", "さくら",
)  # fmt: skip
DEVICES = ("phone", "laptop", "Tablet", "desk", "لپتاپ", "گوشی", "router", "watch")


def name_of(number: int) -> str:
    """Return a person's name for a peer; no two numbers have the same."""
    return f"{FIRST[number % len(FIRST)]}-{DEVICES[number // len(FIRST) % len(DEVICES)]}-{number}"


@dataclass(frozen=True, slots=True)
class People:
    """What was written: configs by name with ids of some of their peers, and all nodes without an agent."""

    peers: dict[str, list[str]]
    nodes: list[str]


def fill(
    url: str, data_dir: Path, names: Sequence[str], per_config: int, node_count: int, *, first_place: int = 0
) -> People:
    """Make configs of `per_config` peers that live on nodes without an agent, each with a session.

    Without new nodes they live on those that there are. `first_place`: how many configs were made before.
    """
    store, vault = Store(url), load_vault(data_dir, {}, make=False)
    made: dict[str, list[str]] = {}
    try:
        with store.write() as tx:
            nodes_made = [
                nodes.create(tx, ACTOR, NodeSpec(f"idle{number}", [f"198.19.{number // 250}.{number % 250 + 1}"])).id
                for number in range(node_count)
            ] or [node.id for node in nodes.page(tx, limit=1000)]
        for place, name in enumerate(names, first_place):
            with store.write() as tx:
                spec = ConfigSpec(name, "cluster", (f"10.{100 + place}.0.0/16",), listen_port=52000 + place)
                config_id = configs.create(tx, vault, ACTOR, spec).id
            made[name] = []
            for first in range(0, per_config, MAX_BATCH):
                numbers = range(first, min(first + MAX_BATCH, per_config))
                drafts = peers.draft(vault, [PeerSpec(name_of(number)) for number in numbers])
                with store.write() as tx:
                    rows = peers.create(tx, ACTOR, configs.get(tx, config_id), drafts).peers()
                    _live(tx, [row.id for row in rows], nodes_made)
                made[name] += [row.id for row in rows]
        analyze(store)
    finally:
        store.close()
    return People(made, nodes_made)


def analyze(store: Store) -> None:
    """Do what PostgreSQL's autovacuum does within a minute or two.

    Until then it reads whole tables for a page, and rows for what its indexes have.
    """
    if store.engine.dialect.name == "postgresql":
        with store.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("VACUUM (ANALYZE)")


def _live(tx: Tx, peer_ids: Sequence[str], node_ids: Sequence[str]) -> None:
    if not node_ids:
        return
    at = int(time.time())
    homes: dict[Any, Any] = {peer_id: node_ids[i % len(node_ids)] for i, peer_id in enumerate(peer_ids)}
    peer_rows.rehome(tx, homes)
    rows = [
        {
            "peer_id": peer_id,
            "node_id": home,
            "endpoint": "198.18.200.200:10000",
            "latest_handshake": at - random.randrange(120),  # noqa: S311 - no secret
            "rx": 1,
            "tx": 1,
            "seen_at": float(at),
        }
        for peer_id, home in homes.items()
    ]
    tx.session.connection().execute(insert(PeerSession), rows)
