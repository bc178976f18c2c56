"""Rows of clients that hang on a relay of a node."""

from collections.abc import Collection, Sequence
from typing import NamedTuple

from sqlalchemy import delete, func, select, update

from wgfleet.panel.store.chunks import chunked
from wgfleet.panel.store.engine import Tx
from wgfleet.panel.store.tables import Config, Node, Peer, RelayedClient


class RelayRow(NamedTuple):
    """A row of `RelayedClient`, with the names that people know its parts by."""

    id: str
    config_id: str
    config_name: str
    node_id: str
    node_name: str
    peer_id: str
    peer_name: str
    public_key: str
    target: str
    since: float
    ends_at: float
    wanted_ends_at: float | None


def listing(
    tx: Tx,
    *,
    config_id: str | None = None,
    node_id: str | None = None,
    after: str | None = None,
    limit: int | None = None,
) -> list[RelayRow]:
    """Return the relays of a config, of a node, of both, or all, in the order of their ids."""
    query = (
        select(
            RelayedClient.id,
            RelayedClient.config_id,
            Config.name,
            RelayedClient.node_id,
            Node.name,
            RelayedClient.peer_id,
            Peer.name,
            Peer.public_key,
            RelayedClient.target,
            RelayedClient.since,
            RelayedClient.ends_at,
            RelayedClient.wanted_ends_at,
        )
        .join(Config, Config.id == RelayedClient.config_id)
        .join(Node, Node.id == RelayedClient.node_id)
        .join(Peer, Peer.id == RelayedClient.peer_id)
        .order_by(RelayedClient.id)
        .limit(limit)
    )
    given = {RelayedClient.config_id: config_id, RelayedClient.node_id: node_id}
    for column, value in given.items():
        if value is not None:
            query = query.where(column == value)
    if after is not None:
        query = query.where(RelayedClient.id > after)
    return [RelayRow._make(row) for row in tx.session.execute(query).all()]


class RelayTally(NamedTuple):
    """How many clients of a config hang on a node's relays, and when the last of these ends."""

    config_id: str
    config_name: str
    node_id: str
    node_name: str
    clients: int
    ends_at: float


def tallies(tx: Tx, *, config_id: str | None = None, node_ids: Collection[str] | None = None) -> list[RelayTally]:
    """Count the relays of a config, of some nodes (a page of them), or all: by config and node, in their order."""
    query = (
        select(
            RelayedClient.config_id,
            Config.name,
            RelayedClient.node_id,
            Node.name,
            func.count(),
            func.max(RelayedClient.ends_at),
        )
        .join(Config, Config.id == RelayedClient.config_id)
        .join(Node, Node.id == RelayedClient.node_id)
        .group_by(RelayedClient.config_id, Config.name, RelayedClient.node_id, Node.name)
        .order_by(Config.name, Node.name)
    )
    if config_id is not None:
        query = query.where(RelayedClient.config_id == config_id)
    if node_ids is not None:
        query = query.where(RelayedClient.node_id.in_(node_ids))
    return [RelayTally._make(row) for row in tx.session.execute(query)]


def nodes_with(tx: Tx, config_id: str | None = None) -> list[str]:
    """Return the nodes that relay anybody, or anybody of a config."""
    query = select(RelayedClient.node_id).distinct().order_by(RelayedClient.node_id)
    if config_id is not None:
        query = query.where(RelayedClient.config_id == config_id)
    return list(tx.session.scalars(query))


def targets(tx: Tx, peer_ids: Collection[str]) -> list[tuple[str, str, str]]:
    """Return of each relay of some peers: the peer's id, the id of the node that has it, and where it leads."""
    found: list[tuple[str, str, str]] = []
    for chunk in chunked(peer_ids):
        columns = RelayedClient.peer_id, RelayedClient.node_id, RelayedClient.target
        rows = tx.session.execute(select(*columns).where(RelayedClient.peer_id.in_(chunk)))
        found += [(peer_id, node_id, target) for peer_id, node_id, target in rows]
    return found


def add(tx: Tx, rows: Sequence[RelayedClient]) -> None:
    """Add relays."""
    tx.session.add_all(rows)
    tx.session.flush()


def change(tx: Tx, row_id: str, **values: object) -> None:
    """Set columns of one."""
    tx.session.execute(update(RelayedClient).where(RelayedClient.id == row_id).values(**values))


def want(tx: Tx, row_ids: Collection[str], ends_at: float) -> None:
    """Write down until when some are to last; 0: no longer."""
    for chunk in chunked(row_ids):
        tx.session.execute(update(RelayedClient).where(RelayedClient.id.in_(chunk)).values(wanted_ends_at=ends_at))


def remove(tx: Tx, row_ids: Collection[str]) -> None:
    """Take some out."""
    for chunk in chunked(row_ids):
        tx.session.execute(delete(RelayedClient).where(RelayedClient.id.in_(chunk)))


def peer_ids(tx: Tx, config_id: str, public_keys: Collection[str]) -> dict[str, tuple[str, str]]:
    """Return (id, name) of a config's peers that have some public keys, by key."""
    found: dict[str, tuple[str, str]] = {}
    for chunk in chunked(public_keys):
        query = select(Peer.public_key, Peer.id, Peer.name).where(
            Peer.config_id == config_id, Peer.public_key.in_(chunk)
        )
        found |= {key: (id_, name) for key, id_, name in tx.session.execute(query)}
    return found
