"""What one node is sent: each push, cleanup, confirmation and renewal by itself, what takes access away first."""

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from sqlalchemy import select, update

from tests.panel.agents.model import as_read
from tests.panel.authority import keep
from tests.panel.conftest import one_database
from tests.panel.world import ACTOR, World
from wgfleet.panel import clock
from wgfleet.panel.agents.answers import AgentFailed, AgentRefused, failure
from wgfleet.panel.agents.client import AgentClient
from wgfleet.panel.errors import TransientError
from wgfleet.panel.reconcile.agents import errands
from wgfleet.panel.reconcile.agents.connection import AgentConnection, Reported
from wgfleet.panel.reconcile.agents.errands import Errand, Errands, Outcome
from wgfleet.panel.reconcile.agents.node_cycle import NodeCycle
from wgfleet.panel.reconcile.agents.node_work import WorkReader
from wgfleet.panel.reconcile.agents.pusher import Pusher
from wgfleet.panel.services import configs
from wgfleet.panel.services.fleet import nodes, peers
from wgfleet.panel.store import assignments as assignment_rows
from wgfleet.panel.store import nodes as node_rows
from wgfleet.panel.store.tables import AuditEntry, Cleanup, Config, Node
from wgfleet.protocol.desired import DesiredInterface, InterfaceDelta, Push
from wgfleet.protocol.ids import ConfigId, Generation
from wgfleet.protocol.messages import Applied, Refusal

DAY_S = 86400.0


def refusal(reason: str, generation: int | None = None, config_id: str | None = None) -> AgentRefused:
    return AgentRefused(
        reason,
        Refusal(
            "no",
            409,
            f"because of {reason}",
            reason,
            generation=None if generation is None else Generation(generation),
            config_id=None if config_id is None else ConfigId(config_id),
        ),
    )


@dataclass
class Agent:
    """Does what it is told, but for the interfaces in `refuses`; a bare number there is how many s it takes."""

    refuses: dict[str, Exception | float] = field(default_factory=dict)
    kept: dict[str, Push] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)
    deleted_at: dict[str, int | None] = field(default_factory=dict)
    features: object = None
    keys: frozenset[str] = frozenset()

    async def _meets(self, name: str) -> None:
        trouble = self.refuses.get(name)
        if isinstance(trouble, Exception):
            raise trouble
        if trouble is not None:
            await asyncio.sleep(trouble)

    async def push(self, push: Push, shared: bytes = b"") -> Applied:
        push = as_read(push, shared)
        name = push.settings.name if isinstance(push, DesiredInterface) else push.name
        self.said.append(f"push {name}")
        await self._meets(name)
        self.kept[name] = push
        return Applied(push.generation, changed=True, verified=True, seconds=0.01, held=())

    async def delete(self, interface: str, _config_id: str | None = None, generation: int | None = None) -> None:
        self.said.append(f"delete {interface}")
        self.deleted_at[interface] = generation
        await self._meets(interface)

    async def request_certificate(self) -> str:
        self.said.append("renew")
        await self._meets("certificate")
        raise TransientError("the test has no certificate to give")

    async def aclose(self) -> None:
        """Nothing is open."""


@dataclass
class Site:
    """A node, its scripted agent, and the pusher that sends to it."""

    world: World
    node: Node
    agent: Agent
    pusher: Pusher
    connection: AgentConnection
    woken: list[int] = field(default_factory=list)

    def cycles(self, count: int = 1, pause_s: float = 0.0) -> NodeCycle:
        async def run() -> NodeCycle:
            cycle = NodeCycle("")
            for _ in range(count):
                cycle = await self.pusher.cycle(self.connection)
                await asyncio.sleep(pause_s)
            await self.pusher.close()
            return cycle

        return asyncio.run(run())

    def summary(self, config: Config) -> str:
        with self.world.store.read() as tx:
            found = assignment_rows.get(tx, config.id, self.node.id)
        assert found is not None
        return found.summary

    def owed(self) -> list[str]:
        with self.world.store.read() as tx:
            return [row.interface for row in assignment_rows.cleanups(tx, self.node.id)]

    def owe(self, interface: str, generation: int = 5) -> None:
        with self.world.store.write() as tx:
            row = Cleanup(
                id=clock.new_id(),
                node_id=self.node.id,
                config_id="f" * 32,
                interface=interface,
                generation=generation,
                created_at=clock.now(),
            )
            assignment_rows.owe(tx, row)

    def audited(self, action: str) -> list[AuditEntry]:
        with self.world.store.read() as tx:
            return list(tx.session.scalars(select(AuditEntry).where(AuditEntry.action == action)))


