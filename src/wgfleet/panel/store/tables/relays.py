"""The table of relays: clients whose packets a node that they left passes on to the node that has them."""

from sqlalchemy import ForeignKey, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from wgfleet.panel.store.tables.base import Base


class RelayedClient(Base):
    """A peer that hangs on a relay of a node, as its agent last said. `target`: `ADDRESS:PORT` of the node that has it.

    `since`, `ends_at`: s since the epoch, by the panel's clock. `wanted_ends_at`: what somebody asked for and the agent
    has not confirmed yet, 0: that it ends at once.
    """

    __tablename__ = "relayed_clients"
    __table_args__ = (UniqueConstraint("node_id", "peer_id"),)
    id: Mapped[str] = mapped_column(primary_key=True)
    config_id: Mapped[str] = mapped_column(ForeignKey("configs.id", ondelete="CASCADE"), index=True)
    node_id: Mapped[str] = mapped_column(ForeignKey("nodes.id", ondelete="CASCADE"))
    peer_id: Mapped[str] = mapped_column(ForeignKey("peers.id", ondelete="CASCADE"), index=True)
    target: Mapped[str]
    since: Mapped[float]
    ends_at: Mapped[float]
    wanted_ends_at: Mapped[float | None]
