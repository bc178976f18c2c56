"""Agents of nodes, as their rows have them: how one joins, its certificates, and what was last heard of it."""

from collections.abc import Collection, Mapping
from typing import Any

from wgfleet.panel.domain import clocks
from wgfleet.panel.domain.authorities import Trust
from wgfleet.panel.domain.certificates import NO_KEY, Issued
from wgfleet.panel.domain.fields import is_address
from wgfleet.panel.errors import Conflict, NotFound
from wgfleet.panel.hints import Hint, HintCode
from wgfleet.panel.services import audit, certificates, reach
from wgfleet.panel.services.fleet import backbone, nodes, shared_addresses
from wgfleet.panel.services.fleet.shared_addresses import Place
from wgfleet.panel.store import Tx
from wgfleet.panel.store import installation as installation_rows
from wgfleet.panel.store import nodes as node_rows
from wgfleet.panel.store.nodes import AnyNode
from wgfleet.panel.store.tables import Node
from wgfleet.panel.store.wakes import Topic
from wgfleet.protocol.addresses import is_loopback, parse_port
from wgfleet.protocol.features import Feature
from wgfleet.protocol.reasons import Reason

_KEYS_KEPT = 4  # of renewals of an agent that have not ended, beside the one that it showed last


def enrolled(
    tx: Tx, node: Node, *, agent_port: int, issued: Issued, trusts: Trust = Trust.CURRENT, came_from: str | None = None
) -> None:
    """Note that an agent has joined as this node, with this certificate from now on; any other is refused.

    `trusts`: the CAs that it was given, as of this transaction. `came_from`: the address that it called from; None:
    the panel runs it itself. A node that the panel ran is called there from now on: the panel may have moved away.
    """
    actor = f"node:{node.name}"
    certificates.check_key(tx, issued.key)
    certificates.replaced(tx, actor, node.id)
    certificates.of_agent(tx, actor, node, issued)
    if parse_port(agent_port, "port") != node.agent_port:
        reach.check_agent_port(tx, agent_port, "port")
        shared_addresses.check(tx, Place.of({"agent_port": agent_port}, node), named={"port"})
    if node.is_panel_node and came_from is not None and is_address(came_from) and not is_loopback(came_from):
        node.agent_host, node.is_panel_node = came_from, False
        audit.record(tx, actor, "updated", "node", node.id, name=node.name, agent_host=came_from)
    node.agent_port = agent_port
    node.certificate_expires_at = issued.expires_at
    node.agent_keys = [issued.key]
    node.trusts = trusts
    node.revocations = None
    node.agent_version, node.agent_features = None, []  # it may be another machine, and another release
    node.summary = Reason("joined; not connected yet")
    audit.record(tx, actor, "enrolled", "node", node.id, certificate_expires_at=issued.expires_at)
    tx.wake(Topic.NODE, node.id)


def renewing(tx: Tx, node_id: str, issued: Issued, allowed: Collection[str], shown: str | None = None) -> list[str]:
    """Keep a certificate that an agent is about to get; return the keys that it may show until it has it.

    `allowed`: the keys that it could show when it was asked for its request. Another may have enrolled since, so that
    the panel was talking to who was this node before. `shown`: the one that it showed last, if that is known: it stays
    among them however often the agent refuses, or its answers are lost.
    """
    node = nodes.get(tx, node_id)
    certificates.check_key(tx, issued.key)
    if NO_KEY in node.agent_keys:
        raise Conflict(
            Reason("the certificate of node {node!r} was revoked", node=node.name),
            Hint(HintCode.MAKE_JOIN_TOKEN, node=node.name),
        )
    if node.agent_keys and not {*node.agent_keys} & {*allowed}:
        raise Conflict(
            Reason(
                "another agent has enrolled as node {node!r} meanwhile; this one is no longer renewed", node=node.name
            )
        )
    certificates.of_agent(tx, audit.PANEL, node, issued)
    if node.agent_keys:  # unknown: any is accepted until it is renewed
        sure = shown if shown in node.agent_keys else node.agent_keys[0]
        others = [key for key in node.agent_keys if key != sure]
        node.agent_keys = [sure, *others[-_KEYS_KEPT:], issued.key]
    return node.agent_keys


def renewed(
    tx: Tx, node_id: str, issued: Issued, trusts: Trust = Trust.CURRENT, rotation_id: str | None = None
) -> None:
    """Note that an agent has its new certificate, and that its others are refused.

    Nothing of that where the new one was revoked meanwhile, or where another agent has enrolled. `trusts`: the CAs that
    it was given in that rotation of ours.
    """
    if certificates.is_revoked_key(tx, issued.key):
        return
    installation_rows.lock_authority(tx)
    rotation = installation_rows.rotation(tx)
    node = nodes.get(tx, node_id)
    node.trusts = trusts if rotation is not None and rotation.id == rotation_id else Trust.CURRENT
    certificates.replaced(tx, audit.PANEL, node_id, [issued.key])
    node.certificate_expires_at = issued.expires_at
    node.agent_keys = [issued.key]
    audit.record(tx, audit.PANEL, "certificate_renewed", "node", node_id, certificate_expires_at=issued.expires_at)


def reported(
    tx: Tx,
    node_id: str,
    *,
    connected: bool,
    last_seen_at: float | None = None,
    version: str | None = None,
    known: Collection[Feature] | None = None,
    summary: str | None = None,
) -> None:
    """Keep what the node's reconciler last saw; None leaves a value as it is. Not audited.

    `known`: the features that its agent has; other nodes may have to hear of them.
    """
    if known is not None:
        before = node_rows.agent_features(tx, [node_id]).get(node_id, [])
        if (Feature.BACKBONE in before) != (Feature.BACKBONE in known):
            backbone.node_changed(tx, node_id)
    if node_rows.is_connected(tx, node_id) != connected:
        tx.wake(Topic.NODE_HEARD, node_id)
    values: dict[str, Any] = {
        "connected": connected,
        "last_seen_at": last_seen_at,
        "agent_version": version,
        "agent_features": None if known is None else sorted(known),
        "summary": summary,
    }
    if not node_rows.set_values(tx, node_id, {column: value for column, value in values.items() if value is not None}):
        raise NotFound(Reason("there is no node {node_id!r}; it has been deleted", node_id=node_id))


def knowing(tx: Tx, node_ids: Collection[str], feature: Feature) -> set[str]:
    """Return those of some nodes whose agents had a feature when they were last heard."""
    return {node_id for node_id, found in node_rows.agent_features(tx, node_ids).items() if feature in found}


def heard(tx: Tx, reports: Mapping[str, tuple[float, float | None]]) -> None:
    """Keep when agents were last heard, and how far their clocks are ahead, by node id.

    Nodes that were deleted meanwhile are passed over.
    """
    node_rows.set_heard(tx, reports)


def clock_warning(node: AnyNode) -> str | None:
    """Say that a node's clock is wrong, or None."""
    ahead_s = node.clock_ahead_s or 0.0
    if clocks.is_right(ahead_s):
        return None
    if ahead_s > 0:
        return Reason(
            "its clock is {seconds:.0f} s ahead of the panel's: clients refuse calls with earlier times than they have "
            "seen, so takeovers may fail for as long; run NTP on both",
            seconds=ahead_s,
        )
    return Reason(
        "its clock is {seconds:.0f} s behind the panel's: clients refuse calls with earlier times than they have seen, "
        "so takeovers may fail for as long; run NTP on both",
        seconds=-ahead_s,
    )
