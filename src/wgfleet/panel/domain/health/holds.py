"""Holds: why a node that most do not reach is left in use. The one place that knows, for decisions and for forecasts.

Pure. Must not count votes, nor change a state.
"""

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum

from wgfleet.panel.domain.health.votes import HealthRules, Poll
from wgfleet.protocol.ids import NodeId
from wgfleet.protocol.reasons import Reason, template


class HoldReason(StrEnum):
    """Why nothing is done."""

    PAUSED = "paused"
    FROZEN = "frozen"
    ONLY_NODE = "only_node"
    ONE_SITE = "one_site"
    UNCONFIRMED = "unconfirmed"
    NO_REFUGE = "no_refuge"
    MIN_NODES = "min_nodes"


@dataclass(frozen=True, slots=True)
class Hold:
    """A node is left in use: why, and in words."""

    reason: HoldReason
    words: str


@dataclass(frozen=True, slots=True)
class Scene:
    """What holds for all nodes of a config in one decision."""

    rules: HealthRules
    now: float
    nodes: int
    floor: int
    refuge: bool
    frozen: bool
    paused: bool
    approved: Collection[NodeId] = ()


_WORDS = {
    HoldReason.PAUSED: template(
        "does not answer, but automation is paused for this config: nothing is done before it is resumed"
    ),
    HoldReason.FROZEN: template(
        "does not answer, but neither do most others: nothing is done before an administrator approves it"
    ),
    HoldReason.ONLY_NODE: template(
        "does not answer the panel; it is the only node, so nobody can confirm that it is down"
    ),
    HoldReason.ONE_SITE: template(
        "does not answer, but all that miss it stand in one site: an administrator has to approve it"
    ),
    HoldReason.UNCONFIRMED: template("does not answer, but no second vantage point has confirmed it"),
    # Clients gain nothing, and what all have in common may be our probe.
    HoldReason.NO_REFUGE: template("unreachable, but so is every other node: there is nowhere to fail over to"),
    HoldReason.MIN_NODES: template(
        "does not answer, but without it fewer than {floor} nodes would be left (min_nodes)"
    ),
}


def hold_of(scene: Scene, node_id: NodeId, poll: Poll, spare: int) -> Hold | None:
    """Say why a node that most do not reach is left in use, or None. `spare`: how many nodes may be taken out."""
    reason = _reason(scene, node_id, poll, spare)
    return (
        None
        if reason is None
        else Hold(reason, Reason(_WORDS[reason], **({"floor": scene.floor} if reason is HoldReason.MIN_NODES else {})))
    )


def _reason(scene: Scene, node_id: NodeId, poll: Poll, spare: int) -> HoldReason | None:
    # Meanwhile somebody may have seen it again.
    approved = node_id in scene.approved and poll.failing == poll.fresh
    if scene.paused:
        return HoldReason.PAUSED
    if scene.frozen and not approved:
        return HoldReason.FROZEN
    if scene.nodes == 1:
        return HoldReason.ONLY_NODE
    if not (poll.proves_down or approved):
        return HoldReason.ONE_SITE if poll.one_sided else HoldReason.UNCONFIRMED
    if not scene.refuge:
        return HoldReason.NO_REFUGE
    return HoldReason.MIN_NODES if spare <= 0 else None
