"""Whatever panels, copies of them, agents and faults do in whatever order, agents follow one history at a time.

Panels are started again, cloned, restored from older copies (with and without `wgfleet panel restored`), or hang while
a standby takes over. Checked with each contact: an agent in sync has exactly what the panel renders; a difference is
found in the first cycle; no agent obeys an older panel after a newer one; generations never go back.
"""

import asyncio
import shutil
import sqlite3
import tempfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from tests.migrated import migrated_at
from tests.panel.agents.machine import Line, Machine
from tests.panel.agents.model import content
from tests.panel.authority import keep
from tests.panel.world import ACTOR, World
from wgfleet.panel import clock
from wgfleet.panel.agents.authorities import Authorities
from wgfleet.panel.agents.client import AgentClient
from wgfleet.panel.domain.certificates import Issued
from wgfleet.panel.domain.moves import MoveStep, next_step
from wgfleet.panel.errors import PanelError
from wgfleet.panel.reconcile.agents.connection import AgentConnection
from wgfleet.panel.reconcile.agents.departures import Departures
from wgfleet.panel.reconcile.agents.pusher import Pusher
from wgfleet.panel.reconcile.outlook import Outlook
from wgfleet.panel.services import configs, incarnations
from wgfleet.panel.services.fleet import node_agents, nodes, peers
from wgfleet.panel.services.moves import kinds
from wgfleet.panel.store import Store
from wgfleet.panel.store import nodes as node_rows
from wgfleet.panel.store.tables import Config, Node
from wgfleet.panel.vault import Vault
from wgfleet.protocol.panel_name import PanelName

MAX_PANELS = 4
NODES = 3
which = st.integers(0, 11)


@dataclass
class Panel:
    """A running panel. `decides`: it has the lease; one that hung has lost it, and does not know."""

    world: World
    path: Path
    name: PanelName
    decides: bool = True
    lines: dict[str, AgentConnection] = field(default_factory=dict)


