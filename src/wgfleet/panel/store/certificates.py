"""Rows of the certificates that the CA has issued."""

from collections.abc import Collection, Sequence

from sqlalchemy import bindparam, func, or_, select, update
from sqlalchemy import delete as delete_rows

from wgfleet.panel.domain.certificates import CertificateKind
from wgfleet.panel.store.engine import Tx
from wgfleet.panel.store.tables import IssuedCertificate

_REVOKED = IssuedCertificate.revoked_at.is_not(None)


def add(tx: Tx, row: IssuedCertificate) -> None:
    """Add a certificate."""
    tx.session.add(row)
    tx.session.flush()


def get(tx: Tx, certificate_id: str) -> IssuedCertificate | None:
    """Return the certificate of that id."""
    return tx.session.get(IssuedCertificate, certificate_id)


def revoked(tx: Tx, certificate_ids: Collection[str]) -> frozenset[str]:
    """Return the ids of those certificates that were revoked."""
    query = select(IssuedCertificate.id).where(IssuedCertificate.id.in_(certificate_ids), _REVOKED)
    return frozenset(tx.connection.scalars(query))


def find(tx: Tx, reference: str) -> IssuedCertificate | None:
    """Return the certificate of that id, or serial number in hex."""
    serial = reference.lower().replace(":", "").lstrip("0")
    query = select(IssuedCertificate).where(
        or_(IssuedCertificate.id == reference, IssuedCertificate.serial == (serial or reference))
    )
    return tx.session.scalar(query)


def page(
    tx: Tx, after: str | None, limit: int, *, kind: CertificateKind | None = None, node_id: str | None = None,
    valid_at: float | None = None,
) -> Sequence[IssuedCertificate]:  # fmt: skip
    """Return certificates in the order of issue, after the id `after`; `valid_at`: neither revoked nor expired then."""
    query = select(IssuedCertificate).order_by(IssuedCertificate.id).limit(limit)
    query = query.where(IssuedCertificate.id > after) if after else query
    query = query.where(IssuedCertificate.kind == kind) if kind is not None else query
    query = query.where(IssuedCertificate.node_id == node_id) if node_id is not None else query
    if valid_at is not None:
        query = query.where(~_REVOKED, IssuedCertificate.expires_at > valid_at)
    return tx.session.scalars(query).all()


def valid_of_node(tx: Tx, node_id: str) -> Sequence[IssuedCertificate]:
    """Return the certificates of a node that are not revoked."""
    return tx.session.scalars(
        select(IssuedCertificate).where(IssuedCertificate.node_id == node_id, ~_REVOKED)
    ).all()  # fmt: skip


def refuse_of_others(tx: Tx, issuer: str, at: float, actor: str) -> None:
    """Set all certificates of other issuers as revoked that are not yet."""
    change = update(IssuedCertificate).where(~_REVOKED, func.coalesce(IssuedCertificate.issuer, "") != issuer)
    tx.session.execute(change.values(revoked_at=at, revoked_by=actor))


def newest_of_panel(tx: Tx, now: float) -> str | None:
    """Return the id of the newest certificate of the panel's starts that is neither revoked nor expired."""
    query = select(IssuedCertificate.id).where(IssuedCertificate.kind == CertificateKind.PANEL, ~_REVOKED)
    return tx.session.scalar(
        query.where(IssuedCertificate.expires_at > now).order_by(IssuedCertificate.id.desc()).limit(1)
    )


def revoked_keys(tx: Tx, digests: Collection[str], but_by: str | None = None) -> set[str]:
    """Return which of these keys were revoked; those that `but_by` alone revoked are left out."""
    query = select(IssuedCertificate.key_digest).where(IssuedCertificate.key_digest.in_(digests), _REVOKED)
    if but_by is not None:
        query = query.where(IssuedCertificate.revoked_by != but_by)
    return set(tx.session.scalars(query))


_NEWEST = select(func.max(IssuedCertificate.revocation))
_NEWEST_VALID = _NEWEST.where(IssuedCertificate.expires_at > bindparam("now"))


def newest_revocation(tx: Tx, now: float | None = None) -> int | None:
    """Return the highest number of a revocation, of certificates that have not expired where a time is given."""
    return tx.session.scalar(_NEWEST) if now is None else tx.session.scalar(_NEWEST_VALID, {"now": now})


def numbered(tx: Tx, now: float, limit: int) -> Sequence[IssuedCertificate]:
    """Return the certificates that agents are to refuse, those that were revoked last first."""
    query = select(IssuedCertificate).where(
        IssuedCertificate.revocation.is_not(None), IssuedCertificate.expires_at > now
    )
    return tx.session.scalars(query.order_by(IssuedCertificate.revocation.desc()).limit(limit)).all()


def forget(tx: Tx, before: float, limit: int) -> int:
    """Delete up to `limit` certificates that expired before a time; return how many.

    The newest revocation stays, so that no number is given twice.
    """
    query = select(IssuedCertificate.id).where(IssuedCertificate.expires_at < before)
    newest = select(func.max(IssuedCertificate.revocation)).scalar_subquery()
    query = query.where(or_(IssuedCertificate.revocation.is_(None), IssuedCertificate.revocation != newest))
    gone = tx.session.scalars(query.limit(limit)).all()
    tx.session.execute(delete_rows(IssuedCertificate).where(IssuedCertificate.id.in_(gone)))
    return len(gone)
