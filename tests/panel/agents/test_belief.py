"""What a node says is believed of what it carries, within bounds, whatever clocks say; a bad report stops no other."""

import asyncio
import contextlib
import ssl
from typing import Any, cast

import msgspec
import pytest
from sqlalchemy import select

from tests.panel.agents.conftest import HEARTBEAT, NODE, ScriptedAgent
from tests.panel.agents.test_errands import Site, refusal, site
from tests.panel.conftest import one_database
from tests.panel.world import World
from wgfleet.panel import clock
from wgfleet.panel.agents.claims import LONGEST_WORDS, MAX_REPORTED
from wgfleet.panel.agents.client import AgentClient
from wgfleet.panel.errors import TransientError
from wgfleet.panel.reconcile.agents.connection import AgentConnection, Reported
from wgfleet.panel.reconcile.agents.session_buffer import MAX_KNOWN, SessionBuffer
from wgfleet.panel.services import configs
from wgfleet.panel.store import sessions as session_rows
from wgfleet.panel.store.tables import Config, Node, PeerSession
from wgfleet.protocol.diff import Drift
from wgfleet.protocol.ids import ConfigId, Generation, InterfaceName, NodeId
from wgfleet.protocol.keys import PublicKey
from wgfleet.protocol.messages import AgentStatus, Change, InterfaceReport, Snapshot, WatchMessage
from wgfleet.protocol.observed import PeerStats

LIVE_S = 180.0
HOURS_S = 3 * 3600.0


def status(agents_now: float) -> AgentStatus:
    return AgentStatus(NodeId("n"), "1", "kernel", 0.0, agents_now, 0.0, 1.0, ())


def report(config: Config, key: str, endpoint: str, handshake: float, **more: Any) -> InterfaceReport:
    stats = {PublicKey(key): PeerStats(endpoint=endpoint, latest_handshake=round(handshake), rx=1, tx=1)}
    return InterfaceReport(
        InterfaceName(config.name), ConfigId(config.id), Generation(1), True, "", peers=stats, **more
    )


def connection(world: World, node: Node) -> AgentConnection:
    return AgentConnection(node.id, cast("AgentClient", contextlib.nullcontext()), world.store, lambda: None)


def said(line: AgentConnection, *messages: WatchMessage) -> None:
    async def run() -> None:
        for message in messages:
            line._take(message)  # noqa: SLF001 - as the stream gives it
        await line.flush()

    asyncio.run(run())


def live_on(world: World, config: Config, node: Node) -> list[str]:
    with world.store.read() as tx:
        return [endpoint for _, endpoint in session_rows.live_on(tx, node.id, config.id, clock.steady() - LIVE_S)]


def test_what_is_no_key_keeps_nobody_from_the_rows(world: World) -> None:
    """A removal writes down what the node said before it goes on."""
    config = world.config()
    (fra1,) = world.serving(config, "fra1")
    (ann,) = world.peers(config, "ann")
    now, line = clock.now(), connection(world, fra1)
    wrong = [Change(now, (report(config, key, "192.0.2.1:1", now),)) for key in ("\0", "a\0", "\ufffd", "")]
    said(line, Snapshot(status(now), ()), *wrong, Change(now, (report(config, ann.public_key, "192.0.2.2:2", now),)))
    assert live_on(world, config, fra1) == ["192.0.2.2:2"]


@one_database
def test_a_node_has_no_say_about_a_config_that_it_does_not_carry(world: World) -> None:
    wg_a, wg_b = world.config("wgA"), world.config("wgB", pools=("10.9.0.0/24",))
    (good,), (evil,) = world.serving(wg_a, "good"), world.serving(wg_b, "evil")
    (victim,) = world.peers(wg_a, "victim")
    now = clock.now()
    said(
        connection(world, good), Snapshot(status(now), (report(wg_a, victim.public_key, "198.51.100.10:1", now - 30),))
    )
    for handshake in (now, now + 86400):
        forged = report(wg_a, victim.public_key, "203.0.113.66:53", handshake)
        line = connection(world, evil)
        said(line, Snapshot(status(now), (forged,)), Change(now, (forged,)))
        assert not line._buffer._configs, "nor does it take memory"  # noqa: SLF001 - what could grow
        assert live_on(world, wg_a, good) == ["198.51.100.10:1"]
    with world.store.read() as tx:
        assert session_rows.latest(tx, [victim.id])[victim.id].endpoint == "198.51.100.10:1"
        assert len(tx.session.scalars(select(PeerSession)).all()) == 1


def test_a_handshake_of_the_future_is_of_now(world: World) -> None:
    config = world.config()
    ams1, fra1 = world.serving(config, "ams1", "fra1")
    (user,) = world.peers(config, "user")
    now = clock.now()
    said(connection(world, ams1), Snapshot(status(now), (report(config, user.public_key, "192.0.2.1:1", now + 86400),)))
    said(connection(world, fra1), Snapshot(status(now), (report(config, user.public_key, "192.0.2.1:2", now + 2),)))
    with world.store.read() as tx:
        rows = tx.session.scalars(select(PeerSession)).all()
    assert all(row.latest_handshake <= clock.steady() + 5 for row in rows)


