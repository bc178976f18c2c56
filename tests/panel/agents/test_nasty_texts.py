"""Every text of an agent, with what PostgreSQL does not take and what moves a cursor: none of that reaches the rows."""

import asyncio
import json
import ssl
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
import structlog
from sqlalchemy import select

from tests.panel.agents.conftest import ScriptedAgent
from tests.panel.agents.test_belief import status
from tests.panel.agents.test_client import KEY, WHOLE, call
from tests.panel.agents.test_telemetry import Site
from tests.panel.world import World
from wgfleet.panel import clock
from wgfleet.panel.agents.watch_messages import WatchMessages
from wgfleet.panel.errors import TransientError
from wgfleet.panel.reconcile.agents.node_cycle import NodeCycle
from wgfleet.panel.reconcile.agents.summaries import SummaryWriter
from wgfleet.panel.services.fleet.common_peers import PackedPeers
from wgfleet.panel.store.tables import Assignment, AuditEntry, Node
from wgfleet.protocol.desired import DesiredPeer
from wgfleet.protocol.diff import Drift
from wgfleet.protocol.ids import Generation
from wgfleet.protocol.keys import PublicKey
from wgfleet.protocol.messages import Applied

NASTY = "a\x00\x1b[2J\u202eb"


def spoiled(value: Any) -> Iterator[Any]:
    """Give the value once for each text in it, with that text spoiled."""
    if isinstance(value, str):
        yield NASTY
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from ([*value[:number], each, *value[number + 1 :]] for each in spoiled(item))
    elif isinstance(value, dict):
        for key, item in value.items():
            if key != "type":
                yield from ({**value, key: each} for each in spoiled(item))
        for key in value:
            yield {NASTY if name == key else name: item for name, item in value.items()}


def rows(world: World) -> list[str]:
    with world.store.read() as tx:
        found = (
            [(row.summary, row.agent_version, *(row.agent_features or ())) for row in tx.session.scalars(select(Node))]
            + [
                (row.summary, *row.drift, *row.floating_held, *row.floating_rivals, *row.floating_rivals.values())
                for row in tx.session.scalars(select(Assignment))
            ]
            + [
                (row.actor, row.entity_id, json.dumps(row.details, ensure_ascii=False))
                for row in tx.session.scalars(select(AuditEntry))
            ]
        )
    return [text for row in found for text in row if text]


def messages(config_id: str, name: str, key: str) -> list[dict[str, Any]]:
    report = {
        "name": name, "config_id": config_id, "generation": 1, "up": True, "summary": "well", "history": "h/i/j",
        "drift": [{"field": "mtu", "desired": "1420", "observed": "1280"}], "held": ["198.51.100.1"],
        "rivals": {"198.51.100.1": "02:00:00:00:00:01"}, "muted": "alone", "removed_peers": [key],
        "peers": {key: {"endpoint": "192.0.2.1:5", "latest_handshake": 100, "rx": 1, "tx": 2}},
    }  # fmt: skip
    about = json.loads(msgspec.json.encode(status(clock.now())))
    about |= {"notes": ["a note"], "features": ["history"], "interfaces": []}
    return [
        {"type": "snapshot", "status": about, "interfaces": [report]},
        {"type": "change", "now": clock.now(), "interfaces": [report], "gone": [name]},
        {"type": "refused", "now": clock.now(), "remote": "203.0.113.9", "reason": "no certificate", "count": 1},
    ]


def test_no_text_of_a_stream_reaches_the_rows_as_it_is(world: World) -> None:
    it = Site(world, "ams1")
    line = it.lines[it.nodes["ams1"].id]
    reader, heard = WatchMessages("the agent"), 0
    told: list[str] = []
    for message in messages(it.config.id, it.config.name, it.peers["ams1"].public_key):
        for bad in spoiled(message):
            try:
                said = reader.read(json.dumps(bad).encode())
            except TransientError as error:  # what is not understood ends the stream
                told.append(str(error))
                continue
            if said is None:
                continue
            heard += 1
            with structlog.testing.capture_logs() as logs:
                it.say("ams1", said)
                it.flush()
                names = "; ".join(f"deleting {name}" for name in line.reported)
                asyncio.run(SummaryWriter(world.store).write(line, NodeCycle(names)))
            assert not [entry for entry in logs if entry["event"] == "telemetry.dropped"], bad
            assert not any(NASTY in name or NASTY in each.config_id for name, each in line.reported.items())
    assert heard > 20
    assert all(text.isprintable() for text in told)
    assert not [text for text in rows(world) if not text.isprintable()]


def test_the_answer_to_a_push_is_cut_to_a_size_and_cleaned(agent: ScriptedAgent, panel_context: ssl.SSLContext) -> None:
    drift = tuple(Drift(NASTY, NASTY, NASTY) for _ in range(5000))
    answer = Applied(Generation(7), changed=True, verified=False, seconds=0.1, drift=drift)
    agent.answer = (200, msgspec.json.encode(answer))
    members = PackedPeers({PublicKey(KEY): DesiredPeer(())}).members
    for applied in (
        call(panel_context, agent.port, lambda client: client.push(WHOLE)),
        call(panel_context, agent.port, lambda client: client.push(WHOLE, members)),
    ):
        assert 0 < len(applied.drift) < 200
        assert all(f"{each.field}{each.desired}{each.observed}".isprintable() for each in applied.drift)
    agent.answer = (200, msgspec.json.encode(msgspec.structs.replace(answer, held=(NASTY,))))
    with pytest.raises(TransientError, match="not of this protocol"):
        call(panel_context, agent.port, lambda client: client.push(WHOLE))