class Histories(RuleBasedStateMachine):
    """Up to four panels of one installation, up to three machines."""

    @initialize()
    def begin(self) -> None:
        # In memory: thousands of commits would otherwise wait for the disk.
        self.folder = tempfile.TemporaryDirectory(dir="/dev/shm")
        self.vault = Vault([bytes(32)])
        self.copies: list[Path] = []
        self.stores: list[Store] = []
        self.machines: dict[str, Machine] = {}
        self.files = self.peers = 0
        path = self.file()
        url = migrated_at(path)
        # Its CA is there before a panel names itself: agents tell installations apart by it.
        with closing(Store(url)) as store:
            keep(store, self.vault)
        self.panels = [self.start(path)]
        world = self.panels[0].world
        world.config("wg0", "cluster", ("10.8.0.0/24",))
        world.config("wg1", "independent", ("10.9.0.0/24",))
        for _ in range(2):
            self.create_node(0)
        self.copy(0)
        self.assign(0, 0, 0)
        self.contact(0, 0, fault=None, fresh=True)

    def teardown(self) -> None:
        for store in getattr(self, "stores", ()):
            store.close()
        if hasattr(self, "folder"):
            self.folder.cleanup()

    def file(self) -> Path:
        self.files += 1
        return Path(self.folder.name) / f"{self.files}.sqlite"

    def start(self, path: Path) -> Panel:
        store = Store(f"sqlite:///{path}")
        self.stores.append(store)
        world = World(store, self.vault)
        with store.write() as tx:
            return Panel(world, path, incarnations.name(tx, self.vault, incarnations.begin(tx)))

    def panel(self, panel: int) -> Panel:
        return self.panels[panel % len(self.panels)]

    def rows(self, panel: Panel) -> tuple[list[Config], list[Node]]:
        with panel.world.store.read() as tx:
            return list(configs.page(tx)), list(nodes.page(tx))

    # What people do.

    @rule(panel=which)
    def create_node(self, panel: int) -> None:
        there = self.panel(panel)
        if not there.decides or len(self.rows(there)[1]) >= NODES or len(self.machines) >= 2 * NODES:
            return
        node = there.world.node(f"n{len(self.machines)}")
        folder = Path(self.folder.name) / node.id
        folder.mkdir()
        self.machines[node.id] = Machine(folder)
        with there.world.store.write() as tx:
            node_agents.enrolled(
                tx,
                nodes.get(tx, node.id),
                agent_port=1,
                issued=Issued(None, node.id, clock.now() + 80 * 86400),
            )

    @rule(panel=which, config=which, node=which)
    def assign(self, panel: int, config: int, node: int) -> None:
        self.try_to(panel, config, node, lambda world, wg, n: world.assign(wg, n))

    @rule(panel=which, config=which, node=which)
    def unassign(self, panel: int, config: int, node: int) -> None:
        """Remove a node, whose agent nobody asks meanwhile: it owes a cleanup."""

        def remove(world: World, wg: Config, n: Node) -> None:
            operation = world.remove(wg, n, force=True, window_s=0)
            step = MoveStep.BACKUP
            while step is not MoveStep.DONE:
                with world.store.write() as tx:
                    step = next_step(kinds.view(tx, operation.id), clock.now(), confirm_within_s=0)
                    if step is MoveStep.DONE:
                        break
                    kinds.perform(tx, world.vault, step, operation.id, live_within_s=0, clean_within_s=0)

        self.try_to(panel, config, node, remove)

    @rule(panel=which, node=which)
    def delete_node(self, panel: int, node: int) -> None:
        def delete(world: World, _wg: Config, n: Node) -> None:
            with world.store.write() as tx:
                nodes.delete(tx, ACTOR, nodes.get(tx, n.id), force=True)

        self.try_to(panel, 0, node, delete)

    @rule(panel=which, config=which, mtu=st.sampled_from([None, 1280, 1400]))
    def change_settings(self, panel: int, config: int, mtu: int | None) -> None:
        def change(world: World, wg: Config, _n: Node) -> None:
            with world.store.write() as tx:
                configs.update(tx, ACTOR, configs.get(tx, wg.id), {"mtu": mtu})

        self.try_to(panel, config, 0, change)

    @rule(panel=which, config=which)
    def create_peer(self, panel: int, config: int) -> None:
        self.peers += 1
        self.try_to(panel, config, 0, lambda world, wg, _n: world.peers(wg, f"p{self.peers}"))

    @rule(panel=which, config=which, peer=which)
    def delete_peer(self, panel: int, config: int, peer: int) -> None:
        def delete(world: World, wg: Config, _n: Node) -> None:
            with world.store.write() as tx:
                found = peers.page(tx, wg.id)
                if found:
                    peers.delete(tx, ACTOR, configs.get(tx, wg.id), [found[peer % len(found)].id])

        self.try_to(panel, config, 0, delete)

    def try_to(self, panel: int, config: int, node: int, act: Callable[[World, Config, Node], object]) -> None:
        there = self.panel(panel)
        wgs, found = self.rows(there)
        if wgs and found and there.decides:
            try:
                act(there.world, wgs[config % len(wgs)], found[node % len(found)])
            except PanelError:
                return

    # What becomes of panels.

    @rule(panel=which)
    def copy(self, panel: int) -> None:
        target = self.file()
        with (
            closing(sqlite3.connect(self.panel(panel).path)) as source,
            closing(sqlite3.connect(target)) as copied,
        ):
            source.backup(copied)
        self.copies.append(target)

    @precondition(lambda self: self.copies)
    @rule(copy=which, instead=which, clone=st.booleans(), said=st.booleans())
    def start_a_copy(self, copy: int, instead: int, *, clone: bool, said: bool) -> None:
        """As a clone beside the others, or in place of one of them."""
        if not clone or len(self.panels) >= MAX_PANELS:
            self.panels.remove(self.panel(instead))
        target = self.file()
        shutil.copy(self.copies[copy % len(self.copies)], target)
        if said:
            with closing(Store(f"sqlite:///{target}")) as store, store.write() as tx:
                incarnations.restored(tx, ACTOR)
        self.panels.append(self.start(target))

    @rule(panel=which, times=st.integers(1, 3))
    def restart(self, panel: int, times: int) -> None:
        before = self.panel(panel)
        if not before.decides:
            return
        for _ in range(times):
            after = self.start(before.path)
        self.panels[self.panels.index(before)] = after

    @rule(panel=which)
    def take_over(self, panel: int) -> None:
        """One hangs, and another on the same database decides."""
        before = self.panel(panel)
        if before.decides and len(self.panels) < MAX_PANELS:
            before.decides = False
            before.world.store.write_only_while(lambda: False)
            self.panels.append(self.start(before.path))

    @rule(panel=which)
    def say_that_it_counts(self, panel: int) -> None:
        """While it runs."""
        there = self.panel(panel)
        if there.decides:
            with there.world.store.write() as tx:
                incarnations.restored(tx, ACTOR)
                there.name = incarnations.name(tx, self.vault, incarnations.begin(tx))
            for connection in there.lines.values():
                cast("Line", connection.client).name = there.name

    # What agents and panels do with each other.

    @rule(panel=which)
    def contact_all(self, panel: int) -> None:
        for machine in range(len(self.machines)):
            self.contact(panel, machine, fault=None, fresh=True)

    @rule(panel=which)
    def contact_all_again(self, panel: int) -> None:
        """By what it knows of them."""
        for machine in range(len(self.machines)):
            self.contact(panel, machine, fault=None, fresh=False)

    @rule(machine=which)
    def restart_agent(self, machine: int) -> None:
        list(self.machines.values())[machine % len(self.machines)].restart()

    @rule(
        panel=which,
        machine=which,
        fault=st.sampled_from([None, None, "request lost", "answer lost"]),
        fresh=st.booleans(),
    )
    def contact(self, panel: int, machine: int, *, fault: str | None, fresh: bool) -> None:
        """Have a panel do its cycles with a node; `fresh`: after it has read what the agent has."""
        there, node_id = self.panel(panel), list(self.machines)[machine % len(self.machines)]
        with there.world.store.read() as tx:
            known = node_rows.find(tx, node_id) is not None
        if known:
            self.manage(there, node_id, fault=fault, fresh=fresh)
        elif there.decides:
            line = Line(self.machines[node_id], there.name, fault)

            async def client(*_: object) -> AgentClient:
                return cast("AgentClient", line)

            asyncio.run(Departures(there.world.store, client, Outlook()).ask_all())

    def manage(self, there: Panel, node_id: str, *, fault: str | None, fresh: bool) -> None:
        machine = self.machines[node_id]
        connection = there.lines.get(node_id)
        if connection is None or not connection.connected or fresh:
            if machine.refusal(there.name) is not None:
                there.lines.pop(node_id, None)
                return
            line = Line(machine, there.name)
            connection = AgentConnection(node_id, cast("AgentClient", line), there.world.store, lambda: None)
            connection.connected, connection.features = True, machine.agent.features
            connection.reported = machine.agent.reported()
            there.lines[node_id] = connection
            fresh = True
        cast("Line", connection.client).fault = fault
        differs = self.has(machine) != self.rendered(there, node_id)
        pusher = Pusher(there.world.store, there.world.vault, Authorities(there.world.vault), 90)
        for cycle in range(12):
            done = asyncio.run(pusher.cycle(connection))
            if fresh and cycle == 0:
                assert not (differs and done.idle), "a difference that nobody notices"
            if machine.panels.refusal(str(there.name)) is not None or not there.decides:
                del there.lines[node_id]
                return
            if fault is not None:
                # The stream has what the answer did not say, or ends.
                connection.reported, fault = machine.agent.reported(), None
                pusher = Pusher(there.world.store, there.world.vault, Authorities(there.world.vault), 90)
            elif done.idle:
                break
        else:
            raise AssertionError(done.summary)
        if fresh:
            assert self.has(machine) == self.rendered(there, node_id)

    def has(self, machine: Machine) -> dict[str, Any]:
        return {name: content(each) for name, each in machine.agent.kept.items()}

    def rendered(self, there: Panel, node_id: str) -> dict[str, Any]:
        with there.world.store.read() as tx:
            node = nodes.get(tx, node_id)
        wanted = {config.name: there.world.whole(config, node) for config in self.rows(there)[0]}
        return {name: content(whole) for name, whole in wanted.items() if whole is not None}


TestHistories = pytest.mark.slow(Histories.TestCase)
TestHistories.settings = settings(max_examples=15, stateful_step_count=30)