@pytest.mark.parametrize("endpoint", ["nonsense", "192.0.2.1", "192.0.2.1:0", "x" * 500 + ":1", "fe80::1%eth0:1"])
@one_database
def test_an_endpoint_that_is_none_is_not_called(world: World, endpoint: str) -> None:
    config = world.config()
    (fra1,) = world.serving(config, "fra1")
    user, other = world.peers(config, "user", "other")
    now = clock.now()
    said(
        connection(world, fra1),
        Snapshot(status(now), (report(config, user.public_key, endpoint, now),)),
        Change(now, (report(config, other.public_key, "192.0.2.9:9", now),)),
    )
    assert live_on(world, config, fra1) == ["192.0.2.9:9"]


@pytest.mark.parametrize("set_by_s", [-HOURS_S, HOURS_S])
@one_database
def test_setting_the_panels_clock_ends_no_session_and_changes_no_order(
    world: World, monkeypatch: pytest.MonkeyPatch, set_by_s: float
) -> None:
    config = world.config()
    fra1, ams1 = world.serving(config, "fra1", "ams1")
    user, mover = world.peers(config, "user", "mover")
    nodes_now = clock.now()
    old, new = connection(world, fra1), connection(world, ams1)
    said(old, Snapshot(status(nodes_now), (report(config, user.public_key, "192.0.2.1:1", nodes_now - 60),)))
    said(old, Change(nodes_now, (report(config, mover.public_key, "192.0.2.2:2", nodes_now - 60),)))
    real = clock.now
    monkeypatch.setattr(clock, "now", lambda: real() + set_by_s)
    assert live_on(world, config, fra1) == ["192.0.2.1:1", "192.0.2.2:2"]
    said(new, Snapshot(status(nodes_now), (report(config, mover.public_key, "192.0.2.2:3", nodes_now - 5),)))
    assert (live_on(world, config, fra1), live_on(world, config, ams1)) == (["192.0.2.1:1"], ["192.0.2.2:3"])
    monkeypatch.setattr(clock, "now", real)
    assert (live_on(world, config, fra1), live_on(world, config, ams1)) == (["192.0.2.1:1"], ["192.0.2.2:3"])


@pytest.mark.parametrize("set_by_s", [-HOURS_S, HOURS_S])
@one_database
def test_setting_a_nodes_clock_ends_no_session(world: World, set_by_s: float) -> None:
    config = world.config()
    (fra1,) = world.serving(config, "fra1")
    (user,) = world.peers(config, "user")
    now = clock.now()
    line = connection(world, fra1)
    said(line, Snapshot(status(now), (report(config, user.public_key, "192.0.2.1:1", now - 60),)))
    # The kernel keeps the time of the handshake as it was; counters and endpoint change, and are written again.
    moved = report(config, user.public_key, "192.0.2.1:5", now - 60)
    line._set_by(now + set_by_s)  # noqa: SLF001 - as a heartbeat does
    said(line, Change(now + set_by_s, (moved,)))
    assert live_on(world, config, fra1) == ["192.0.2.1:5"]


