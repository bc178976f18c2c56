"""Forecasts: of which nodes of a config nobody would take over by itself if they died now, why, and what ends that.

Reads only. `domain.health.foresight` decides; a node that joins is taken to serve already.
"""

from dataclasses import dataclass

from wgfleet.panel.domain.health.foresight import without_failover
from wgfleet.panel.domain.health.holds import HoldReason
from wgfleet.panel.domain.health.judge import UNSEEN
from wgfleet.panel.domain.health.votes import Health, HealthRules, Observed, Standing, Witness
from wgfleet.panel.domain.phases import Phase
from wgfleet.panel.hints import Hint, HintCode
from wgfleet.panel.services import health
from wgfleet.panel.services.fleet import witnesses
from wgfleet.panel.services.fleet.shared_addresses import beside_panel
from wgfleet.panel.store import Tx
from wgfleet.panel.store import assignments as assignment_rows
from wgfleet.panel.store import endpoint_groups as endpoint_group_rows
from wgfleet.panel.store.tables import Assignment, Config, Node
from wgfleet.protocol.features import Feature
from wgfleet.protocol.ids import NodeId
from wgfleet.protocol.reasons import Reason, template

_WORDS = {
    HoldReason.ONLY_NODE: template("it is the only node of the config"),
    HoldReason.UNCONFIRMED: template("nobody could confirm what the panel sees"),
    HoldReason.ONE_SITE: template("all that would miss it stand in one site, which may itself be cut off"),
    HoldReason.NO_REFUGE: template("no other node of the config is in use"),
    HoldReason.MIN_NODES: template("fewer than {floor} nodes would be left (min_nodes)"),
    HoldReason.PAUSED: template("automation is paused for the config"),
}
_HINTS = {
    HoldReason.ONLY_NODE: (HintCode.ASSIGN_NODE,),
    HoldReason.UNCONFIRMED: (HintCode.ASSIGN_NODE, HintCode.ADD_WITNESS),
    HoldReason.ONE_SITE: (HintCode.ASSIGN_NODE, HintCode.ADD_WITNESS),
    HoldReason.NO_REFUGE: (HintCode.LIST_CONFIG_NODES, HintCode.ASSIGN_NODE),
    HoldReason.MIN_NODES: (HintCode.ASSIGN_NODE, HintCode.SET_ENDPOINT_GROUP),
    HoldReason.PAUSED: (HintCode.RESUME_AUTOMATION,),
}


@dataclass(frozen=True, slots=True)
class NoFailover:
    """Nobody takes over by itself when a node dies: the reason, in words, and ways out."""

    reason: HoldReason
    words: str
    hints: tuple[Hint, ...]


def of_config(tx: Tx, config: Config, rules: HealthRules, site: str = "") -> dict[str, NoFailover]:
    """Return by node's id what stands against a failover; nodes whose peers others would take over are left out.

    `site`: the one that the panel stands in.
    """
    rows = [
        (assignment, node)
        for assignment, node in assignment_rows.of_config(tx, config.id)
        if assignment.phase != Phase.REMOVED
    ]
    if not rows or not config.enabled:
        return {}
    domain_of = health.domains_of_nodes(tx, site)
    looking = [(each.node, each.key.unreached > 0) for each in witnesses.looking(tx, config.id)]
    group = endpoint_group_rows.get(tx, config.id)
    floor = max(group.min_nodes if group else 1, 1)
    found = without_failover(
        {NodeId(node.id): _observed(assignment, node, domain_of.get(node.id, "")) for assignment, node in rows},
        {NodeId(node.id): _standing(assignment) for assignment, node in rows},
        rules,
        min_nodes=floor,
        paused=config.paused_since is not None,
        witnesses=[_witness(node, domain_of.get(node.id, ""), blind=blind) for node, blind in looking],
    )
    names = {node.id: node.name for _, node in rows}
    useless = next(((node, blind) for node, blind in looking if blind or not _is_heard(node)), None)
    return {
        node_id: _told(config, names[node_id], reason, floor, useless if reason is HoldReason.UNCONFIRMED else None)
        for node_id, reason in found.items()
    }


def _observed(assignment: Assignment, node: Node, domain: str) -> Observed:
    return Observed(
        NodeId(node.id),
        agent_connected=node.connected or assignment.phase == Phase.JOINING,
        verdicts=(),
        beside_panel=beside_panel(node),
        domain=domain,
        leaving=assignment.phase == Phase.DRAINING,
        unseen=assignment.health_reason if assignment.health_reason.startswith(UNSEEN) else "",
    )


def _standing(assignment: Assignment) -> Standing:
    state = Health.SERVING if assignment.phase == Phase.JOINING else assignment.health
    return Standing(state, assignment.health_since, assignment.health_reason)


def _is_heard(node: Node) -> bool:
    return node.connected and Feature.WITNESS in node.agent_features


def _witness(node: Node, domain: str, *, blind: bool) -> Witness:
    return Witness(NodeId(node.id), _is_heard(node) and not blind, domain)


def _why(reason: HoldReason, floor: int) -> Reason:
    return Reason(_WORDS[reason], **({"floor": floor} if reason is HoldReason.MIN_NODES else {}))


def _told(config: Config, name: str, reason: HoldReason, floor: int, useless: tuple[Node, bool] | None) -> NoFailover:
    """Say it. `useless`: a witness that confirms nothing, and whether that is since it reaches no node."""
    words = Reason("there is no automatic failover if node {name!r} dies: {why}", name=name, why=_why(reason, floor))
    hints = [Hint(code, config=config.name) for code in _HINTS[reason]]
    if useless is not None:
        witness, blind = useless
        if blind and _is_heard(witness):
            words = Reason(
                "{what}, as witness {name!r} reaches no node that others reach", what=words, name=witness.name
            )
        else:
            words = Reason("{what}, as witness {name!r} does not answer", what=words, name=witness.name)
            hints.insert(0, Hint(HintCode.WAIT_FOR_NODE, node=witness.name))
    return NoFailover(reason, words, tuple(hints))
