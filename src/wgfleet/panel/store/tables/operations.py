"""Tables of operations, of their moves, and of backups."""

from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index, Integer, String, text
from sqlalchemy.orm import Mapped, mapped_column

from wgfleet.panel.domain.moves import MoveState
from wgfleet.panel.domain.operations import OperationKind, OperationState
from wgfleet.panel.store.tables.base import Base, SaidJson, SaidText


class Operation(Base):
    """A durable piece of work. `subject` names what it is about; one may be active for a kind and a subject.

    `options`, `progress` and `result`: see `domain.operations`.
    """

    __tablename__ = "operations"
    __table_args__ = (
        Index(
            "uq_operations_active",
            "kind",
            "subject",
            unique=True,
            sqlite_where=text("finished_at IS NULL"),
            postgresql_where=text("finished_at IS NULL"),
        ),
    )
    id: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[OperationKind]
    subject: Mapped[str] = mapped_column(index=True)
    config_id: Mapped[str | None]
    node_id: Mapped[str | None]
    state: Mapped[OperationState]
    step: Mapped[str]
    options: Mapped[dict[str, Any]]
    progress: Mapped[dict[str, Any]] = mapped_column(SaidJson)
    result: Mapped[dict[str, Any]] = mapped_column(SaidJson)
    error: Mapped[str | None] = mapped_column(SaidText)
    attempts: Mapped[int] = mapped_column(Integer)
    requested_by: Mapped[str]
    requester: Mapped[str | None]
    """`Caller.reference` of who began it; None: the panel by itself, or a release before this column."""
    cancelled_by: Mapped[str | None]
    created_at: Mapped[float]
    updated_at: Mapped[float]
    finished_at: Mapped[float | None]


class OwedRecall(Base):
    """Clients whom a node may have turned back have yet to be called: those of an assignment, or of a removal."""

    __tablename__ = "owed_recalls"
    subject_id: Mapped[str] = mapped_column(primary_key=True)
    since: Mapped[float]


_OWED = text("drop_generation IS NOT NULL")


class Move(Base):
    """A peer that an operation moves from one node to another. `live`: it had a session at the start.

    `drop_generation`: what the former node, which was silent when the operation ended, has to apply to drop the peer.
    """

    __tablename__ = "moves"
    __table_args__ = (Index("ix_moves_owed", "from_node_id", sqlite_where=_OWED, postgresql_where=_OWED),)
    operation_id: Mapped[str] = mapped_column(ForeignKey("operations.id", ondelete="CASCADE"), primary_key=True)
    peer_id: Mapped[str] = mapped_column(ForeignKey("peers.id", ondelete="CASCADE"), primary_key=True, index=True)
    from_node_id: Mapped[str] = mapped_column(String, index=True)
    to_node_id: Mapped[str | None]
    endpoint: Mapped[str | None]
    live: Mapped[bool]
    rehomed: Mapped[bool]
    state: Mapped[MoveState]
    attempts: Mapped[int]
    drop_generation: Mapped[int | None] = mapped_column(BigInteger)


class Backup(Base):
    """An interface and its peers as they were, encrypted, with what names it after its config has gone."""

    __tablename__ = "backups"
    id: Mapped[str] = mapped_column(primary_key=True)
    config_id: Mapped[str] = mapped_column(index=True)
    config_name: Mapped[str]
    node_id: Mapped[str] = mapped_column(index=True)
    node_name: Mapped[str]
    operation_id: Mapped[str | None] = mapped_column(unique=True)
    reason: Mapped[str]
    peers: Mapped[int]
    content_sealed: Mapped[bytes]
    created_at: Mapped[float]
