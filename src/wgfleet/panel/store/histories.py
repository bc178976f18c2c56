"""Rows of the panel's incarnations, and of which of them made which generations of a config."""

from typing import cast

from sqlalchemy import bindparam, delete, select

from wgfleet.panel.store.engine import Tx
from wgfleet.panel.store.tables import ConfigHistory, Incarnation

KEPT = 50  # rows of each; a node that has a generation from before them gets the whole


def newest(tx: Tx) -> Incarnation | None:
    """Return the incarnation that this database is in; None: no panel of this release has run on it."""
    return tx.session.scalar(select(Incarnation).order_by(Incarnation.number.desc()).limit(1))


_NEWEST_ID = select(Incarnation.id).order_by(Incarnation.number.desc()).limit(1)
_MADE_BY = (
    select(ConfigHistory.incarnation_id)
    .where(ConfigHistory.config_id == bindparam("config_id"), ConfigHistory.from_generation <= bindparam("generation"))
    .order_by(ConfigHistory.from_generation.desc())
    .limit(1)
)


_BOTH = select(_NEWEST_ID.scalar_subquery(), _MADE_BY.scalar_subquery())


def newest_and_made_by(tx: Tx, config_id: str, generation: int) -> tuple[str | None, str | None]:
    """Return the incarnation that this database is in, and the one of `made_by`; each change of a config asks."""
    newest_one, made_it = tx.connection.execute(_BOTH, {"config_id": config_id, "generation": generation}).one()
    return newest_one, made_it


def incarnation(tx: Tx, number: int) -> Incarnation | None:
    """Return an incarnation."""
    return tx.session.get(Incarnation, number)


def add(tx: Tx, incarnation: Incarnation) -> None:
    """Add an incarnation, and forget very old ones."""
    tx.session.add(incarnation)
    tx.session.flush()
    old = select(Incarnation.number).order_by(Incarnation.number.desc()).offset(KEPT)
    tx.session.execute(delete(Incarnation).where(Incarnation.number.in_(old.scalar_subquery())))


def made_by(tx: Tx, config_id: str, generation: int) -> str | None:
    """Return the id of the incarnation that made a generation; None: not known (any more)."""
    return cast("str | None", tx.connection.scalar(_MADE_BY, {"config_id": config_id, "generation": generation}))


def note(tx: Tx, config_id: str, generation: int, incarnation_id: str) -> None:
    """Note that an incarnation makes the generations from one on, and forget very old rows."""
    tx.session.add(ConfigHistory(config_id=config_id, from_generation=generation, incarnation_id=incarnation_id))
    tx.session.flush()
    mine = ConfigHistory.config_id == config_id
    column = ConfigHistory.from_generation
    old = select(column).where(mine).order_by(column.desc()).offset(KEPT)
    tx.session.execute(delete(ConfigHistory).where(mine, column.in_(old.scalar_subquery())))