@contextlib.contextmanager
def site(world: World, *names: str) -> Iterator[tuple[Site, list[Config]]]:
    node = world.node("fra1")
    with world.store.write() as tx:
        fresh = nodes.get(tx, node.id)
        values = {"certificate_expires_at": clock.now() + 80 * DAY_S, "agent_keys": ["a key"]}
        node_rows.set_values(tx, fresh.id, values)
    found = [world.config(name, pools=(f"10.{number}.0.0/24",)) for number, name in enumerate(names)]
    for config in found:
        world.assign(config, node)
    agent, woken = Agent(), list[int]()
    connection = AgentConnection(node.id, cast("AgentClient", agent), world.store, lambda: woken.append(1))
    connection.connected = True
    pusher = Pusher(world.store, world.vault, keep(world.store, world.vault), 90)
    yield Site(world, node, agent, pusher, connection, woken), found


BROKEN = [
    refusal("foreign_interface"),
    refusal("bad_field"),
    TransientError("adding address fd00::1/64: EACCES (500 kernel)"),
    failure("agent of node 01a2 at 192.0.2.1:51900", 500, b'{"title":"t","status":500,"detail":"no tun","reason":"k"}'),
    failure("agent of node 01a2 at 192.0.2.1:51900", 409, b'{"title":"t","status":409,"detail":"in use","reason":"k"}'),
    ZeroDivisionError("a bug of ours"),
]


@pytest.mark.parametrize("trouble", BROKEN, ids=lambda error: type(error).__name__ + str(error)[:8])
@one_database
def test_an_interface_that_is_refused_holds_up_no_other(world: World, trouble: Exception) -> None:
    with site(world, "wg0", "wg1", "wg2") as (fra1, (wg0, wg1, wg2)):
        fra1.agent.refuses["wg0"] = trouble
        cycle = fra1.cycles(3)
        assert set(fra1.agent.kept) == {"wg1", "wg2"}
        assert "wg0" in cycle.summary
        assert "agent of node" not in cycle.summary, "that is known at the node"
        assert not cycle.idle
        assert cycle.again_in_s is not None
        assert fra1.summary(wg1).startswith("wg1 at generation")
        assert fra1.summary(wg2).startswith("wg2 at generation")
        if not isinstance(trouble, ZeroDivisionError):
            words = trouble.refusal.detail if isinstance(trouble, AgentRefused | AgentFailed) else str(trouble)
            assert fra1.summary(wg0) == words, "what does not get there says why"


def test_an_interface_that_takes_for_ever_holds_up_no_other_nor_what_comes_later(world: World) -> None:
    with site(world, "wg0", "wg1") as (fra1, (_, wg1)):
        fra1.agent.refuses["wg0"] = 3600.0

        async def run() -> None:
            await asyncio.wait_for(fra1.pusher.cycle(fra1.connection), 30)
            assert "wg1" in fra1.agent.kept
            world.peers(wg1, "later")
            await asyncio.wait_for(fra1.pusher.cycle(fra1.connection), 30)
            await fra1.pusher.close()

        asyncio.run(run())
        assert isinstance(fra1.agent.kept["wg1"], InterfaceDelta)
        assert fra1.agent.said.count("push wg0") == 1, "it is not asked again while it is at it"


@pytest.mark.parametrize("reason", ["foreign_interface", "other_config", "not_found", "bad_field"])
@one_database
def test_a_cleanup_of_what_is_not_ours_is_settled(world: World, reason: str) -> None:
    with site(world, "wg0") as (fra1, _):
        fra1.owe("old0")
        fra1.agent.refuses["old0"] = refusal(reason)
        fra1.cycles()
        assert fra1.owed() == []
        assert "wg0" in fra1.agent.kept
        (entry,) = fra1.audited("cleanup_settled")
        assert (entry.entity_id, entry.details["interface"]) == (fra1.node.id, "old0")
        assert reason in str(entry.details["reason"])


def test_a_cleanup_of_what_a_later_history_made_goes_beyond_it(world: World) -> None:
    with site(world, "wg0") as (fra1, _):
        fra1.owe("old0", generation=5)
        fra1.agent.refuses["old0"] = refusal("older_generation", 9, "f" * 32)
        fra1.cycles()
        assert fra1.agent.deleted_at["old0"] == 9
        assert "wg0" in fra1.agent.kept


def test_a_cleanup_that_fails_holds_up_nothing_and_stays_owed(world: World) -> None:
    with site(world, "wg0") as (fra1, _):
        fra1.owe("old0")
        fra1.agent.refuses["old0"] = TransientError("the machine refused")
        cycle = fra1.cycles(2)
        assert "wg0" in fra1.agent.kept
        assert fra1.owed() == ["old0"]
        assert "old0" in cycle.summary


