"""Rows of the rotations of probe keys that are under way."""

from collections.abc import Sequence

from sqlalchemy import select

from wgfleet.panel.store.engine import Tx
from wgfleet.panel.store.tables import ProbeKeyRotation


def rotation(tx: Tx, config_id: str) -> ProbeKeyRotation | None:
    """Return the rotation of a config's probe keys, if one is under way."""
    return tx.session.get(ProbeKeyRotation, config_id)


def rotations(tx: Tx) -> Sequence[ProbeKeyRotation]:
    """Return those of all configs."""
    return tx.session.scalars(select(ProbeKeyRotation).order_by(ProbeKeyRotation.config_id)).all()


def add(tx: Tx, row: ProbeKeyRotation) -> None:
    """Write that a rotation begins."""
    tx.session.add(row)
    tx.session.flush()


def end(tx: Tx, row: ProbeKeyRotation) -> None:
    """Write that a rotation is over."""
    tx.session.delete(row)
    tx.session.flush()
