"""Rows of sessions that nodes gave up: peers that a node must not serve just now, since another took their session.

That lasts until the operation that moved them has ended; for a node that had not said by then that it dropped them, as
one whose agent is dead, until it has.
"""

from collections.abc import Collection

from sqlalchemy import bindparam, select, update

from wgfleet.panel.domain.moves import MoveState
from wgfleet.panel.store.chunks import chunked
from wgfleet.panel.store.engine import Tx
from wgfleet.panel.store.tables import Move, Operation, Peer

_MOVED = (
    select(Move.from_node_id, Peer.public_key)
    .join(Peer, Move.peer_id == Peer.id)
    .where(Peer.config_id == bindparam("config_id"), Move.state == MoveState.MOVED, Move.live)
)
_MOVING = _MOVED.join(Operation, Operation.id == Move.operation_id).where(Operation.finished_at.is_(None))
_OWED = _MOVED.where(Move.drop_generation.is_not(None))
_GIVEN_UP = (_MOVING, _OWED)
_GIVEN_UP_BY = tuple(query.where(Move.from_node_id == bindparam("node_id")) for query in _GIVEN_UP)


def by_node(tx: Tx, node_id: str, config_id: str) -> set[str]:
    """Return the public keys that a node must not serve just now, since another node took their session."""
    place = {"config_id": config_id, "node_id": node_id}
    return {key for query in _GIVEN_UP_BY for _, key in tx.session.execute(query, place)}


def of_config(tx: Tx, config_id: str) -> dict[str, set[str]]:
    """Return the public keys that nodes must not serve just now, since others took their session, by node."""
    found: dict[str, set[str]] = {}
    for query in _GIVEN_UP:
        for node_id, key in tx.session.execute(query, {"config_id": config_id}):
            found.setdefault(node_id, set()).add(key)
    return found


def owe(tx: Tx, operation_id: str, node_ids: Collection[str], generation: int) -> None:
    """Note that nodes have yet to drop what an operation took over from them; their rendering does at `generation`."""
    if not node_ids:
        return
    of_nodes = Move.operation_id == operation_id, Move.from_node_id.in_(node_ids)
    moved = Move.state == MoveState.MOVED, Move.live
    tx.session.execute(update(Move).where(*of_nodes, *moved).values(drop_generation=generation))


def any_owed(tx: Tx, node_id: str, config_id: str) -> bool:
    """Tell whether a node of a config has yet to have back what it is to drop, or to drop it."""
    query = _OWED.where(Move.from_node_id == bindparam("node_id")).limit(1)
    return tx.session.execute(query, {"config_id": config_id, "node_id": node_id}).first() is not None


def dropped(tx: Tx, node_id: str, config_id: str, generation: int) -> set[str]:
    """Return the ids of the peers that a node owed, and has dropped now that it has applied `generation`."""
    query = select(Move.peer_id).join(Peer, Move.peer_id == Peer.id)
    of_node = Move.from_node_id == node_id, Peer.config_id == config_id
    return set(tx.session.scalars(query.where(*of_node, Move.drop_generation <= generation)))


def settle(tx: Tx, node_id: str, peer_ids: Collection[str], generation: int) -> None:
    """Let a node have peers again that it owed, and has dropped now that it has applied `generation`."""
    for chunk in chunked(peer_ids):
        owed = Move.from_node_id == node_id, Move.peer_id.in_(chunk), Move.drop_generation <= generation
        tx.session.execute(update(Move).where(*owed).values(drop_generation=None))
