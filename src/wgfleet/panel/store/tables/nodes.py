"""Tables of nodes, node groups, join tokens, load, and interfaces that nodes still have to delete."""

from sqlalchemy import BigInteger, ForeignKey, UniqueConstraint, false, text
from sqlalchemy.orm import Mapped, mapped_column

from wgfleet.panel.domain.authorities import Trust
from wgfleet.panel.store.tables.base import Base, SaidText


class NodeGroup(Base):
    """Nodes that belong together. A lower `priority` is filled first. Groups of one `site` fail together; "": none."""

    __tablename__ = "node_groups"
    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    region: Mapped[str]
    priority: Mapped[int]
    site: Mapped[str] = mapped_column(server_default=text("''"))


class Node(Base):
    """A server. `endpoint_addresses` are what clients reach, `agent_host` and `agent_port` what the panel calls.

    `certificate_expires_at` is None until the agent has enrolled. `agent_keys` are digests of the keys that it may
    show: one, or several while it is renewed; none: it enrolled with 0.1.0, which kept none. `revocations` is
    the number of the newest revoked certificate that it refuses to panels; None: it never said so. `trusts` says which
    CAs it trusts, while ours is replaced. `weight` and
    `capacity` (peers, None: no limit) steer placement, and one that is `cordoned` gets no new homes. `bandwidth_mbps`
    is what its uplink carries (None: as the link says). `summary` is what the last cycle did. `clock_ahead_s`: how far
    its clock is ahead of the panel's, None: not known. `agent_features`: what its agent knew beyond 0.1.0 when it was
    last heard (`protocol.features`), for what has to be known of one that is dead, after a restart too. `witness`: it
    serves nobody, has no endpoint addresses, and looks at the nodes of all configs. `next_endpoint_addresses` take the
    place of the others once clients get an answer at each; none: no change was asked for.
    """

    __tablename__ = "nodes"
    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    group_id: Mapped[str | None] = mapped_column(ForeignKey("node_groups.id"), index=True)
    endpoint_addresses: Mapped[list[str]]
    endpoint_name: Mapped[str | None]
    next_endpoint_addresses: Mapped[list[str]] = mapped_column(default=list)
    agent_host: Mapped[str]
    agent_port: Mapped[int]
    weight: Mapped[float]
    capacity: Mapped[int | None]
    bandwidth_mbps: Mapped[int | None]
    cordoned: Mapped[bool]
    is_panel_node: Mapped[bool]
    witness: Mapped[bool] = mapped_column(default=False, server_default=false())
    certificate_expires_at: Mapped[float | None]
    agent_keys: Mapped[list[str]] = mapped_column(default=list)
    revocations: Mapped[int | None] = mapped_column(BigInteger)
    trusts: Mapped[Trust] = mapped_column(default=Trust.CURRENT)
    connected: Mapped[bool]
    last_seen_at: Mapped[float | None]
    clock_ahead_s: Mapped[float | None]
    agent_version: Mapped[str | None]
    agent_features: Mapped[list[str]] = mapped_column(default=list)
    summary: Mapped[str] = mapped_column(SaidText)
    created_at: Mapped[float]


class NodeLoad(Base):
    """How busy a node was when its agent last said so; shares of 1, 1 being all that the machine has."""

    __tablename__ = "node_loads"
    node_id: Mapped[str] = mapped_column(ForeignKey("nodes.id", ondelete="CASCADE"), primary_key=True)
    cpu: Mapped[float]
    memory: Mapped[float]
    bandwidth: Mapped[float]
    at: Mapped[float]


class JoinToken(Base):
    """Lets one agent enroll as one node, once. Only the digest is kept."""

    __tablename__ = "join_tokens"
    digest: Mapped[str] = mapped_column(primary_key=True)
    node_id: Mapped[str] = mapped_column(ForeignKey("nodes.id", ondelete="CASCADE"), index=True)
    created_at: Mapped[float]
    expires_at: Mapped[float]
    used_at: Mapped[float | None]


class DepartedNode(Base):
    """A node that was deleted, and may still have interfaces: its agent is to hear that it is dismissed."""

    __tablename__ = "departed_nodes"
    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    agent_host: Mapped[str]
    agent_port: Mapped[int]
    deleted_at: Mapped[float] = mapped_column(index=True)
    agent_keys: Mapped[list[str]]
    trusts: Mapped[Trust] = mapped_column(default=Trust.CURRENT)
    summary: Mapped[str] = mapped_column(SaidText)


class Cleanup(Base):
    """An interface that a node still has to delete: it could not be reached when it left the config."""

    __tablename__ = "cleanups"
    __table_args__ = (UniqueConstraint("node_id", "config_id"),)
    id: Mapped[str] = mapped_column(primary_key=True)
    node_id: Mapped[str] = mapped_column(ForeignKey("nodes.id", ondelete="CASCADE"), index=True)
    config_id: Mapped[str]
    interface: Mapped[str]
    generation: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[float]
