"""Whatever happens to nodes and lists, no two machines have an address, and none is lost for good."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from tests.panel.floating.test_holders import A1, A2, LAPSED_S, becomes, holder_names, look, put
from tests.panel.world import World
from wgfleet.panel import clock
from wgfleet.panel.domain.health.votes import Health
from wgfleet.panel.services.floating import holders
from wgfleet.panel.store import assignments as assignment_rows
from wgfleet.panel.store.tables import Config, Node

A3 = "2001:db8::10"
NAMES = ("fra1", "ams1", "par1")
numbers = st.integers(0, len(NAMES) - 1)


class Addresses(RuleBasedStateMachine):
    """`cut`: nodes that nobody reaches, and whose agents therefore give up what they held, as agents do.

    `hung`: nodes whose kernels are heard alone, until those take the addresses off that nobody renews.
    """

    directory: Path

    def __init__(self) -> None:
        super().__init__()
        self.world = World.open(f"sqlite:///{self.directory / clock.new_id()}.sqlite")
        self.cut: set[str] = set()
        self.hung: set[str] = set()
        self.config: Config
        self.nodes: list[Node]

    def teardown(self) -> None:
        self.world.store.close()

    @initialize(addresses=st.sets(st.sampled_from([A1, A2, A3]), min_size=1))
    def begin(self, addresses: set[str]) -> None:
        self.config = self.world.config()
        self.nodes = self.world.serving(self.config, *NAMES)
        put(self.world, self.config, *sorted(addresses))

    @rule(number=numbers)
    def sync(self, number: int) -> None:
        if self.nodes[number].id not in self.cut | self.hung:
            self.world.sync(self.config, self.nodes[number])

    @rule(number=numbers, why=st.sampled_from(["cable", "hung", "answers"]))
    def down(self, number: int, why: str) -> None:
        """A node goes down, for the reason that its cable is cut, or it hangs, or with an agent that still answers."""
        node = self.nodes[number]
        others = [other for other in self.nodes if other.id != node.id and self.state(other) == Health.SERVING]
        if self.state(node) != Health.SERVING or not others:
            return
        if why != "answers":
            (self.cut if why == "cable" else self.hung).add(node.id)
        becomes(self.world, self.config, node, Health.DOWN, silent=why == "cable", hung=why == "hung")

    @rule()
    def lapse(self) -> None:
        for node in self.nodes:
            if node.id in self.hung:
                self.world.lapse(self.config, node)

    @rule()
    def looked_at_when_all_has_lapsed(self) -> None:
        self.lapse()
        self.look(LAPSED_S)

    @rule(number=numbers)
    def mended(self, number: int) -> None:
        """A node that was down answers again, and serves when its agent has applied the fence."""
        node = self.nodes[number]
        if self.state(node) != Health.DOWN:
            return
        self.cut.discard(node.id)
        self.hung.discard(node.id)
        becomes(self.world, self.config, node, Health.RECOVERING)
        self.world.sync(self.config, node)
        becomes(self.world, self.config, node, Health.SERVING)

    @rule(number=numbers)
    def emptied(self, number: int) -> None:
        with self.world.store.write() as tx:
            holders.empty(tx, self.config.id, self.nodes[number].id)

    @rule(addresses=st.sets(st.sampled_from([A1, A2, A3])))
    def listed(self, addresses: set[str]) -> None:
        put(self.world, self.config, *sorted(addresses))

    @rule()
    def looked_at(self) -> None:
        self.look(0.0)

    def look(self, later_s: float) -> None:
        silent = tuple(node for node in self.nodes if node.id in self.cut | self.hung)
        look(self.world, self.config, silent=silent, later_s=later_s)

    def state(self, node: Node) -> Health:
        with self.world.store.read() as tx:
            assignment = assignment_rows.get(tx, self.config.id, node.id)
        assert assignment is not None
        return assignment.health

    def held(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for node in self.nodes:
            if node.id not in self.cut:
                for address in self.world.has.get((node.id, self.config.id), ()):
                    found.setdefault(address, []).append(node.name)
        return found

    @invariant()
    def no_two_machines_have_an_address(self) -> None:
        if hasattr(self, "nodes"):
            assert all(len(names) == 1 for names in self.held().values()), self.held()

    @invariant()
    def every_address_is_with_a_node_in_use(self) -> None:
        if hasattr(self, "nodes"):
            serving = {node.name for node in self.nodes if self.state(node) == Health.SERVING}
            assert set(holder_names(self.world, self.config).values()) <= serving

    def settle(self) -> None:
        """When nothing happens any more, each address is on the machine that is to have it."""
        self.lapse()
        for _ in range(3):
            self.looked_at()
            for number in range(len(self.nodes)):
                self.sync(number)
        assert self.held() == {address: [name] for address, name in holder_names(self.world, self.config).items()}

    @rule()
    def quiet(self) -> None:
        self.settle()


@pytest.mark.slow
def test_an_address_has_one_holder_whatever_happens(tmp_path_factory: pytest.TempPathFactory) -> None:
    class Here(Addresses):
        directory = tmp_path_factory.mktemp("addresses")

    kept: dict[str, Any] = {"suppress_health_check": list(HealthCheck)}
    run_state_machine_as_test(Here, settings=settings(max_examples=10, stateful_step_count=20, deadline=None, **kept))
