"""A panel whose nodes obey a newer one decides nothing; nobody but such a panel can bring that about."""

import asyncio
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import cast

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from tests.panel.conftest import made, one_database
from tests.panel.world import World
from tests.waiting import eventually
from wgfleet.panel.api import Panel
from wgfleet.panel.domain.certificates import Issued
from wgfleet.panel.domain.health.votes import Health
from wgfleet.panel.domain.operations import GroupDrainOptions, OperationKind, OperationState
from wgfleet.panel.domain.succession import is_superseded
from wgfleet.panel.reconcile import health as watching
from wgfleet.panel.reconcile import succession
from wgfleet.panel.reconcile.agents.connections import Connections
from wgfleet.panel.reconcile.agents.panel_start import begin
from wgfleet.panel.reconcile.outlook import Outlook
from wgfleet.panel.reconcile.succession import Succession
from wgfleet.panel.reconcile.supervisor import Supervisor
from wgfleet.panel.services import incarnations, operations
from wgfleet.panel.services.fleet import node_agents, nodes
from wgfleet.panel.store import Store
from wgfleet.panel.store import assignments as assignment_rows
from wgfleet.panel.store.tables import AuditEntry, DnsSync, Incarnation, Node
from wgfleet.panel.vault import Vault
from wgfleet.probing.prober import ProbeOutcome
from wgfleet.protocol.messages import ProbeTarget
from wgfleet.protocol.panel_name import PanelName

NAMES = ("n1", "n2", "n3", "n4", "n5")
node_sets = st.frozensets(st.sampled_from(NAMES))


@given(in_use=node_sets, first=node_sets, second=node_sets)
def test_of_two_panels_that_know_of_each_other_at_most_one_decides(
    in_use: frozenset[str], first: frozenset[str], second: frozenset[str]
) -> None:
    obeyed = first, second - first
    assert any(is_superseded(in_use, each, before=False, proven=True) for each in obeyed)


@given(in_use=node_sets, obeying=node_sets)
def test_without_a_proof_nothing_begins_and_with_most_nodes_it_ends(
    in_use: frozenset[str], obeying: frozenset[str]
) -> None:
    assert not is_superseded(in_use, obeying, before=False, proven=False)
    if len(in_use & obeying) * 2 > len(in_use):
        assert not is_superseded(in_use, obeying, before=True, proven=True)


@dataclass
class Line:
    """What a connection knows."""

    connected: bool = True
    older_proof: str | None = None

    @property
    def older(self) -> bool:
        return not self.connected


@dataclass
class Lines(dict[str, Line]):
    """The connections."""

    panel: PanelName | None = None
    names: list[PanelName] = field(default_factory=list)

    def rename(self, panel: PanelName) -> None:
        self.panel = panel
        self.names.append(panel)


@dataclass
class Fleet:
    """Five nodes in use, and the panel that looks whom they obey."""

    world: World
    nodes: list[Node]
    lines: Lines
    outlook: Outlook = field(default_factory=Outlook)
    resumed: int = 0

    def __post_init__(self) -> None:
        self.succession = Succession(
            self.world.store, self.world.vault, cast("Connections", self.lines), self.outlook, self._resume
        )

    @property
    def ours(self) -> PanelName:
        assert self.lines.panel is not None
        return self.lines.panel

    def _resume(self) -> None:
        self.resumed += 1

    def look(self, times: int = 2) -> str | None:
        for _ in range(times):
            asyncio.run(self.succession.look())
        return self.outlook.superseded

    def proof(self, ahead: int, vault: Vault | None = None) -> str:
        """A proof of another start of the same panel."""
        with self.world.store.read() as tx:
            number = self.ours.number + ahead
            row = Incarnation(number=number, id=f"other{ahead}", started_at=0.0, refused=None)
            return incarnations.name(tx, vault or self.world.vault, row).proof

    def refuse(self, count: int, proof: str | None) -> None:
        for at, node in enumerate(self.nodes):
            self.lines[node.id] = Line(connected=at >= count, older_proof=proof if at < count else None)

    def actions(self) -> list[str]:
        with self.world.store.read() as tx:
            entries = tx.session.scalars(select(AuditEntry).where(AuditEntry.entity_type == "panel"))
            return [entry.action for entry in entries]

    def noted(self) -> str | None:
        with self.world.store.read() as tx:
            return incarnations.superseded(tx)


@pytest.fixture
def fleet(world: World, monkeypatch: pytest.MonkeyPatch) -> Fleet:
    monkeypatch.setattr(succession, "LASTS_S", 0.0)
    found = world.serving(world.config(), *NAMES)
    with world.store.write() as tx:
        for node in found:
            node_agents.enrolled(tx, nodes.get(tx, node.id), agent_port=1, issued=Issued(None, "key", 1e12))
        name = incarnations.name(tx, world.vault, incarnations.begin(tx))
    lines = Lines(name)
    lines.update({node.id: Line() for node in found})
    return Fleet(world, found, lines)


@pytest.mark.parametrize("refusing", [1, 3, 5])
@one_database
def test_the_word_of_agents_freezes_nothing(fleet: Fleet, refusing: int) -> None:
    """Also not of all: who has broken into them owns them, but not the names and what else the panel decides."""
    forged = fleet.proof(7, Vault([bytes(range(32))]))
    for proof in (None, "x", fleet.ours.proof, fleet.proof(-1), forged):
        fleet.refuse(refusing, proof)
        assert fleet.look() is None, proof
    assert fleet.outlook.refused_by == refusing
    assert fleet.actions() == []


