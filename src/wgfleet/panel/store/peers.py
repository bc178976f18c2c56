"""Rows of peers and of the public keys that left."""

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any, cast

from sqlalchemy import Table, bindparam, delete, exists, func, literal_column, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from wgfleet.panel.domain.client_settings import SETTINGS
from wgfleet.panel.domain.held_settings import HELD
from wgfleet.panel.domain.look_alikes import folded
from wgfleet.panel.store import peer_search
from wgfleet.panel.store.among import among
from wgfleet.panel.store.chunks import chunked
from wgfleet.panel.store.engine import Tx
from wgfleet.panel.store.many_rows import insert_many, set_many
from wgfleet.panel.store.tables import Assignment, Config, Move, Peer, PeerTombstone
from wgfleet.protocol.ids import NodeId, PeerId

_peers = cast("Table", Peer.__table__)
_moves = cast("Table", Move.__table__)
_MOVE_COLUMNS = tuple(column.name for column in _moves.columns if column.name != "drop_generation")
_LATER = {"networks", "notes", "restricted_at", "restricted_because", *SETTINGS, *HELD} - {
    "keepalive"
}  # lists are encoded here, and few new peers have the rest
_COLUMNS = tuple(column.name for column in _peers.columns if column.name not in _LATER)


def add(tx: Tx, rows: Sequence[dict[str, Any]]) -> None:
    """Insert peers in bulk, given by their columns but for notes, settings of files and what restricts them."""
    values = [
        (*(row[name] for name in _COLUMNS), json.dumps(row["networks"]) if row["networks"] else "[]") for row in rows
    ]
    insert_many(tx, _peers, (*_COLUMNS, "networks"), values)
    peer_search.add(tx, [(row["id"], row["name_folded"]) for row in rows])


def get(tx: Tx, peer_id: str) -> Peer | None:
    """Return a peer, or None."""
    return tx.session.get(Peer, peer_id)


def by_ids(tx: Tx, peer_ids: Collection[str]) -> list[Peer]:
    """Return the peers that exist among the ids."""
    found: list[Peer] = []
    for chunk in chunked(peer_ids):
        found += tx.session.scalars(select(Peer).where(Peer.id.in_(chunk))).all()
    return found


def named(tx: Tx, config_id: str, names: Collection[str]) -> list[Peer]:
    """Return the peers of a config that have one of the names."""
    found: list[Peer] = []
    for chunk in chunked(names):
        found += tx.session.scalars(select(Peer).where(Peer.config_id == config_id, Peer.name.in_(chunk))).all()
    return found


def ids_of_key(tx: Tx, config_id: str, public_key: str) -> list[str]:
    """Return the ids of the peers of a config that have a public key: one, or none."""
    return list(tx.session.scalars(select(Peer.id).where(Peer.config_id == config_id, Peer.public_key == public_key)))


def names(tx: Tx, config_id: str, prefix: str) -> list[str]:
    """Return the names of a config's peers that begin with `prefix`."""
    query = select(Peer.name).where(Peer.config_id == config_id, Peer.name.startswith(prefix, autoescape=True))
    return list(tx.session.scalars(query))


def clashes(tx: Tx, config_id: str, names: Collection[str], keys: Collection[str]) -> tuple[set[str], set[str]]:
    """Return what the config has already: names that look as one of some but for case, and of public keys those."""
    taken: list[set[str]] = []
    for statement, values in ((_SAME_NAMES, {*map(folded, names)}), (_SAME_KEYS, keys)):
        found: set[str] = set()
        for chunk in chunked(values):
            found |= set(tx.session.scalars(statement, {"config_id": config_id, "wanted": chunk}))
        taken.append(found)
    return taken[0], taken[1]


# An expression of the config, which no index helps with: that of a config's peers would be walked through otherwise.
_SAME_NAMES = select(Peer.name).where(
    Peer.config_id + literal_column("''") == bindparam("config_id"), among(Peer.name_folded, "wanted")
)
_SAME_KEYS = select(Peer.public_key).where(Peer.config_id == bindparam("config_id"), among(Peer.public_key, "wanted"))


def of_config(tx: Tx, config_id: str) -> list[Peer]:
    """Return all peers of a config. What changed in it, and in fewer columns: `desired_peers.changed_since`."""
    return list(tx.session.scalars(select(Peer).where(Peer.config_id == config_id).order_by(Peer.id)))


def removed_since(tx: Tx, config_id: str, generation: int) -> list[str]:
    """Return the public keys that left a config after a generation."""
    query = select(PeerTombstone.public_key)
    query = query.where(PeerTombstone.config_id == config_id, PeerTombstone.generation > generation)
    return list(tx.session.scalars(query))


def bury(tx: Tx, config_id: str, keys: Mapping[str, str | None], generation: int, at: float) -> None:
    """Leave a tombstone for each public key that leaves a config at `generation`, at the time `at`.

    `keys`: each with the name of the peer that had it, or None.
    """
    if not keys:
        return
    dialect = tx.session.get_bind().dialect.name
    statement = (sqlite if dialect == "sqlite" else postgresql).insert(PeerTombstone)
    statement = statement.on_conflict_do_update(
        index_elements=["config_id", "public_key"],
        set_={name: statement.excluded[name] for name in ("generation", "at", "name")},
    )
    rows = [
        {"config_id": config_id, "public_key": key, "generation": generation, "at": at, "name": name}
        for key, name in keys.items()
    ]
    tx.session.execute(statement, rows)


