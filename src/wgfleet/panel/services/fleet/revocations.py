"""Revoking certificates: what that ends, and which agents do not know of it yet."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from wgfleet.panel import clock
from wgfleet.panel.domain.certificates import NO_KEY, CertificateKind, Telling
from wgfleet.panel.errors import Conflict
from wgfleet.panel.hints import Hint, HintCode
from wgfleet.panel.services import certificates
from wgfleet.panel.store import Tx
from wgfleet.panel.store import nodes as node_rows
from wgfleet.panel.store.tables import IssuedCertificate, Node
from wgfleet.panel.store.wakes import Topic
from wgfleet.protocol.features import Feature
from wgfleet.protocol.reasons import Reason

CANNOT_BE_TOLD = "0.1."  # agents of these releases


class Acceptance(NamedTuple):
    """An agent that still accepts a revoked certificate. `until`: s since the epoch; None: until it hears of it."""

    node: str
    telling: Telling
    reason: str
    until: float | None


def revoke(tx: Tx, actor: str, row: IssuedCertificate) -> None:
    """Revoke a certificate: no agent, or the panel, takes it from now on. One that is revoked already stays so."""
    if row.revoked_at is not None:
        return
    node = None if row.node_id is None else node_rows.find(tx, row.node_id)
    working = node is not None and _works_with(row, node.agent_keys)
    # An agent whose certificate has expired is waited for while the CA is replaced: the panel's clock may be wrong.
    # Who revokes the certificate knows that it will not come back.
    if row.expires_at <= clock.now() and not working:
        raise Conflict(
            Reason("certificate {row} has expired, so nobody accepts it", row=row.id), Hint(HintCode.LIST_CERTIFICATES)
        )
    certificates.refuse(tx, actor, row)
    if row.kind is not CertificateKind.AGENT:
        for node_id in node_rows.ids(tx):
            tx.wake(Topic.NODE, node_id)
        return
    if node is not None and working:
        # With the one key it had itself certified the others, in a renewal that has not ended.
        for other in certificates.valid_of_node(tx, node.id):
            certificates.refuse(tx, actor, other)
        node.agent_keys = [NO_KEY]
        tx.wake(Topic.NODE, node.id)


def used(tx: Tx, rows: Sequence[IssuedCertificate]) -> frozenset[str]:
    """Return the ids of those that the panel or agents work with at present; who uses files is not known."""
    running = certificates.of_running_panel(tx)
    keys = node_rows.agent_keys(tx, {row.node_id for row in rows if row.node_id is not None})

    def is_used(row: IssuedCertificate) -> bool:
        if row.kind is CertificateKind.PANEL:
            return row.id == running
        return row.node_id in keys and _works_with(row, keys[row.node_id])

    now = clock.now()
    return frozenset(row.id for row in rows if row.revoked_at is None and row.expires_at > now and is_used(row))


def _works_with(row: IssuedCertificate, keys: Sequence[str]) -> bool:
    """Tell whether the agent of a node with these keys may show a certificate; none: any that was issued to it."""
    return not keys or row.key_digest in keys


def ends(tx: Tx, row: IssuedCertificate) -> str:
    """Say what revoking a certificate ends."""
    if row.kind is CertificateKind.CLIENT:
        return Reason("those who have its files can call no agent any more; open calls are cut off")
    if row.kind is CertificateKind.PANEL:
        if not used(tx, [row]):
            return Reason("nothing, unless another panel runs on a copy of this database")
        return Reason(
            "the running panel makes itself a new certificate first, then opens its connections to all agents again; "
            "nodes go on serving"
        )
    if row.expires_at <= clock.now():
        return Reason(
            "nothing: it has expired, so the agent of node {node!r} has to enroll again anyway", node=row.node_name
        )
    if not used(tx, [row]):
        return Reason("nothing: the agent of node {node!r} works with another one", node=row.node_name)
    return Reason(
        "the panel's connection to node {node!r}: it goes on serving what it has, and gets no changes, "
        "deleted users included, until it has enrolled again",
        node=row.node_name,
    )


def accepted_by(tx: Tx, row: IssuedCertificate) -> Sequence[Acceptance]:
    """Return the agents that still accept a revoked certificate of a panel."""
    if row.revocation is None or row.expires_at <= clock.now():
        return []
    return [_acceptance(node, row) for node in node_rows.not_told(tx, row.revocation)]


def told(tx: Tx, node_id: str, number: int) -> None:
    """Note that a node's agent refuses all that was revoked up to this number."""
    node_rows.set_values(tx, node_id, {"revocations": number})


def _acceptance(node: Node, row: IssuedCertificate) -> Acceptance:
    known, version = node.agent_features, node.agent_version or ""
    if (known and Feature.REVOKED not in known) or version.startswith(CANNOT_BE_TOLD):
        expires = f"{datetime.fromtimestamp(row.expires_at, UTC):%Y-%m-%d %H:%M} UTC"
        reason = Reason(
            "its agent {version} cannot be told: accepted there until it expires {expires}",
            version=node.agent_version,
            expires=expires,
        )
        return Acceptance(node.name, Telling.IMPOSSIBLE, reason, row.expires_at)
    if not node.connected:
        return Acceptance(
            node.name, Telling.UNREACHABLE, Reason("it cannot be reached, and hears of it when it returns"), None
        )
    return Acceptance(node.name, Telling.UNDER_WAY, Reason("it is about to hear of it"), None)
