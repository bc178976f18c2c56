"""Reasons why a peer is not connected, as far as the panel knows: from its own switch to the node it would reach."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from wgfleet.panel import clock
from wgfleet.panel.domain.health.votes import Health
from wgfleet.panel.domain.phases import Phase
from wgfleet.panel.services.fleet import assignments, node_agents, peer_nodes, peers
from wgfleet.panel.store import Tx
from wgfleet.panel.store.shown_peers import ShownPeer
from wgfleet.panel.web.languages import marked
from wgfleet.protocol.observed import LIVE_S


@dataclass(frozen=True, slots=True)
class OfflineReason:
    """A reason in words, the thing that it is about, and what is known of it (in English, from a service)."""

    text: str
    subject: str = ""
    detail: str = ""
    path: str = ""


def is_live(session: Mapping[str, Any] | None) -> bool:
    """Say whether a session, as the API shows it, is one that still counts."""
    if session is None or session["latest_handshake"] is None:
        return False
    age: float = (datetime.fromtimestamp(clock.now(), UTC) - session["latest_handshake"]).total_seconds()
    return age <= LIVE_S


def reasons(tx: Tx, peer: ShownPeer, live_s: float) -> list[OfflineReason]:
    """Return what keeps a peer from being connected; nothing where it is, or where nothing is known to."""
    session = peers.sessions(tx, [peer.id]).get(peer.id)
    if (
        peer.enabled
        and peer.restricted_at is None
        and session is not None
        and session.latest_handshake >= clock.steady() - live_s
    ):
        return []
    found = list(_reasons(tx, peer))
    if session is None:
        found.append(OfflineReason(marked("It has never been connected: look whether the file is on the device.")))
    elif not found:
        found.append(
            OfflineReason(
                marked("The nodes are well: the device is switched off, has no network, or uses an old file.")
            )
        )
    return found


def _reasons(tx: Tx, peer: ShownPeer) -> Iterator[OfflineReason]:
    if not peer.enabled:
        yield OfflineReason(marked("It is switched off here: no node accepts it."))
    if peer.restricted_at is not None:
        yield OfflineReason(marked("A limit keeps it out:"), detail=peer.restricted_because or "")
    listed = assignments.listing(tx, peer.config_id)
    serving = [each for each in listed if each.assignment.phase == Phase.SERVING]
    if not serving:
        yield OfflineReason(marked("No node serves its config."))
    usable = {node.id for node in peer_nodes.usable(tx, peer.id, [each.node for each in serving])}
    if serving and not usable:
        yield OfflineReason(marked("None of the nodes that it may use serves its config."))
    serving = [each for each in serving if each.node.id in usable]
    for each in serving:
        row, path = each.assignment, f"/nodes/{each.node.name}"
        if row.health != Health.SERVING:
            yield OfflineReason(marked("A node of its config is not well:"), each.node.name, row.health_reason, path)
        elif not each.node.connected:
            detail = each.node.summary
            yield OfflineReason(marked("The agent of a node does not answer:"), each.node.name, detail, path)
        warning = node_agents.clock_warning(each.node)
        if warning is not None:
            yield OfflineReason(marked("The clock of a node is wrong:"), each.node.name, warning, path)
