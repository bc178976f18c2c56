"""Rows of operations and of the moves that they make."""

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, bindparam, delete, exists, func, or_, select, tuple_, update

from wgfleet.panel.domain.limits import Limit
from wgfleet.panel.domain.moves import MoveState
from wgfleet.panel.domain.operations import OperationKind, OperationState
from wgfleet.panel.store.chunks import chunked, together
from wgfleet.panel.store.engine import Tx
from wgfleet.panel.store.tables import Move, Node, Operation, Peer


def get(tx: Tx, operation_id: str) -> Operation | None:
    """Return an operation, or None."""
    return tx.session.get(Operation, operation_id)


def lock(tx: Tx, operation: Operation) -> None:
    """Lock an operation, and read it again. Lock its config before, if it has one."""
    tx.session.refresh(operation, with_for_update=True)


def cancelled_by(tx: Tx, operation_id: str) -> str | None:
    """Return who has cancelled an operation by now, None: nobody, whatever was read of it before."""
    return tx.session.scalar(select(Operation.cancelled_by).where(Operation.id == operation_id))


def newest(tx: Tx, kind: OperationKind, subject: str) -> Operation | None:
    """Return the operation of a kind on a subject that is active, else the latest, or None."""
    query = select(Operation).where(Operation.kind == kind, Operation.subject == subject)
    # Ids go by the clock, which may have been set back since another has ended.
    order = Operation.finished_at.is_(None).desc(), Operation.id.desc()
    return tx.session.scalars(query.order_by(*order).limit(1)).first()


def add(tx: Tx, operation: Operation) -> None:
    """Insert an operation."""
    tx.session.add(operation)
    tx.session.flush()


def active(tx: Tx) -> list[tuple[OperationKind, str]]:
    """Return kind and id of each operation that has not ended."""
    query = select(Operation.kind, Operation.id).where(Operation.finished_at.is_(None))
    return [(kind, operation_id) for kind, operation_id in tx.session.execute(query)]


def unfinished_of(tx: Tx, requesters: Collection[str]) -> dict[str, int]:
    """Count the operations that have not ended by who began them."""
    query = select(Operation.requester, func.count()).where(
        Operation.finished_at.is_(None), Operation.requester.in_(requesters)
    )
    return {str(requester): count for requester, count in tx.session.execute(query.group_by(Operation.requester))}


def active_of(tx: Tx, config_id: str) -> list[Operation]:
    """Return a config's operations that have not ended."""
    query = select(Operation).where(Operation.finished_at.is_(None), Operation.config_id == config_id)
    return list(tx.session.scalars(query))


_ANY_ACTIVE = select(exists().where(Operation.finished_at.is_(None), Operation.config_id == bindparam("config_id")))


def any_active(tx: Tx, config_id: str) -> bool:
    """Tell whether an operation of a config has not ended."""
    return tx.session.scalar(_ANY_ACTIVE, {"config_id": config_id}) or False


def page(
    tx: Tx,
    state: OperationState | None,
    kind: OperationKind | None,
    after: str | None,
    limit: int,
    within: Limit | None = None,
) -> list[Operation]:
    """Return up to `limit` operations, newest first, after the id `after`."""
    query = select(Operation).order_by(Operation.id.desc()).limit(limit)
    if within is not None:
        query = query.where(_seen_within(within))
    if state is not None:
        query = query.where(Operation.state == state)
    if kind is not None:
        query = query.where(Operation.kind == kind)
    if after is not None:
        query = query.where(Operation.id < after)
    return list(tx.session.scalars(query))


def seen(tx: Tx, operation_id: str, within: Limit) -> bool:
    """Tell whether an operation is of a config, or of a node, of a limit."""
    query = select(Operation.id).where(Operation.id == operation_id, _seen_within(within))
    return tx.session.scalar(query) is not None


def _seen_within(limit: Limit) -> ColumnElement[bool]:
    nodes = select(Node.id).where(Node.group_id.in_(limit.groups))
    return Operation.config_id.in_(limit.configs) | Operation.node_id.in_(nodes)


def change(tx: Tx, operation_id: str, **values: Any) -> None:
    """Set columns of an operation."""
    tx.session.execute(update(Operation).where(Operation.id == operation_id).values(**values))


