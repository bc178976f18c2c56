"""An installation at size, as rows: nodes that serve configs, peers with sessions, and a log of a busy month."""

import random
import time
from dataclasses import dataclass
from typing import Any

from sqlalchemy import insert

from bench.simulated import people
from wgfleet.panel import clock
from wgfleet.panel.api import Panel
from wgfleet.panel.domain.operations import MoveOptions, OperationKind, OperationState
from wgfleet.panel.services import configs, operations
from wgfleet.panel.services.fleet import assignments, nodes
from wgfleet.panel.store import assignments as assignment_rows
from wgfleet.panel.store import nodes as node_rows
from wgfleet.panel.store import operations as operation_rows
from wgfleet.panel.store.tables import AuditEntry, HealthEvent
from wgfleet.protocol.features import Feature

ACTOR = "bench"
OPERATIONS = 2_000
EVENTS = 5_000
"""Of health; each is an entry of the audit log too."""


@dataclass(frozen=True, slots=True)
class Installation:
    """What was written: names of configs, the first on all nodes; ids of its peers, and of an operation."""

    configs: list[str]
    peers: list[str]
    operation: str


def fill(panel: Panel, node_count: int, peer_count: int, config_count: int, audited: int) -> Installation:
    """Write it. The first config is on all nodes and has half of the peers; the others are on a tenth of them."""
    names = [f"big{number}" for number in range(config_count)]
    half, others = peer_count // 2, peer_count // 2 // max(1, config_count - 1)
    url = panel.store.engine.url.render_as_string(hide_password=False)
    made = people.fill(url, panel.settings.data_dir, names[:1], half, node_count)
    made_too = people.fill(url, panel.settings.data_dir, names[1:], others, 0, first_place=1)
    _serve(panel, names)
    _answer(panel)
    operation = _move(panel, names)
    _log(panel, names, [*made_too.peers.get(names[-1], ()), *made.peers[names[0]]], audited)
    people.analyze(panel.store)
    return Installation(names, made.peers[names[0]], operation)


def _serve(panel: Panel, names: list[str]) -> None:
    with panel.store.read() as tx:
        every = [node.id for node in nodes.page(tx, limit=1000)]
    for place, name in enumerate(names):
        mine = every if place == 0 else every[place * len(every) // 10 % len(every) :][: max(1, len(every) // 10)]
        with panel.store.write() as tx:
            config = configs.get(tx, name)
            for node_id in mine:
                assignments.assign(tx, panel.vault, ACTOR, config, nodes.get(tx, node_id))
            tx.flush()
            for row, _ in assignment_rows.of_config(tx, config.id):
                assignments.serve(tx, row)
                assignment_rows.applied(tx, row.id, applied_generation=config.generation, summary="in sync")


def _answer(panel: Panel) -> None:
    """Have every node but a few be connected."""
    now = clock.now()
    with panel.store.write() as tx:
        for number, node in enumerate(nodes.page(tx, limit=1000)):
            values = {
                "connected": number % 40 != 0,
                "last_seen_at": now,
                "agent_version": "0.2.0",
                "agent_features": list(Feature),
            }
            values["certificate_expires_at"] = now + 60 * 86400
            node_rows.set_values(tx, node.id, {**values, "summary": "in sync"})


def _move(panel: Panel, names: list[str]) -> str:
    with panel.store.write() as tx:
        ids, every = [configs.id_of(tx, name) for name in names], nodes.page(tx, limit=1000)
        for number in range(OPERATIONS):
            config_id, node = ids[number % len(ids)], every[number % len(every)]
            subject = operations.subject(config_id, f"{node.id}-{number}")
            made = operations.start(
                tx,
                ACTOR,
                OperationKind.DRAIN,
                subject,
                config_id=config_id,
                node_id=node.id,
                options=MoveOptions(drain_window_s=60),
            )
            if number < OPERATIONS - 1:
                ended = {"state": OperationState.SUCCEEDED, "finished_at": clock.now()}
                operation_rows.change(tx, made.id, **ended)
        return made.id


def _log(panel: Panel, names: list[str], peer_ids: list[str], audited: int) -> None:
    began = time.time() - 30 * 86400
    with panel.store.write() as tx:
        ids, every = [configs.id_of(tx, name) for name in names], [each.id for each in nodes.page(tx, limit=1000)]
        chance = random.Random(1)  # noqa: S311 - no secret
        rows: list[dict[str, Any]] = []
        for number in range(audited):
            entry = {"at": began + number, "actor": "user:admin", "action": "created", "entity_type": "peer"}
            entry |= {"entity_id": peer_ids[number % len(peer_ids)], "details": {"name": "x"}}
            if number % max(1, audited // EVENTS) == 0:
                about = operations.subject(chance.choice(ids), chance.choice(every))
                entry |= {"actor": "panel", "action": "health_down", "entity_type": "config_node", "entity_id": about}
            rows.append(entry)
        tx.session.connection().execute(insert(AuditEntry), rows)
        changes = [
            {"config_id": ids[0], "node_id": chance.choice(every), "at": began + number, "before": "serving"}
            | {"after": "down", "reason": "no answer"}
            for number in range(EVENTS)
        ]
        tx.session.connection().execute(insert(HealthEvent), changes)
