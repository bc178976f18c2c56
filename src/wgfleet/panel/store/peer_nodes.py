"""Rows of the nodes that peers of independent configs may use, where those are not all."""

from collections.abc import Collection, Iterable, Mapping

from sqlalchemy import bindparam, delete, select

from wgfleet.panel.store.among import among
from wgfleet.panel.store.chunks import chunked
from wgfleet.panel.store.engine import Tx
from wgfleet.panel.store.tables import Config, Node, NodeGroup, Peer, PeerNodes

Places = frozenset[str]
"""Ids of nodes and of node groups."""

_OF_CONFIG = (
    select(PeerNodes.peer_id, PeerNodes.places)
    .join(Peer, Peer.id == PeerNodes.peer_id)
    .where(Peer.config_id == bindparam("config_id"))
)
_OF_SOME = select(PeerNodes.peer_id, PeerNodes.places).where(among(PeerNodes.peer_id, "ids"))
_INDEPENDENT = select(Config.id).where(Config.id == bindparam("config_id"), Config.mode == "independent")


def of_config(tx: Tx, config_id: str) -> dict[str, Places]:
    """Return what the peers of a config may use, by id; those that may use all nodes are left out."""
    tx.settle()
    if tx.connection.scalar(_INDEPENDENT, {"config_id": config_id}) is None:
        return {}
    return _by_peer(tx.connection.execute(_OF_CONFIG, {"config_id": config_id}).all())


def of_peers(tx: Tx, peer_ids: Collection[str]) -> dict[str, Places]:
    """Return what peers may use, by id; those that may use all nodes are left out."""
    tx.settle()
    found: dict[str, Places] = {}
    for ids in chunked(peer_ids):
        found |= _by_peer(tx.connection.execute(_OF_SOME, {"ids": ids}).all())
    return found


def _by_peer(rows: Iterable[tuple[str, list[str]]]) -> dict[str, Places]:
    known: dict[tuple[str, ...], Places] = {}  # many peers have the same
    return {peer_id: known.setdefault(tuple(places), frozenset(places)) for peer_id, places in rows}


def put(tx: Tx, places: Mapping[str, Collection[str] | None]) -> None:
    """Have peers use these nodes and node groups only; None: all nodes."""
    for ids in chunked(places):
        tx.session.execute(delete(PeerNodes).where(PeerNodes.peer_id.in_(ids)))
    rows = [{"peer_id": peer_id, "places": sorted(some)} for peer_id, some in places.items() if some is not None]
    for start in range(0, len(rows), 500):
        tx.session.bulk_insert_mappings(PeerNodes.__mapper__, rows[start : start + 500])


def names(tx: Tx, places: Collection[str]) -> dict[str, str]:
    """Return the names of nodes and node groups by their ids; those that are gone are left out."""
    wanted = {"ids": list(places)}
    found = dict(tx.connection.execute(select(Node.id, Node.name).where(among(Node.id, "ids")), wanted).all())
    return found | dict(
        tx.connection.execute(select(NodeGroup.id, NodeGroup.name).where(among(NodeGroup.id, "ids")), wanted).all()
    )


def any_names(tx: Tx, group_id: str) -> bool:
    """Tell whether a peer may use a node group alone, or that among others."""
    rows = tx.connection.execute(select(PeerNodes.places))
    return any(group_id in places for (places,) in rows)


def first_names(tx: Tx, peer_ids: Collection[str], most: int) -> list[str]:
    """Return the first names of some peers."""
    found: list[str] = []
    for ids in chunked(peer_ids):
        found += tx.session.scalars(select(Peer.name).where(Peer.id.in_(ids)).order_by(Peer.name).limit(most))
    return sorted(found)[:most]