class MoveRow(NamedTuple):
    """A move, as in `Move`."""

    peer_id: str
    from_node_id: str
    to_node_id: str | None
    endpoint: str | None
    live: bool
    rehomed: bool
    state: MoveState
    attempts: int


class Tried(NamedTuple):
    """How the last move of a live session ended, where the peer then was, and what the operation was asked."""

    endpoint: str
    state: MoveState
    attempts: int
    options: dict[str, Any]


class MovingPeer(NamedTuple):
    """Of a peer that moves, what a move depends on."""

    id: str
    public_key: str
    admitted: bool
    generation: int
    home_node_id: str | None
    group_id: str | None


# Of columns, and made once: clients without a node wait, and 1,000 objects that know their session take 40 ms.
_MOVE = tuple(getattr(Move, name) for name in MoveRow._fields)
_MOVES = select(*_MOVE).where(Move.operation_id == bindparam("operation"))
_PENDING = (
    select(*_MOVE, *(getattr(Peer, name) for name in MovingPeer._fields))
    .join(Peer, Peer.id == Move.peer_id)
    .where(Move.operation_id == bindparam("operation"), Move.state == MoveState.PENDING)
    .order_by(Move.attempts, Move.peer_id)
)


def pending(tx: Tx, operation_id: str) -> list[tuple[MoveRow, MovingPeer]]:
    """Return the moves of an operation that are not settled, with their peers."""
    width = len(MoveRow._fields)
    rows = tx.session.connection().execute(_PENDING, {"operation": operation_id})
    return [(MoveRow(*row[:width]), MovingPeer(*row[width:])) for row in rows]


def moving_peers(tx: Tx, peer_ids: Collection[str]) -> list[MovingPeer]:
    """Return the peers that exist among the ids."""
    columns = [getattr(Peer, name) for name in MovingPeer._fields]
    return [
        MovingPeer(*row)
        for chunk in chunked(peer_ids)
        for row in tx.session.execute(select(*columns).where(Peer.id.in_(chunk)))
    ]


def unsettled(tx: Tx, operation_id: str) -> set[str]:
    """Return the peers whose moves are not settled."""
    query = select(Move.peer_id).where(Move.operation_id == operation_id, Move.state == MoveState.PENDING)
    return set(tx.session.scalars(query))


def called_in_vain(tx: Tx, operation_id: str, times: int) -> bool:
    """Tell whether a live peer whose move is not settled was called in vain so often."""
    query = exists().where(Move.operation_id == operation_id, Move.state == MoveState.PENDING, Move.live.is_(True))
    return bool(tx.session.scalar(select(query.where(Move.attempts >= times))))


def moves(tx: Tx, operation_id: str) -> dict[str, MoveRow]:
    """Return all moves of an operation, by peer."""
    rows = tx.session.connection().execute(_MOVES, {"operation": operation_id})
    return {row[0]: MoveRow(*row) for row in rows}


def tried(tx: Tx, peer_ids: Collection[str]) -> dict[str, Tried]:
    """Return how the last move of each peer's session ended, of those that had one and were moved since."""
    found: dict[str, Tried] = {}
    for chunk in chunked(peer_ids):
        query = (
            select(Move.peer_id, Move.endpoint, Move.state, Move.attempts, Operation.options)
            .join(Operation, Operation.id == Move.operation_id)
            .where(Move.peer_id.in_(chunk), Move.live, Move.endpoint.is_not(None), Operation.finished_at.is_not(None))
        )
        for peer_id, *last in tx.session.execute(query.order_by(Move.operation_id)):
            found[peer_id] = Tried(*last)
    return found


def redirect(tx: Tx, operation_id: str, targets: Mapping[str, str]) -> None:
    """Have moves, by their peers, go to other nodes."""
    for node_id, peer_ids in together(targets).items():
        for chunk in chunked(peer_ids):
            of_chunk = Move.operation_id == operation_id, Move.peer_id.in_(chunk)
            tx.session.execute(update(Move).where(*of_chunk).values(to_node_id=node_id))


def went_live(tx: Tx, operation_id: str, peer_id: str, endpoint: str) -> None:
    """Note that a peer, idle until now, has a session that has to be moved."""
    tx.session.execute(
        update(Move)
        .where(Move.operation_id == operation_id, Move.peer_id == peer_id)
        .values(live=True, endpoint=endpoint, state=MoveState.PENDING)
    )


