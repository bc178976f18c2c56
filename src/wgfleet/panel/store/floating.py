"""Rows of floating addresses."""

from collections import defaultdict
from collections.abc import Sequence

from sqlalchemy import BindParameter, bindparam, exists, select

from wgfleet.panel.store.engine import Tx
from wgfleet.panel.store.tables import Assignment, FloatingAddress, Node

# Statements made once: each cycle of a node asks for these, and to build one costs more than to run it.
_NODE: BindParameter[str] = bindparam("node_id")
_ANY_OF = select(exists().where(FloatingAddress.config_id == bindparam("config_id")))
_LEAVING = select(FloatingAddress).where(FloatingAddress.leaving_node_id == _NODE)
_CONTESTED = select(FloatingAddress).where(FloatingAddress.holder_node_id == _NODE, FloatingAddress.contested)
_ARRIVING = select(
    exists().where(
        FloatingAddress.config_id == bindparam("config_id"),
        FloatingAddress.holder_node_id == _NODE,
        FloatingAddress.generation > bindparam("applied"),
    )
)


def of_config(tx: Tx, config_id: str) -> Sequence[FloatingAddress]:
    """Return the addresses of a config as they are now, also those that are being withdrawn, in order."""
    query = select(FloatingAddress).where(FloatingAddress.config_id == config_id).order_by(FloatingAddress.address)
    return tx.session.scalars(query.execution_options(populate_existing=True)).all()


def any_of(tx: Tx, config_id: str) -> bool:
    """Tell whether a config has any."""
    return tx.session.scalar(_ANY_OF, {"config_id": config_id}) or False


def find(tx: Tx, address: str) -> FloatingAddress | None:
    """Return an address, or None."""
    return tx.session.get(FloatingAddress, address)


def configs_with(tx: Tx) -> list[str]:
    """Return the configs that have any."""
    query = select(FloatingAddress.config_id).distinct().order_by(FloatingAddress.config_id)
    return list(tx.session.scalars(query))


def leaving(tx: Tx, node_id: str) -> dict[str, list[FloatingAddress]]:
    """Return the addresses that a node has yet to give up, by config; of a config without any, an empty list."""
    found: dict[str, list[FloatingAddress]] = defaultdict(list)
    for row in tx.session.scalars(_LEAVING, {"node_id": node_id}):
        found[row.config_id].append(row)
    return found


def contested(tx: Tx, node_id: str) -> list[FloatingAddress]:
    """Return the addresses that a node is to take when nobody on its link has them any more."""
    return list(tx.session.scalars(_CONTESTED, {"node_id": node_id}))


def any_arriving(tx: Tx, config_id: str, node_id: str, applied: int) -> bool:
    """Tell whether a node is to have an address that it did not have yet at the generation that it `applied`."""
    return tx.session.scalar(_ARRIVING, {"config_id": config_id, "node_id": node_id, "applied": applied}) or False


def all_addresses(tx: Tx) -> list[str]:
    """Return the addresses of all configs."""
    return list(tx.session.scalars(select(FloatingAddress.address)))


def carriers(tx: Tx, config_id: str) -> list[tuple[Assignment, Node]]:
    """Return a config's assignments as they are now, with their nodes, oldest first."""
    query = select(Assignment, Node).join(Node, Node.id == Assignment.node_id).where(Assignment.config_id == config_id)
    found = tx.session.execute(query.order_by(Assignment.id).execution_options(populate_existing=True))
    return [(assignment, node) for assignment, node in found]


def add(tx: Tx, row: FloatingAddress) -> None:
    """Add an address."""
    tx.session.add(row)
    tx.session.flush()


def delete(tx: Tx, row: FloatingAddress) -> None:
    """Delete an address."""
    tx.session.delete(row)
    tx.session.flush()