def unbury(tx: Tx, config_id: str, keys: Collection[str]) -> None:
    """Drop the tombstones of public keys that come back."""
    for chunk in chunked(keys):
        gone = delete(PeerTombstone).where(PeerTombstone.config_id == config_id, PeerTombstone.public_key.in_(chunk))
        tx.session.execute(gone.execution_options(synchronize_session=False))


def buried_before(tx: Tx, at: float) -> list[str]:
    """Return the ids of configs that have tombstones from before the time `at`."""
    return list(tx.session.scalars(select(PeerTombstone.config_id).where(PeerTombstone.at < at).distinct()))


def revoked_since(tx: Tx, config_id: str, generation: int) -> list[PeerTombstone]:
    """Return what was left of the peers that lost a key after a generation, oldest first."""
    query = select(PeerTombstone).where(
        PeerTombstone.config_id == config_id, PeerTombstone.generation > generation, PeerTombstone.name.is_not(None)
    )
    return list(tx.session.scalars(query.order_by(PeerTombstone.at)))


def owed_upserts(tx: Tx, config_id: str, generation: int) -> tuple[int, list[str]]:
    """Return how many peers that nodes let in changed after a generation, and the names of the others that did."""
    changed = select(Peer.name, Peer.admitted).where(Peer.config_id == config_id, Peer.generation > generation)
    found = tx.session.execute(changed.order_by(Peer.name)).all()
    return sum(admitted for _, admitted in found), [name for name, admitted in found if not admitted]


def admitted_names(tx: Tx, config_id: str) -> list[str]:
    """Return the names of a config's peers that nodes let in, sorted."""
    return list(
        tx.session.scalars(select(Peer.name).where(Peer.config_id == config_id, Peer.admitted).order_by(Peer.name))
    )


def forget_buried(tx: Tx, config_id: str, at: float, owed_at: float) -> int | None:
    """Delete a config's tombstones from before the time `at`; return the highest generation among them, if any.

    Those that a node has yet to apply are kept if they are not from before `owed_at`. The caller holds the config's
    lock, so nobody adds any meanwhile.
    """
    owed = exists().where(
        Assignment.config_id == PeerTombstone.config_id, Assignment.applied_generation < PeerTombstone.generation
    )
    old = (
        PeerTombstone.config_id == config_id,
        PeerTombstone.at < at,
        or_(PeerTombstone.at < owed_at, PeerTombstone.name.is_(None), ~owed),
    )
    highest = tx.session.scalar(select(func.max(PeerTombstone.generation)).where(*old))
    tx.session.execute(delete(PeerTombstone).where(*old))
    return highest


def remove(tx: Tx, peer_ids: Collection[str]) -> None:
    """Delete peers."""
    for chunk in chunked(peer_ids):
        tx.session.execute(delete(Peer).where(Peer.id.in_(chunk)))


def homed_on(tx: Tx, node_id: str | None, config_id: str) -> list[tuple[str, str | None]]:
    """Return (peer id, wanted group) of a config's peers whose home is the node (None: that have none), in order."""
    query = select(Peer.id, Peer.group_id).where(Peer.config_id == config_id)
    query = query.where(Peer.home_node_id.is_(None) if node_id is None else Peer.home_node_id == node_id)
    # Sorted here: a database that is to sort may read all peers of the config in the order of another index.
    return sorted(((peer_id, group_id) for peer_id, group_id in tx.session.execute(query)), key=lambda each: each[0])


def rehome(tx: Tx, homes: Mapping[PeerId, NodeId] | Mapping[PeerId, None]) -> None:
    """Give each peer its new home."""
    set_many(tx, _peers, "home_node_id", cast("Mapping[str, str | None]", homes))


def set_group(tx: Tx, peer_ids: Collection[str], group_id: str) -> None:
    """Have peers prefer a node group."""
    for chunk in chunked(peer_ids):
        tx.session.execute(update(Peer).where(Peer.id.in_(chunk)).values(group_id=group_id))


def touch(tx: Tx, peer_ids: Collection[str], generation: int) -> None:
    """Mark peers as changed at a generation."""
    for chunk in chunked(peer_ids):
        tx.session.execute(update(Peer).where(Peer.id.in_(chunk)).values(generation=generation))


def networks_by_peer(tx: Tx, config_id: str) -> list[tuple[str, str]]:
    """Return (network, peer name) for the networks behind a config's peers."""
    query = select(Peer.name, Peer.networks).where(Peer.config_id == config_id)
    rows = tx.session.execute(query.where(func.json_array_length(Peer.networks) > 0).order_by(Peer.id))
    return [(network, name) for name, networks in rows for network in networks]


def all_networks(tx: Tx) -> list[tuple[str, str, str]]:
    """Return (network, peer name, config name) for the networks behind the peers of all configs."""
    query = select(Peer.name, Peer.networks, Config.name).join(Config, Config.id == Peer.config_id)
    rows = tx.session.execute(query.where(func.json_array_length(Peer.networks) > 0))
    return [(network, name, config) for name, networks, config in rows for network in networks]


def networks(tx: Tx, config_id: str, without: Collection[str] = ()) -> list[str]:
    """Return the networks behind the peers of a config that nodes let in, sorted, each once.

    `without`: those of peers with these ids do not count.
    """
    query = select(Peer.id, Peer.networks).where(Peer.config_id == config_id, Peer.admitted)
    rows = tx.session.execute(query.where(func.json_array_length(Peer.networks) > 0))
    return sorted({network for peer_id, some in rows if peer_id not in without for network in some})


def add_moves(tx: Tx, rows: Sequence[dict[str, object]]) -> None:
    """Insert moves in bulk."""
    values = [tuple(row[name] for name in _MOVE_COLUMNS) for row in rows]
    insert_many(tx, _moves, _MOVE_COLUMNS, values)