def called_for_others(tx: Tx, operation: Operation, from_node_id: str, since: float) -> set[str]:
    """Return whom other operations like this one, not ended, called away from a node, or call since they began."""
    query = (
        select(Move.peer_id)
        .join(Operation, Operation.id == Move.operation_id)
        .where(Move.from_node_id == from_node_id, Move.live, Move.state != MoveState.LEFT)
        .where(Operation.kind == operation.kind, Operation.config_id == operation.config_id)
        .where(Operation.finished_at.is_(None), Operation.id != operation.id)
        .where(or_(Move.state == MoveState.MOVED, Operation.created_at >= since))
    )
    return set(tx.session.scalars(query))


def tally(tx: Tx, operation_id: str) -> dict[tuple[MoveState, bool], int]:
    """Return how many moves there are for each (state, live)."""
    query = select(Move.state, Move.live, func.count()).where(Move.operation_id == operation_id)
    return {(state, live): count for state, live, count in tx.session.execute(query.group_by(Move.state, Move.live))}


def taken_over(tx: Tx, operation_id: str) -> list[str]:
    """Return the peers whose sessions other nodes took over in an operation."""
    return list(tx.session.scalars(select(Move.peer_id).where(*_taken_over(operation_id))))


def givers(tx: Tx, operation_id: str) -> set[str]:
    """Return the nodes that sessions were taken over from in an operation."""
    return set(tx.session.scalars(select(Move.from_node_id).distinct().where(*_taken_over(operation_id))))


def _taken_over(operation_id: str) -> tuple[ColumnElement[bool], ...]:
    return Move.operation_id == operation_id, Move.state == MoveState.MOVED, Move.live.is_(True)


def rehomed(tx: Tx, operation_id: str) -> int:
    """Return how many peers got a new home from an operation."""
    query = select(func.count()).where(Move.operation_id == operation_id, Move.rehomed)
    return tx.session.scalar(query) or 0


def moved_live(tx: Tx, operation_id: str) -> dict[str, str]:
    """Return the peers whose sessions an operation has moved, by id, with their public keys."""
    query = (
        select(Peer.id, Peer.public_key)
        .join(Move, Move.peer_id == Peer.id)
        .where(Move.operation_id == operation_id, Move.live, Move.state == MoveState.MOVED)
    )
    return {row.id: row.public_key for row in tx.session.execute(query)}


def set_move_states(tx: Tx, operation_id: str, peer_ids: Collection[str], state: MoveState) -> None:
    """Set the state of some of an operation's moves."""
    for chunk in chunked(peer_ids):
        tx.session.execute(
            update(Move).where(Move.operation_id == operation_id, Move.peer_id.in_(chunk)).values(state=state)
        )


def tried_again(tx: Tx, operation_id: str, peer_ids: Collection[str]) -> None:
    """Count one more attempt for some of an operation's moves."""
    for chunk in chunked(peer_ids):
        tx.session.execute(
            update(Move)
            .where(Move.operation_id == operation_id, Move.peer_id.in_(chunk))
            .values(attempts=Move.attempts + 1)
        )


def forget_moves(tx: Tx, before: float, limit: int) -> int:
    """Delete up to `limit` moves of operations that ended before a time; return how many."""
    ended = select(Operation.id).where(Operation.finished_at < before)
    rows = tx.session.execute(
        select(Move.operation_id, Move.peer_id).where(Move.operation_id.in_(ended)).limit(limit)
    ).all()
    gone = [(operation_id, peer_id) for operation_id, peer_id in rows]
    if gone:
        tx.session.execute(delete(Move).where(tuple_(Move.operation_id, Move.peer_id).in_(gone)))
    return len(gone)


def forget(tx: Tx, before: float, limit: int) -> int:
    """Delete up to `limit` operations that ended before a time and have no moves left; return how many."""
    query = select(Operation.id).where(
        Operation.finished_at < before, ~exists().where(Move.operation_id == Operation.id)
    )
    gone = tx.session.scalars(query.order_by(Operation.id).limit(limit)).all()
    tx.session.execute(delete(Operation).where(Operation.id.in_(gone)))
    return len(gone)
