"""A network on paper that knows who reaches whom, and checks each decision on health against what it may rest on.

It probes as the panel does and looks where the decision wants it to.
"""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from wgfleet.panel.domain.health.judge import (
    PANEL,
    Decision,
    Health,
    HealthRules,
    Observed,
    Quorum,
    SilentNodes,
    Standing,
    Verdict,
    Witness,
    decide,
)
from wgfleet.panel.domain.health.vantage import MAX_VANTAGE_NODES
from wgfleet.panel.domain.health.votes import is_fresh
from wgfleet.panel.settings import Settings
from wgfleet.protocol.ids import NodeId

TICK = 0.25
DEFAULTS = Settings().health.rules
QUICK = HealthRules(
    interval_s=TICK, failures=2, cross_check_s=1, fresh_s=2, stable_s=2, stable_cap_s=8, flap_window_s=60, at_once_s=2
)
SETTLED_S = 3 * (QUICK.fresh_s + QUICK.stable_cap_s + QUICK.cross_check_s)

S = Health.SERVING  # by far the word used most
OUT_OF_USE = {Health.DOWN, Health.RECOVERING}


def names(count: int) -> list[NodeId]:
    return [NodeId(f"n{number}") for number in range(count)]


@dataclass
class Network:
    """A panel and nodes of one config; `step` is one interval of the panel's loop."""

    nodes: list[NodeId]
    rules: HealthRules = QUICK
    min_nodes: int = 1
    beside_panel: frozenset[NodeId] = frozenset()
    sites: dict[NodeId, str] = field(default_factory=dict)
    now: float = 1000.0
    cuts: set[frozenset[str]] = field(default_factory=set)
    blind: set[tuple[str, NodeId]] = field(default_factory=set)
    dead: set[NodeId] = field(default_factory=set)
    no_agent: set[NodeId] = field(default_factory=set)
    leaving: set[NodeId] = field(default_factory=set)
    unfenced: set[NodeId] = field(default_factory=set)
    witnesses: dict[NodeId, str] = field(default_factory=dict)
    """With the failure domain of each; "": it stands alone."""
    lies: dict[tuple[str, NodeId], bool] = field(default_factory=dict)
    """What a witness says of a node whatever it sees: whether that answered."""
    verdicts: dict[tuple[str, NodeId], Verdict] = field(default_factory=dict)
    standings: Mapping[NodeId, Standing] = field(default_factory=dict)
    history: list[tuple[float, NodeId, Health, Health]] = field(default_factory=list)
    touched_at: dict[NodeId, float] = field(default_factory=dict)
    approved: set[NodeId] = field(default_factory=set)
    decision: Decision | None = None
    frozen: SilentNodes | None = None

    def __post_init__(self) -> None:
        self.quorum = Quorum(self.rules)

    def isolate(self, node: str) -> None:
        self.cuts |= {frozenset((node, other)) for other in [PANEL, *self.nodes, *self.witnesses] if other != node}

    def split(self, side: set[str]) -> None:
        everyone = {PANEL, *self.nodes, *self.witnesses}
        self.cuts |= {frozenset((here, there)) for here in side for there in everyone - side}

    def heal(self) -> None:
        self.cuts.clear()
        self.dead.clear()
        self.no_agent.clear()

    def linked(self, one: str, other: str) -> bool:
        return frozenset((one, other)) not in self.cuts or {one, other} <= {PANEL, *self.beside_panel}

    def connected(self, node: NodeId) -> bool:
        return node not in self.no_agent and self.linked(PANEL, node)

    def look(self, vantage: str, target: NodeId, tries: int = 1) -> None:
        old = self.verdicts.get((vantage, target), Verdict(vantage, 0, None, None, since=self.now))
        reached = self.linked(vantage, target) and target not in self.dead and (vantage, target) not in self.blind
        if self.lies.get((vantage, target), reached):
            self.verdicts[vantage, target] = replace(old, failures=0, last_ok_at=self.now, last_try_at=self.now)
        else:
            self.verdicts[vantage, target] = replace(old, failures=old.failures + tries, last_try_at=self.now)
            self.touched_at[target] = self.now

    def observed(self) -> dict[NodeId, Observed]:
        return {
            node: Observed(
                node,
                self.connected(node),
                tuple(verdict for (_, target), verdict in self.verdicts.items() if target == node),
                fenced=node not in self.unfenced,
                beside_panel=node in self.beside_panel,
                domain=self.sites.get(node, ""),
                leaving=node in self.leaving,
                agent_missed=not self.connected(node),
            )
            for node in self.nodes
        }

    def step(self) -> Decision:
        self.now += TICK
        for node in self.nodes:
            seen = self.verdicts.get((PANEL, node))
            missed = seen is not None and 0 < seen.failures < self.rules.failures
            self.look(PANEL, node, self.rules.failures if missed else 1)
        observed = self.observed()
        before = self.standings
        watched = [(observed[node], before[node]) for node in self.nodes if node in before]
        self.frozen = self.quorum.look(watched, self.now, self.witnesses.keys())
        decision = decide(
            observed,
            before,
            self.rules,
            min_nodes=self.min_nodes,
            frozen=self.frozen is not None,
            now=self.now,
            approved=self.approved,
            witnesses=[Witness(each, self.connected(each), domain) for each, domain in self.witnesses.items()],
        )
        self.check(before, decision, frozen=self.frozen is not None)
        for node, standing in decision.standings.items():
            if not standing.state.in_use:
                self.quorum.taken_out(node, self.now)
        self.standings, self.decision = decision.standings, decision
        for vantage, target in decision.cross_checks:
            if self.connected(vantage):
                self.look(vantage, target, self.rules.failures if target in self.touched_at else 1)
        return decision

    def check(self, before: Mapping[NodeId, Standing], decision: Decision, *, frozen: bool) -> None:
        after = decision.standings
        left = 0
        for node, standing in after.items():
            old = before.get(node, Standing(S, self.now, ""))
            assert old.since <= standing.since <= self.now
            assert list(standing.flaps) == sorted(standing.flaps)
            if old.state is not standing.state:
                self.history.append((self.now, node, old.state, standing.state))
                assert standing.since == self.now
            if standing.state is Health.DOWN and old.state is not Health.DOWN:
                assert not frozen or node in self.approved
                assert standing.flaps[-1] == self.now
                assert self.now - self.touched_at[node] <= self.rules.fresh_s, "everybody reaches it"
                missing = [v for (_, target), v in self.verdicts.items() if target == node and v.missing(self.rules)]
                if node not in self.approved:
                    others = {PANEL, node, *self.beside_panel}
                    assert any(v.vantage not in others for v in missing), "no node and no witness confirms"
                    assert any(v.vantage not in self.witnesses for v in missing), "witnesses alone"
                assert len(missing) > 1
            if old.state is Health.DOWN:
                assert standing.state in OUT_OF_USE, "serves without a trial"
            left += old.state.in_use and not standing.state.in_use
        if left:
            assert sum(standing.state.in_use for standing in after.values()) >= self.min_nodes
        for vantage, target in decision.cross_checks:
            assert vantage != target
            assert self.connected(vantage)
            assert vantage not in self.beside_panel
        assert len(set(decision.cross_checks)) == len(decision.cross_checks)
        asked = Counter(target for vantage, target in decision.cross_checks if not self.has_looked(vantage, target))
        assert max(asked.values(), default=0) <= MAX_VANTAGE_NODES

    def has_looked(self, vantage: NodeId, target: NodeId) -> bool:
        """Tell whether what a node saw of another still counts."""
        verdict = self.verdicts.get((vantage, target))
        return verdict is not None and is_fresh(verdict, self.rules, self.now)

    def run(self, seconds: float) -> None:
        for _ in range(math.ceil(seconds / TICK)):
            self.step()

    def states(self) -> list[Health]:
        return [self.standings[node].state for node in self.nodes]

    def moves(self, node: NodeId) -> int:
        """Count how often the node was taken out of use: each time its peers move."""
        return sum(1 for _, who, old, new in self.history if who == node and old.in_use and not new.in_use)


def settled(count: int, **given: object) -> Network:
    network = Network(names(count), **given)  # type: ignore[arg-type]  # fields of the network
    network.run(2 * QUICK.fresh_s)
    assert network.states() == [S] * count
    return network