@pytest.mark.parametrize(("refusing", "frozen"), [(1, False), (2, False), (3, True), (5, True)])
@one_database
def test_a_real_newer_panel_freezes_this_one_where_most_nodes_do_not_obey_it(
    fleet: Fleet, refusing: int, *, frozen: bool
) -> None:
    fleet.refuse(refusing, fleet.proof(1))
    assert (fleet.look() is not None) is frozen
    assert fleet.actions() == (["superseded"] if frozen else [])
    assert (fleet.noted() is not None) is frozen
    # Nodes that fall silent neither begin nor end it.
    fleet.refuse(refusing, None)
    assert (fleet.look() is not None) is frozen
    fleet.refuse(2, fleet.proof(1))
    assert fleet.look() is None
    assert fleet.actions() == (["superseded", "obeyed_again"] if frozen else [])
    assert fleet.noted() is None
    assert fleet.resumed == int(frozen)


@one_database
def test_two_starts_from_one_copy_are_told_apart(fleet: Fleet) -> None:
    fleet.refuse(5, fleet.proof(0))
    assert "start 1, this one is 1" in (fleet.look() or "")


def test_a_start_before_all_nodes_have_answered_writes_nothing_down(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The node that once obeyed a copy may answer first."""
    monkeypatch.setattr(succession, "LASTS_S", 60.0)
    fleet.lines.clear()
    fleet.lines[fleet.nodes[0].id] = Line(connected=False, older_proof=fleet.proof(1))
    assert fleet.look() is not None
    fleet.refuse(1, fleet.proof(1))
    assert fleet.look() is None
    assert (fleet.actions(), fleet.noted()) == ([], None)


@one_database
def test_a_running_panel_takes_its_new_name_when_it_is_said_to_be_restored(fleet: Fleet) -> None:
    fleet.refuse(5, fleet.proof(3))
    assert fleet.look() is not None
    before = fleet.ours
    with fleet.world.store.write() as tx:
        incarnations.restored(tx, "somebody")
    assert fleet.look() is None
    [name] = fleet.lines.names
    assert name.number > before.number + incarnations.BEYOND
    assert fleet.look() is None, "what agents say of the name from before counts no more"
    assert len(fleet.lines.names) == 1
    assert fleet.resumed == 1
    assert fleet.noted() is None


@one_database
def test_a_panel_that_no_longer_decides_does_not_take_the_name_of_the_one_that_does(fleet: Fleet) -> None:
    """On one database: a core that hung, and wakes up when another has the lease."""
    with fleet.world.store.write() as tx:
        incarnations.begin(tx)
    fleet.world.store.write_only_while(lambda: False)
    with pytest.raises(Exception, match="no longer does"):
        fleet.look()
    assert fleet.lines.names == []


class Dead:
    """Nobody answers its probes."""

    async def probe(self, target: ProbeTarget, _timeout_s: float, _notices: object = ()) -> ProbeOutcome:
        await asyncio.sleep(0)
        return ProbeOutcome(target.endpoint, None, 0.0, "")

    def renew(self) -> None:
        """There are no ports."""

    def close(self) -> None:
        """Nothing is open."""


@pytest.fixture
def other_process(database_url: str) -> Iterator[Store]:
    """The database as another process has it open."""
    with closing(Store(database_url)) as store:
        yield store


def test_a_superseded_panel_takes_out_no_node_publishes_nothing_moves_nobody_and_says_so(
    panel: Panel, client: httpx.Client, other_process: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "Prober", Dead)
    world = World(panel.store, panel.vault)
    config = world.config()
    world.serving(config, "fra1", "ams1")
    dns = {"provider": "null", "zone": "example.com"}
    made(client, "/api/configs/wg0/endpoint-group", domain="vpn.example.com", dns=dns)
    options = GroupDrainOptions(force=False, drain_window_s=None, grace_s=0.0, nodes=())
    with panel.store.write() as tx:
        drain = operations.start(
            tx, "test", OperationKind.DRAIN_GROUP, "g", config_id=None, node_id=None, options=options
        ).id
        incarnations.supersede(tx, incarnations.begin(tx).number, "nodes obey another")
    start = begin(panel.store, panel.vault, panel.authorities, 90)

    def state() -> tuple[set[Health], bool, OperationState]:
        with other_process.read() as tx:
            [sync] = tx.session.scalars(select(DnsSync))
            found = {row.health for row, _ in assignment_rows.of_config(tx, config.id)}
            return found, sync.checked_at is not None, operations.get(tx, drain).state

    before = state()
    assert before == ({Health.SERVING}, False, OperationState.PENDING)

    def restore() -> None:
        with other_process.write() as tx:
            incarnations.restored(tx, "somebody")

    async def run() -> None:
        panel.outlook.superseded = start.superseded
        parts = panel.store, panel.vault, panel.authorities, panel.publisher, panel.settings
        supervisor = Supervisor(*parts, panel.outlook, start)
        supervisor.start()
        try:
            await asyncio.sleep(3)
            assert await asyncio.to_thread(state) == before
            answer = await asyncio.to_thread(client.get, "/readyz")
            told = answer.json()
            assert (answer.status_code, told["status"]) == (503, "unavailable")
            assert told["superseded"] == "nodes obey another"
            assert "wgfleet panel restored" in told["way_out"]
            assert "wgfleet_superseded 1.0" in (await asyncio.to_thread(client.get, "/metrics")).text
            await asyncio.to_thread(restore)
            await asyncio.to_thread(eventually, lambda: state()[1:] == (True, OperationState.SUCCEEDED))
            await asyncio.to_thread(eventually, lambda: state()[0] != before[0])
            # It may be said to be late: what the machine is busy with is not what this is about.
            await asyncio.to_thread(eventually, lambda: client.get("/readyz").status_code == 200)
            assert "superseded" not in (await asyncio.to_thread(client.get, "/readyz")).json()
        finally:
            await supervisor.close()

    asyncio.run(run())
