"""The row of the private CA. There is one, made by whoever starts first."""

from sqlalchemy.exc import IntegrityError

from wgfleet.panel.store.engine import Tx
from wgfleet.panel.store.tables import Authority

_ID = 1


def get(tx: Tx) -> Authority | None:
    """Return the row, or None before the first start."""
    return tx.session.get(Authority, _ID)


def insert_once(tx: Tx, *, panel_id: str, certificate: str, key_sealed: bytes, created_at: float) -> Authority:
    """Add the row unless another process was quicker; return the one that is kept."""
    row = Authority(id=_ID, panel_id=panel_id, certificate=certificate, key_sealed=key_sealed, created_at=created_at)
    try:
        with tx.session.begin_nested():
            tx.session.add(row)
    except IntegrityError:
        return tx.session.get_one(Authority, _ID)
    return row
