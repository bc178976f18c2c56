"""Rows of configs and of the pools that belong to a whole config."""

from collections.abc import Collection, Sequence
from typing import Any, cast

from sqlalchemy import bindparam, func, or_, select, text, update
from sqlalchemy import delete as delete_rows
from sqlalchemy.sql.dml import ReturningUpdate

from wgfleet.panel.domain.limits import Limit
from wgfleet.panel.store.engine import Tx
from wgfleet.panel.store.tables import Assignment, Config, Node, Peer, Pool

_ID = select(Config.id).where(or_(Config.id == bindparam("reference"), Config.name == bindparam("reference")))
_CONFIG = select(Config).where(or_(Config.id == bindparam("reference"), Config.name == bindparam("reference")))
_CREATION_LOCK = 0x77676366  # any constant that no other advisory lock of ours uses


def serialize_creation(tx: Tx) -> None:
    """Let one transaction at a time compare a new config with all others (SQLite has one writer anyway)."""
    if tx.session.get_bind().dialect.name == "postgresql":
        tx.session.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _CREATION_LOCK})


def add(tx: Tx, config: Config, pools: Sequence[Pool]) -> None:
    """Add a config and its pools."""
    tx.session.add(config)
    tx.session.flush()
    tx.session.add_all(pools)
    tx.session.flush()


def find(tx: Tx, reference: str) -> Config | None:
    """Return the config of that id or name."""
    return tx.session.scalar(_CONFIG, {"reference": reference})


def by_key(tx: Tx, public_key: str) -> Config | None:
    """Return the config of that public key, the oldest where there are several."""
    return tx.session.scalars(select(Config).where(Config.public_key == public_key).order_by(Config.id)).first()


def find_id(tx: Tx, reference: str) -> str | None:
    """Return the id of the config of that id or name, without the rest of it."""
    return cast("str | None", tx.connection.scalar(_ID, {"reference": reference}))


def by_port(tx: Tx, listen_port: int) -> Config | None:
    """Return the config that listens on the port."""
    return tx.session.scalar(select(Config).where(Config.listen_port == listen_port).limit(1))


def backbone_ports(tx: Tx, without: str) -> list[tuple[str, int, bool, int | None]]:
    """Return of each config but one: its name, its port, whether it has a backbone, and the port set for that."""
    columns = (Config.name, Config.listen_port, Config.backbone, Config.backbone_port)
    found = tx.session.execute(select(*columns).where(Config.id != without).order_by(Config.name))
    return [(name, port, on, own) for name, port, on, own in found]


def node_ports(tx: Tx) -> list[tuple[str, list[str]]]:
    """Return the name of each config that opens ports of its nodes to users, and those ports."""
    found = tx.session.execute(select(Config.name, Config.node_ports).order_by(Config.name))
    return [(name, opened) for name, opened in found if opened]


def all_ids(tx: Tx) -> Sequence[str]:
    """Return the ids of all configs, oldest first: the order in which several are locked."""
    return tx.session.scalars(select(Config.id).order_by(Config.id)).all()


def page(tx: Tx, after: str | None, limit: int, within: Limit | None = None) -> Sequence[Config]:
    """Return configs in the order they were made, after the id `after`."""
    query = select(Config).order_by(Config.id).limit(limit)
    if within is not None:
        query = query.where(Config.id.in_(within.configs))
    return tx.session.scalars(query.where(Config.id > after) if after else query).all()


def names(tx: Tx, config_ids: Collection[str]) -> dict[str, str]:
    """Return the names of configs, by id."""
    return dict(tx.session.execute(select(Config.id, Config.name).where(Config.id.in_(config_ids))).all())


def reaching(tx: Tx, config_id: str) -> list[Config]:
    """Return the configs whose users may reach those of a config, oldest first."""
    return [row for row in tx.session.scalars(select(Config).order_by(Config.id)) if config_id in row.reachable_configs]


