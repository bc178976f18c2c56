"""Certificates that the CA has issued: what is kept of each, and which of them are refused by now."""

from collections.abc import Collection, Sequence

from wgfleet.panel import clock
from wgfleet.panel.domain.certificates import MAX_TOLD, CertificateKind, Issued, RevokedSerial
from wgfleet.panel.errors import Invalid, NotFound
from wgfleet.panel.hints import Hint, HintCode
from wgfleet.panel.services import audit
from wgfleet.panel.store import Tx
from wgfleet.panel.store import certificates as rows
from wgfleet.panel.store import installation as installation_rows
from wgfleet.panel.store.tables import IssuedCertificate, Node
from wgfleet.protocol.reasons import Reason


def of_agent(tx: Tx, actor: str, node: Node, issued: Issued) -> IssuedCertificate:
    """Keep a certificate that an agent gets."""
    return _keep(tx, actor, CertificateKind.AGENT, issued, node=node)


def of_client(tx: Tx, actor: str, issued: Issued) -> IssuedCertificate:
    """Keep a certificate that is written to files, for a person to call agents with."""
    return _keep(tx, actor, CertificateKind.CLIENT, issued)


def of_start(tx: Tx, start: int, issued: Issued) -> IssuedCertificate:
    """Keep a certificate with which a start of the panel calls agents.

    Those of earlier starts are left alone: where the database was copied, one of them may be that of a panel that is
    still to hear from agents that it is not the newest any more.
    """
    return _keep(tx, audit.PANEL, CertificateKind.PANEL, issued, start=start)


def _keep(
    tx: Tx, actor: str, kind: CertificateKind, issued: Issued, *, node: Node | None = None, start: int | None = None
) -> IssuedCertificate:
    row = IssuedCertificate(
        id=clock.new_id(),
        kind=kind,
        serial=issued.serial,
        key_digest=issued.key,
        node_id=None if node is None else node.id,
        node_name=None if node is None else node.name,
        panel_start=start,
        issuer=issued.issuer,
        issued_by=actor,
        issued_at=clock.now(),
        expires_at=issued.expires_at,
        revoked_at=None,
        revoked_by=None,
        revocation=None,
    )
    rows.add(tx, row)
    return row


def get(tx: Tx, reference: str) -> IssuedCertificate:
    """Return a certificate by id or serial number."""
    row = rows.find(tx, reference)
    if row is None:
        raise NotFound(
            Reason("there is no certificate {reference!r}", reference=reference), Hint(HintCode.LIST_CERTIFICATES)
        )
    return row


def page(
    tx: Tx,
    after: str | None = None,
    limit: int = 100,
    *,
    kind: CertificateKind | None = None,
    node_id: str | None = None,
    valid: bool = False,
) -> Sequence[IssuedCertificate]:
    """Return certificates in the order of issue, after the id `after`; `valid`: only those that are still accepted."""
    return rows.page(tx, after, limit, kind=kind, node_id=node_id, valid_at=clock.now() if valid else None)


def refuse(tx: Tx, actor: str, row: IssuedCertificate, **about: object) -> None:
    """Note that a certificate is refused from now on, and number what agents have to be told of."""
    row.revoked_at, row.revoked_by = clock.now(), actor
    if row.kind is not CertificateKind.AGENT:
        installation_rows.lock_authority(tx)  # one at a time: no number is given twice
        row.revocation = (rows.newest_revocation(tx) or 0) + 1
    audit.record(
        tx, actor, "revoked", "certificate", row.id,
        kind=row.kind, serial=row.serial, node=row.node_name, expires_at=row.expires_at, **about,
    )  # fmt: skip


def replaced(tx: Tx, actor: str, node_id: str, accepted: Collection[str] = ()) -> None:
    """Note that a node's certificates are refused, but for those with the accepted keys."""
    for row in rows.valid_of_node(tx, node_id):
        if row.key_digest not in accepted:
            row.revoked_at, row.revoked_by = clock.now(), actor


def all_of_others_refused(tx: Tx, issuer: str) -> None:
    """Note that the certificates of all CAs but this one are refused; nobody has to be told of them one by one."""
    rows.refuse_of_others(tx, issuer, clock.now(), audit.PANEL)


def valid_of_node(tx: Tx, node_id: str) -> Sequence[IssuedCertificate]:
    """Return the certificates of a node that are not refused by now."""
    return rows.valid_of_node(tx, node_id)


def check_key(tx: Tx, digest: str) -> None:
    """Raise `Invalid` for the key of a request that was revoked."""
    if is_revoked_key(tx, digest):
        raise Invalid(Reason("its key was revoked or replaced; make a new one"), field="csr")


def is_revoked_key(tx: Tx, digest: str) -> bool:
    """Tell whether a certificate of this key was revoked or replaced."""
    return bool(rows.revoked_keys(tx, [digest]))


def revoked_by_somebody(tx: Tx, digests: Collection[str]) -> bool:
    """Tell whether one of these keys was revoked, not merely replaced by a renewal."""
    return bool(digests) and bool(rows.revoked_keys(tx, digests, but_by=audit.PANEL))


def revoked(tx: Tx, certificate_ids: Collection[str]) -> frozenset[str]:
    """Return which certificates, by id, were revoked."""
    return rows.revoked(tx, certificate_ids)


def of_running_panel(tx: Tx) -> str | None:
    """Return the id of the certificate that the panel took last, unless it was revoked or has expired."""
    return rows.newest_of_panel(tx, clock.now())


def newest_to_tell(tx: Tx) -> int | None:
    """Return the number of the newest revocation that agents have to know; None: there is none."""
    return rows.newest_revocation(tx, clock.now())


def to_tell(tx: Tx) -> list[RevokedSerial]:
    """Return the certificates that agents have to refuse."""
    found = rows.numbered(tx, clock.now(), MAX_TOLD)
    return [RevokedSerial(row.serial, row.revoked_at or 0.0) for row in found if row.serial is not None]
