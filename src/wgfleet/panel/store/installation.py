"""Rows of what there is once in an installation."""

from typing import NamedTuple

from sqlalchemy import func, select

from wgfleet.panel.domain.authorities import AuthorityStep
from wgfleet.panel.store.engine import Tx
from wgfleet.panel.store.tables import AuthorityRotation, CertificateAuthority, RenderedSetting

_LOCK_KEY = 0x77676666697273  # "wgffirs"; advisory locks of one database share their numbers


def lock_authority(tx: Tx) -> None:
    """Be the only one until the end of the transaction who makes, replaces or issues by the CA."""
    if tx.session.get_bind().dialect.name == "postgresql":  # SQLite has one writer anyway
        tx.session.execute(select(func.pg_advisory_xact_lock(_LOCK_KEY)))


def authority(tx: Tx) -> CertificateAuthority | None:
    """Return the CA's row, or None at the first start."""
    return tx.session.get(CertificateAuthority, 1)


_CERTIFICATE = select(CertificateAuthority.certificate)
_REPLACEMENT = select(AuthorityRotation.certificate, AuthorityRotation.step, AuthorityRotation.id)


class StandingCertificates(NamedTuple):
    """The certificates (PEM) of the CA, and of the one that is to replace it, with how far that is."""

    current: str | None
    following: str | None = None
    step: AuthorityStep | None = None
    rotation_id: str | None = None


def standing(tx: Tx) -> StandingCertificates:
    """Return what tells one state of the CAs from another: read for each look at each node, so without objects."""
    tx.settle()
    current = tx.connection.scalar(_CERTIFICATE)
    return StandingCertificates(current, *(tx.connection.execute(_REPLACEMENT).one_or_none() or ()))


_ROTATION = select(AuthorityRotation)


def rotation(tx: Tx) -> AuthorityRotation | None:
    """Return the replacement of the CA that is under way, or None."""
    return tx.session.scalar(_ROTATION)


def add_rotation(tx: Tx, row: AuthorityRotation) -> None:
    """Begin a replacement."""
    tx.session.add(row)
    tx.session.flush()


def end_rotation(tx: Tx, row: AuthorityRotation) -> None:
    """Forget a replacement."""
    tx.session.delete(row)
    tx.session.flush()


def add_authority(tx: Tx, row: CertificateAuthority) -> None:
    """Add the CA's row."""
    tx.session.add(row)
    tx.session.flush()


def rendered_setting(tx: Tx, name: str) -> float | None:
    """Return a setting as it is rendered for nodes, or None where it never was."""
    row = tx.session.get(RenderedSetting, name)
    return None if row is None else row.value


def set_rendered_setting(tx: Tx, name: str, value: float) -> None:
    """Set what is rendered from now on."""
    tx.session.merge(RenderedSetting(name=name, value=value))
    tx.session.flush()


def note_written(tx: Tx, now: float) -> None:
    """Change a row for the sake of a change; it is not rendered for anybody."""
    set_rendered_setting(tx, "written_at", now)
