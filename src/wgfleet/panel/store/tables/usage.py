"""Tables of usage: what peers sent and received, by node and hour; and whose keys and nodes are gone."""

from sqlalchemy import BigInteger, ForeignKey, Index, Integer
from sqlalchemy.orm import Mapped, mapped_column

from wgfleet.panel.store.tables.base import Base


class UsageCounter(Base):
    """A peer's key at a node, and what of the node's counter is in the sums.

    `life`, `claimed_received` and `claimed_sent`: as the node last said (`protocol.usage`). `former`: the key is not
    the peer's any more. `public_key` is not unique: a key that came back with another peer has a row for each.
    """

    __tablename__ = "usage_counters"
    __table_args__ = (Index("ix_usage_counters_node_id_config_id_public_key", "node_id", "config_id", "public_key"),)
    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    node_id: Mapped[str]
    config_id: Mapped[str]
    public_key: Mapped[str]
    peer_id: Mapped[str] = mapped_column(index=True)
    life: Mapped[int] = mapped_column(BigInteger)
    claimed_received: Mapped[int] = mapped_column(BigInteger)
    claimed_sent: Mapped[int] = mapped_column(BigInteger)
    former: Mapped[bool]


class UsageHour(Base):
    """What a counter counted in an hour (of UTC, since the epoch), in bytes as the node sees them."""

    __tablename__ = "usage_hours"
    __table_args__ = (Index("ix_usage_hours_hour", "hour"), {"sqlite_with_rowid": False})
    counter_id: Mapped[int] = mapped_column(ForeignKey("usage_counters.id", ondelete="CASCADE"), primary_key=True)
    hour: Mapped[int] = mapped_column(primary_key=True)
    received: Mapped[int] = mapped_column(BigInteger)
    sent: Mapped[int] = mapped_column(BigInteger)


class UsageDay(Base):
    """The same for a day, once its hours are not kept apart any more."""

    __tablename__ = "usage_days"
    __table_args__ = (Index("ix_usage_days_day", "day"), {"sqlite_with_rowid": False})
    counter_id: Mapped[int] = mapped_column(ForeignKey("usage_counters.id", ondelete="CASCADE"), primary_key=True)
    day: Mapped[int] = mapped_column(primary_key=True)
    received: Mapped[int] = mapped_column(BigInteger)
    sent: Mapped[int] = mapped_column(BigInteger)


class SummedHour(Base):
    """The sum of `UsageHour` over all peers of a config at a node: what is asked of all is not added up each time."""

    __tablename__ = "usage_summed_hours"
    __table_args__ = ({"sqlite_with_rowid": False},)
    hour: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    config_id: Mapped[str] = mapped_column(primary_key=True)
    node_id: Mapped[str] = mapped_column(primary_key=True)
    received: Mapped[int] = mapped_column(BigInteger)
    sent: Mapped[int] = mapped_column(BigInteger)


class SummedDay(Base):
    """The same for a whole day: the sum of its `UsageDay` and of its `UsageHour`, which may be there as well."""

    __tablename__ = "usage_summed_days"
    __table_args__ = ({"sqlite_with_rowid": False},)
    day: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    config_id: Mapped[str] = mapped_column(primary_key=True)
    node_id: Mapped[str] = mapped_column(primary_key=True)
    received: Mapped[int] = mapped_column(BigInteger)
    sent: Mapped[int] = mapped_column(BigInteger)


class NodeTraffic(Base):
    """What all peers of a config used at a node, for counters that never go down; nothing takes it off again."""

    __tablename__ = "node_traffic"
    config_id: Mapped[str] = mapped_column(ForeignKey("configs.id", ondelete="CASCADE"), primary_key=True)
    node_id: Mapped[str] = mapped_column(ForeignKey("nodes.id", ondelete="CASCADE"), primary_key=True, index=True)
    received: Mapped[int] = mapped_column(BigInteger)
    sent: Mapped[int] = mapped_column(BigInteger)


class UsageTotal(Base):
    """What a peer used on all nodes since it was made. `bytes`: both directions, which lists are sorted by."""

    __tablename__ = "usage_totals"
    __table_args__ = (Index("ix_usage_totals_config_id_bytes", "config_id", "bytes", "peer_id"),)
    peer_id: Mapped[str] = mapped_column(primary_key=True)
    config_id: Mapped[str]
    received: Mapped[int] = mapped_column(BigInteger)
    sent: Mapped[int] = mapped_column(BigInteger)
    bytes: Mapped[int] = mapped_column(BigInteger)
    first_at: Mapped[float]
    last_at: Mapped[float]


class UsageSource(Base):
    """A node that was counted on: the last batch of it that is in the sums, and when that was.

    `refused_bytes`: what it claimed beyond what its link can carry. `name`: of the node, which may be deleted.
    """

    __tablename__ = "usage_sources"
    node_id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    epoch: Mapped[str]
    sequence: Mapped[int] = mapped_column(BigInteger)
    at: Mapped[float] = mapped_column(index=True)
    refused_bytes: Mapped[int] = mapped_column(BigInteger)


class FormerKey(Base):
    """A public key that left a config, and the peer that had it: what nodes still tell of it is that peer's."""

    __tablename__ = "former_keys"
    config_id: Mapped[str] = mapped_column(primary_key=True)
    public_key: Mapped[str] = mapped_column(primary_key=True)
    peer_id: Mapped[str] = mapped_column(index=True)
    peer_name: Mapped[str]
    config_name: Mapped[str]
    at: Mapped[float] = mapped_column(index=True)