@one_database
def test_what_is_refused_is_asked_again_more_and_more_rarely_and_at_once_when_it_changes(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = clock.monotonic()
    monkeypatch.setattr(clock, "monotonic", lambda: now)
    with site(world, "wg0") as (fra1, (wg0,)):
        fra1.agent.refuses["wg0"] = refusal("foreign_interface")
        fra1.cycles(20)
        assert fra1.agent.said == ["push wg0"], "the node's other work does not have it tried each time"
        world.peers(wg0, "later")
        fra1.cycles()
        assert fra1.agent.said == ["push wg0"] * 2


def test_a_certificate_is_renewed_whatever_else_is_refused(world: World) -> None:
    with site(world, "wg0", "wg1") as (fra1, _):
        fra1.owe("old0")
        fra1.agent.refuses = {name: refusal("foreign_interface") for name in ("wg0", "wg1")}
        fra1.agent.refuses["old0"] = TransientError("no")
        with world.store.write() as tx:
            node_rows.set_values(tx, fra1.node.id, {"certificate_expires_at": clock.now() + DAY_S})
        cycle = fra1.cycles()
        assert "renew" in fra1.agent.said
        assert "certificate" in cycle.summary


@one_database
def test_what_takes_access_away_goes_first_then_the_certificate(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(errands, "PATIENCE_S", 60.0)  # the order is looked at, not how much a slow machine does in 2 s
    order: list[str] = []  # what is begun first reads in a thread, and the agent may hear it after the next
    run = Errands.run

    async def noted(these: Errands, node_id: str, given: Sequence[Errand], ended: Callable[[], None]) -> Outcome:
        order[:] = [errand.name for errand in given]
        return await run(these, node_id, given, ended)

    monkeypatch.setattr(Errands, "run", noted)
    names = ["wg0", "wg1", "wg2", "wg3", "wg4", "wg5"]
    with site(world, *names) as (fra1, found):
        users = {config.name: world.peers(config, "user")[0] for config in found}
        fra1.cycles()
        for config in found:
            world.peers(config, "another")
        with world.store.write() as tx:
            peers.delete(tx, ACTOR, configs.get(tx, "wg5"), [users["wg5"].id])
            node_rows.set_values(tx, fra1.node.id, {"certificate_expires_at": clock.now() + DAY_S})
        fra1.owe("old0")
        fra1.agent.said.clear()
        fra1.cycles()
        assert order == ["wg5", "deleting old0", "the certificate", *names[:5]]
        assert sorted(fra1.agent.said) == ["delete old0", *(f"push {name}" for name in names), "renew"]


def test_a_config_whose_key_cannot_be_read_holds_up_no_other(world: World) -> None:
    with site(world, "wg0", "wg1") as (fra1, (wg0, _)):
        with world.store.write() as tx:
            tx.session.execute(update(Config).where(Config.id == wg0.id).values(private_key_sealed=b"damaged"))
        cycle = fra1.cycles(2)
        assert "wg1" in fra1.agent.kept
        assert "wg0" in cycle.summary


def test_a_report_that_is_replaced_meanwhile_is_no_error(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    with site(world, "wg0") as (fra1, (wg0,)):
        fra1.cycles()
        with world.store.write() as tx:
            found = assignment_rows.get(tx, wg0.id, fra1.node.id)
            assert found is not None
            assignment_rows.applied(tx, found.id, applied_generation=0)
        real = WorkReader.read

        def read(reader: WorkReader, *args: Any) -> Any:
            work = real(reader, *args)
            fra1.connection.reported = {}
            return work

        monkeypatch.setattr(WorkReader, "read", read)
        assert "failed" not in fra1.cycles().summary
        with world.store.read() as tx:
            found = assignment_rows.get(tx, wg0.id, fra1.node.id)
            assert found is not None
            assert found.applied_generation == configs.get(tx, wg0.id).generation


def test_an_answer_with_another_generation_is_not_believed(world: World) -> None:
    with site(world, "wg0") as (fra1, (wg0,)):

        async def push(_push: Push, _shared: bytes = b"") -> Applied:
            return Applied(Generation(2**62), changed=True, verified=True, seconds=0.01, held=())

        fra1.agent.push = push  # type: ignore[method-assign, assignment]
        cycle = fra1.cycles()
        assert "generation" in cycle.summary
        with world.store.read() as tx:
            found = assignment_rows.get(tx, wg0.id, fra1.node.id)
            assert found is not None
            assert found.applied_generation == 0


def test_reports_compare_without_their_words() -> None:
    assert Reported("c", 1, (), (), "one") == Reported("c", 1, (), (), "other")