def _bump(*columns: str) -> ReturningUpdate[Config]:
    raised = dict.fromkeys(columns, Config.generation + 1)
    # The object in the session may have been read before another writer committed.
    options: Any = {"synchronize_session": False, "populate_existing": True}
    query = update(Config).where(Config.id == bindparam("config_id")).values(raised).returning(Config)
    return query.execution_options(**options)


_BUMP, _BUMP_SETTINGS = _bump("generation"), _bump("generation", "settings_generation")


def bump(tx: Tx, config_id: str, *, settings: bool) -> int | None:
    """Lock the row, raise its generation by one and return it; None where there is no such config.

    What a transaction changes is seen at once, so it is one generation: once raised, it is not raised again.
    """
    generation, of_settings = tx.raised.get(config_id, (None, False))
    if generation is not None and (of_settings or not settings):
        tx.settle()
        return generation
    config = tx.session.scalar(_BUMP_SETTINGS if settings else _BUMP, {"config_id": config_id})
    if config is None:
        return None
    tx.locked.add(config_id)
    tx.raised[config_id] = (config.generation, settings)
    return config.generation


_LOCK = select(Config).where(Config.id == bindparam("config_id")).with_for_update()


def lock(tx: Tx, config_id: str) -> Config | None:
    """Lock a config as `bump` does, and leave its generation; None where there is no such config."""
    config = tx.session.scalar(_LOCK, {"config_id": config_id})
    if config is not None:
        tx.locked.add(config_id)
    return config


def hold(tx: Tx, config_id: str) -> None:
    """Lock a config, if this transaction has not done so."""
    if config_id not in tx.locked:
        lock(tx, config_id)


def set_values(tx: Tx, config_id: str, values: dict[str, Any]) -> None:
    """Set columns of a config."""
    tx.session.execute(update(Config).where(Config.id == config_id).values(values))


def overtake(tx: Tx, config_id: str, generation: int) -> int:
    """Raise a config's generation above `generation`, as one that no delta leads to; return it."""
    tx.raised.pop(config_id, None)
    config = tx.session.get_one(Config, config_id)
    config.generation = max(config.generation, generation + 1)
    config.settings_generation = config.oldest_base = config.generation
    tx.session.flush()
    return config.generation


def pools(tx: Tx, config_ids: Collection[str]) -> Sequence[Pool]:
    """Return the pools of whole configs (not the slices of nodes), oldest first."""
    query = select(Pool).where(Pool.config_id.in_(config_ids), Pool.assignment_id.is_(None))
    return tx.session.scalars(query.order_by(Pool.id)).all()


def add_pool(tx: Tx, pool: Pool) -> None:
    """Insert a pool."""
    tx.session.add(pool)
    tx.session.flush()


def remove_pool(tx: Tx, pool_id: str) -> None:
    """Delete a pool with its slices; the database deletes the addresses in it."""
    tx.session.execute(delete_rows(Pool).where(Pool.id == pool_id))


def all_pools(tx: Tx) -> list[tuple[str, str]]:
    """Return (network, config name) of the pools of all configs."""
    query = select(Pool.network, Config.name).join(Config, Config.id == Pool.config_id)
    return [(network, name) for network, name in tx.session.execute(query.where(Pool.assignment_id.is_(None)))]


def assigned_node_names(tx: Tx, config_id: str) -> Sequence[str]:
    """Return the names of the nodes that the config is assigned to, in whatever phase."""
    query = select(Node.name).join(Assignment, Assignment.node_id == Node.id)
    return tx.session.scalars(query.where(Assignment.config_id == config_id).order_by(Node.name)).all()


def assignment_counts(tx: Tx, config_ids: Collection[str]) -> dict[str, int]:
    """Return how many nodes each config is assigned to; configs without one are left out."""
    column = Assignment.config_id
    query = select(column, func.count()).where(column.in_(config_ids)).group_by(column)
    return dict(tx.session.execute(query).all())


def delete(tx: Tx, config: Config) -> None:
    """Delete a config with its peers and pools; the database deletes what hangs on them."""
    tx.raised.pop(config.id, None)
    tx.session.execute(delete_rows(Peer).where(Peer.config_id == config.id))
    tx.session.execute(delete_rows(Config).where(Config.id == config.id))