def test_a_panel_that_starts_with_its_clock_set_back_goes_on_where_it_was(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = world.config()
    (fra1,) = world.serving(config, "fra1")
    (user,) = world.peers(config, "user")
    now = clock.now()
    said(connection(world, fra1), Snapshot(status(now), (report(config, user.public_key, "192.0.2.1:1", now - 60),)))
    monkeypatch.setattr(clock, "_ahead", clock.Ahead(clock.now() - HOURS_S - clock.monotonic()))
    with world.store.read() as tx:
        clock.go_on_from(session_rows.newest_report(tx))
    assert live_on(world, config, fra1) == ["192.0.2.1:1"]


def test_what_is_kept_of_one_node_is_bounded() -> None:
    buffer = SessionBuffer("node")
    for number in range(0, MAX_KNOWN + 5000, 5000):
        keys = {PublicKey(f"k{number + one}"): PeerStats(endpoint="192.0.2.1:1") for one in range(5000)}
        buffer.add(f"config-{number}", keys, 0)
    assert sum(map(len, buffer.take().values())) <= MAX_KNOWN


def test_words_and_lists_of_an_agent_are_cut_and_clean(world: World) -> None:
    config = world.config()
    (fra1,) = world.serving(config, "fra1")
    line = connection(world, fra1)
    drift = tuple(Drift(f"field{number}" + "x" * 5000, "\x1b[2J", "b" * 5000) for number in range(1000))
    sent = InterfaceReport(
        InterfaceName("wg0"), ConfigId(config.id), Generation(1), True, "\x1b[31m" + "x" * 10**6, drift=drift
    )
    said(line, Snapshot(status(clock.now()), (sent,)))
    kept = line.reported["wg0"]
    assert len(kept.summary) <= LONGEST_WORDS
    assert "\x1b" not in kept.summary
    assert sum(len(str(each)) for each in kept.drift) < 200_000
    assert "\x1b" not in str(kept.drift[0])


def test_the_answer_to_a_push_does_not_say_that_a_node_carries_no_connections(world: World) -> None:
    config = world.config()
    (fra1,) = world.serving(config, "fra1")
    line = connection(world, fra1)
    said(line, Snapshot(status(clock.now()), (report(config, "k", "192.0.2.1:1", clock.now(), carries=True),)))
    line.applied("wg0", Reported(config.id, 2, (), (), ""))
    assert line.reported["wg0"].carries
    said(line, Change(clock.now(), (report(config, "k", "192.0.2.1:1", clock.now()),)))
    assert not line.reported["wg0"].carries


def test_interfaces_that_nobody_asked_for_are_few(world: World) -> None:
    config = world.config()
    (fra1,) = world.serving(config, "fra1")
    line = connection(world, fra1)
    sent = tuple(
        InterfaceReport(InterfaceName(f"wg{number}"), ConfigId(config.id), Generation(1), True, "")
        for number in range(MAX_REPORTED + 500)
    )
    said(line, Snapshot(status(clock.now()), sent), Change(0.0, sent[::-1]))
    assert len(line.reported) <= MAX_REPORTED


BAD = [
    {"generation": 2**63},
    {"generation": -1},
    {"generation": 1e300},
    {"peers": {"k" * 45: {"endpoint": "192.0.2.1:1"}}},
    {"peers": {"k": {"latest_handshake": 2**70}}},
    {"peers": {"k": {"rx": -5}}},
    {"name": "x" * 16},
    {"config_id": "c" * 65},
    {"drift": "none"},
]


@pytest.mark.parametrize("bad", BAD, ids=str)
def test_a_bad_report_of_one_interface_stops_no_other(
    agent: ScriptedAgent, panel_context: ssl.SSLContext, bad: dict[str, Any]
) -> None:
    good = {"name": "wg0", "config_id": "c", "generation": 3, "up": True, "summary": ""}
    line = {"type": "change", "now": 1.0, "interfaces": [{**good, **bad}, {**good, "name": "wg1"}]}
    agent.stream = [msgspec.json.encode(line) + b"\n", HEARTBEAT]

    async def listen() -> list[WatchMessage]:
        client = AgentClient("127.0.0.1", agent.port, NODE, panel_context)
        found: list[WatchMessage] = []
        with pytest.raises(TransientError, match=r"ended the watch stream|has gone silent"):
            await client.watch(found.append)
        await client.aclose()
        return found

    change, _ = asyncio.run(listen())
    assert isinstance(change, Change)
    assert [each.name for each in change.interfaces] == ["wg1"]


def test_a_line_is_short_until_it_is_known_to_carry_peers(agent: ScriptedAgent, panel_context: ssl.SSLContext) -> None:
    agent.stream = [b"x" * 100_000] * 120

    async def listen() -> None:
        client = AgentClient("127.0.0.1", agent.port, NODE, panel_context)
        try:
            await client.watch(lambda _: None)
        finally:
            await client.aclose()

    with pytest.raises(TransientError, match="bytes"):
        asyncio.run(listen())


def stuck(fra1: Site, config: Config) -> None:
    with fra1.world.store.read() as tx:
        fresh = configs.get(tx, config.id)
        assert fresh.generation < 2**21
        assert type(fresh.generation) is int
    (entry,) = fra1.audited("claim_refused")
    assert (entry.entity_type, entry.entity_id) == ("node", fra1.node.id)
    assert "generation" in fra1.summary(config)


@pytest.mark.parametrize("claimed", [2**20 + 5000, 2**62, 2**63 - 2])
@one_database
def test_a_generation_far_beyond_ours_is_not_overtaken(world: World, claimed: int) -> None:
    with site(world, "wg0", "wg1") as (fra1, (wg0, wg1)):
        fra1.agent.refuses["wg0"] = refusal("older_generation", claimed, wg0.id)
        fra1.cycles(3)
        stuck(fra1, wg0)
        assert "wg1" in fra1.agent.kept
        world.peers(wg0, "later")
        fra1.cycles()
        stuck(fra1, wg0)
        del wg1


def test_a_generation_a_little_beyond_ours_is_overtaken(world: World) -> None:
    with site(world, "wg0") as (fra1, (wg0,)):
        fra1.agent.refuses["wg0"] = refusal("older_generation", 900, wg0.id)
        fra1.cycles()
        with world.store.read() as tx:
            assert configs.get(tx, wg0.id).generation > 900
