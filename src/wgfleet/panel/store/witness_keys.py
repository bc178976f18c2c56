"""Rows of witnesses, and of the probe keys with which they look at the nodes of configs."""

from collections.abc import Sequence

from sqlalchemy import select

from wgfleet.panel.store.engine import Tx
from wgfleet.panel.store.tables import Assignment, Config, Node, WitnessKey

_WITNESSES = select(Node).where(Node.witness).order_by(Node.id)  # made once: each list of nodes asks


def witnesses(tx: Tx) -> Sequence[Node]:
    """Return all witnesses, oldest first."""
    return tx.session.scalars(_WITNESSES).all()


def of_config(tx: Tx, config_id: str) -> Sequence[WitnessKey]:
    """Return the keys with which witnesses look at the nodes of a config."""
    query = select(WitnessKey).where(WitnessKey.config_id == config_id).order_by(WitnessKey.id)
    return tx.session.scalars(query).all()


def of_node(tx: Tx, node_id: str) -> Sequence[WitnessKey]:
    """Return the keys of a witness, in the order of its configs."""
    return tx.session.scalars(
        select(WitnessKey).where(WitnessKey.node_id == node_id).order_by(WitnessKey.config_id)
    ).all()


def looking(tx: Tx, config_id: str | None = None) -> list[tuple[WitnessKey, Config, Node]]:
    """Return the keys for every config that is enabled, or for one, with the config and the witness."""
    query = (
        select(WitnessKey, Config, Node)
        .join(Config, Config.id == WitnessKey.config_id)
        .join(Node, Node.id == WitnessKey.node_id)
        .where(Config.enabled)
        .order_by(WitnessKey.id)
    )
    if config_id is not None:
        query = query.where(Config.id == config_id)
    return [(key, config, node) for key, config, node in tx.session.execute(query)]


def assigned_configs(tx: Tx) -> Sequence[str]:
    """Return the ids of the configs that a node has, in order."""
    return tx.session.scalars(select(Assignment.config_id).distinct().order_by(Assignment.config_id)).all()


def get(tx: Tx, config_id: str, node_id: str) -> WitnessKey | None:
    """Return the key of a witness for a config."""
    query = select(WitnessKey).where(WitnessKey.config_id == config_id, WitnessKey.node_id == node_id)
    return tx.session.scalars(query).one_or_none()


def add(tx: Tx, row: WitnessKey) -> None:
    """Add a key."""
    tx.session.add(row)
    tx.session.flush()


def delete(tx: Tx, row: WitnessKey) -> None:
    """Delete a key."""
    tx.session.delete(row)
    tx.session.flush()
