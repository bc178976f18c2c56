"""Foresight: of which nodes nobody would take over without a person, if they died now, and why.

Pure. It lets each node die on paper, asks those who would be asked, and judges by the functions of the decision itself.
"""

from collections.abc import Collection, Mapping

from wgfleet.panel.domain.health.holds import HoldReason, Scene, hold_of
from wgfleet.panel.domain.health.vantage import Lookout, electorate
from wgfleet.panel.domain.health.votes import PANEL, HealthRules, Observed, Standing, Verdict, Witness, count
from wgfleet.protocol.ids import NodeId

_NOW = 1000.0


def without_failover(
    observed: Mapping[NodeId, Observed],
    standings: Mapping[NodeId, Standing],
    rules: HealthRules,
    *,
    min_nodes: int,
    paused: bool = False,
    witnesses: Collection[Witness] = (),
) -> dict[NodeId, HoldReason]:
    """Return the nodes of a config that are in use and stay so when they die, each with the reason.

    The others are taken to answer where they are in use now. What was seen of a node counts only as far as the panel
    can look at it, and whether its agent can be asked to look.
    """
    voters = electorate(observed, standings, witnesses)
    lookout = Lookout(observed, standings, witnesses)
    confirming = {witness.node_id for witness in witnesses}
    in_use = {node_id for node_id in observed if standings[node_id].state.in_use}
    staying = {node_id for node_id in in_use if not observed[node_id].leaving}
    found: dict[NodeId, HoldReason] = {}
    for target in sorted(staying):
        scene = Scene(
            rules,
            _NOW,
            nodes=len(observed),
            floor=max(min_nodes, 1),
            refuge=len(staying) > 1,
            frozen=False,
            paused=paused,
        )
        eyes = [*([] if observed[target].unseen else [PANEL]), *lookout.vantages(target)]
        missed = tuple(Verdict(vantage, rules.failures, _NOW - rules.fresh_s, _NOW) for vantage in eyes)
        dead = Observed(target, agent_connected=False, verdicts=missed)
        poll = count(dead, voters, rules, _NOW, confirming)
        hold = hold_of(scene, target, poll, len(staying) - scene.floor)
        if hold is not None:
            found[target] = hold.reason
    return found
