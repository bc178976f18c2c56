"""Tables of jobs, which are limits of peers, and of what of a peer's usage does not count any more."""

from sqlalchemy import BigInteger, ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from wgfleet.panel.domain.jobs.job import JobAction, JobField, Operator, Period
from wgfleet.panel.store.tables.base import Base, EnumText


class LimitJob(Base):
    """A job of a peer, of the peers of a tag, or of those of a config; the columns are those of `domain.jobs.job`."""

    __tablename__ = "peer_jobs"
    id: Mapped[str] = mapped_column(primary_key=True)
    config_id: Mapped[str | None] = mapped_column(ForeignKey("configs.id", ondelete="CASCADE"), index=True)
    tag_id: Mapped[str | None] = mapped_column(ForeignKey("tags.id", ondelete="CASCADE"), index=True)
    peer_id: Mapped[str | None] = mapped_column(ForeignKey("peers.id", ondelete="CASCADE"), index=True)
    field: Mapped[JobField] = mapped_column(EnumText(JobField))
    operator: Mapped[Operator] = mapped_column(EnumText(Operator))
    value: Mapped[int | None] = mapped_column(BigInteger)
    action: Mapped[JobAction] = mapped_column(EnumText(JobAction))
    period: Mapped[Period | None] = mapped_column(EnumText(Period))
    from_first_use: Mapped[bool]
    time_zone: Mapped[str]
    windows: Mapped[list[str]]
    notice_s: Mapped[int]
    created_at: Mapped[float]


class PeerAllowance(Base):
    """Of a peer: what it had used when its usage was reset, and of which expiry notice was given (job and date).

    `devices`: how many used its file at once when more than one was last seen to, at `shared_at`.
    """

    __tablename__ = "peer_allowances"
    peer_id: Mapped[str] = mapped_column(ForeignKey("peers.id", ondelete="CASCADE"), primary_key=True)
    base_received: Mapped[int] = mapped_column(BigInteger, default=0)
    base_sent: Mapped[int] = mapped_column(BigInteger, default=0)
    reset_at: Mapped[float | None]
    noticed: Mapped[str | None]
    devices: Mapped[int | None]
    shared_at: Mapped[float | None]
