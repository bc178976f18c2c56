"""The tables. The one place that says what is kept.

Times are s since the epoch (float). Columns ending in `_sealed` are encrypted by the vault. JSON columns hold small
lists or objects that are never searched. `generation` columns: see `wgfleet.protocol.desired`.
"""

from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


class Base(DeclarativeBase):
    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map = {  # noqa: RUF012 - read once by the declarative machinery
        list[str]: JSON,
        list[float]: JSON,
        dict[str, Any]: JSON,
        bytes: LargeBinary,
    }


class Authority(Base):
    """The private CA; one row. `panel_id` names this installation in certificates and ownership marks."""

    __tablename__ = "authority"
    id: Mapped[int] = mapped_column(primary_key=True)
    panel_id: Mapped[str]
    certificate: Mapped[str]
    key_sealed: Mapped[bytes]
    created_at: Mapped[float]


class ApiKey(Base):
    """A credential of the API; only its SHA-256 is kept (the key has 256 random bits)."""

    __tablename__ = "api_keys"
    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    digest: Mapped[str] = mapped_column(unique=True)
    scopes: Mapped[list[str]]
    created_at: Mapped[float]
    expires_at: Mapped[float | None]
    last_used_at: Mapped[float | None]


class NodeGroup(Base):
    """Nodes that belong together. A lower `priority` is filled first."""

    __tablename__ = "node_groups"
    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    region: Mapped[str]
    priority: Mapped[int]


class Node(Base):
    """A server. `endpoint_addresses` are what clients reach, `agent_host` and `agent_port` what the panel calls.

    `certificate_expires_at` is None until the agent has enrolled. `weight` and `capacity` (peers, None: no limit)
    steer placement, and one that is `cordoned` gets no new homes. `summary` is the last cycle's sentence.
    """

    __tablename__ = "nodes"
    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    group_id: Mapped[str | None] = mapped_column(ForeignKey("node_groups.id"), index=True)
    endpoint_addresses: Mapped[list[str]]
    agent_host: Mapped[str]
    agent_port: Mapped[int]
    weight: Mapped[float]
    capacity: Mapped[int | None]
    cordoned: Mapped[bool]
    is_panel_node: Mapped[bool]
    certificate_expires_at: Mapped[float | None]
    connected: Mapped[bool]
    last_seen_at: Mapped[float | None]
    agent_version: Mapped[str | None]
    summary: Mapped[str]
    created_at: Mapped[float]


class JoinToken(Base):
    """Lets one agent enrol as one node, once. Only the digest is kept."""

    __tablename__ = "join_tokens"
    digest: Mapped[str] = mapped_column(primary_key=True)
    node_id: Mapped[str] = mapped_column(ForeignKey("nodes.id", ondelete="CASCADE"), index=True)
    created_at: Mapped[float]
    expires_at: Mapped[float]
    used_at: Mapped[float | None]


class Config(Base):
    """A WireGuard network. `settings_generation`: the generation at which the interface itself last changed.

    `oldest_base`: a node that has an older generation gets the whole, since what left the config before is not known
    any more. The probe key is the panel's own, for its handshakes with the nodes; `probes_generation`: the generation
    at which the probe peers last changed.

    `private_key_sealed` and `public_key` are the cluster's; in mode `independent` each assignment has its own.
    """

    __tablename__ = "configs"
    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    mode: Mapped[str]
    listen_port: Mapped[int]
    mtu: Mapped[int | None]
    dns: Mapped[list[str]]
    client_allowed_ips: Mapped[list[str]]
    keepalive: Mapped[int]
    masquerade: Mapped[bool]
    enabled: Mapped[bool]
    private_key_sealed: Mapped[bytes | None]
    public_key: Mapped[str | None]
    generation: Mapped[int] = mapped_column(BigInteger)
    settings_generation: Mapped[int] = mapped_column(BigInteger)
    oldest_base: Mapped[int] = mapped_column(BigInteger)
    probe_private_key_sealed: Mapped[bytes]
    probe_public_key: Mapped[str]
    probes_generation: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[float]


class Pool(Base):
    """A network that peers get addresses from. `assignment_id`: the node's slice of an independent config.

    `next_offset` is the first address never handed out; those given back wait in `free_offsets`.
    """

    __tablename__ = "pools"
    id: Mapped[str] = mapped_column(primary_key=True)
    config_id: Mapped[str] = mapped_column(ForeignKey("configs.id", ondelete="CASCADE"), index=True)
    assignment_id: Mapped[str | None] = mapped_column(ForeignKey("assignments.id", ondelete="CASCADE"), index=True)
    parent_id: Mapped[str | None] = mapped_column(ForeignKey("pools.id", ondelete="CASCADE"), index=True)
    network: Mapped[str]
    next_offset: Mapped[int] = mapped_column(BigInteger)


class Address(Base):
    """An address in use: pool and offset from the network address. The primary key is what forbids a second use."""

    __tablename__ = "addresses"
    pool_id: Mapped[str] = mapped_column(ForeignKey("pools.id", ondelete="CASCADE"), primary_key=True)
    offset: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    peer_id: Mapped[str] = mapped_column(ForeignKey("peers.id", ondelete="CASCADE"), index=True)


class FreeOffset(Base):
    """An address below `next_offset` that was given back."""

    __tablename__ = "free_offsets"
    pool_id: Mapped[str] = mapped_column(ForeignKey("pools.id", ondelete="CASCADE"), primary_key=True)
    offset: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)


class EndpointGroup(Base):
    """The public face of a cluster config."""

    __tablename__ = "endpoint_groups"
    config_id: Mapped[str] = mapped_column(ForeignKey("configs.id", ondelete="CASCADE"), primary_key=True)
    domain: Mapped[str]
    port: Mapped[int]
    ttl: Mapped[int]
    auto_migrate: Mapped[bool]
    publish_only_healthy: Mapped[bool]
    min_nodes: Mapped[int]
    cloudflare_zone_id: Mapped[str | None]
    cloudflare_record_name: Mapped[str | None]
    created_at: Mapped[float]


class Assignment(Base):
    """A config on a node. `applied_generation` is what the agent last confirmed (0: nothing yet).

    `health` is one of `serving`, `suspect`, `down`, `recovering`, `unmanaged`, and `flaps` the times at which it went
    down lately. The probe key is for the node's handshakes with the others. `oldest_base`: as that of a config.
    """

    __tablename__ = "assignments"
    __table_args__ = (UniqueConstraint("config_id", "node_id"),)
    id: Mapped[str] = mapped_column(primary_key=True)
    config_id: Mapped[str] = mapped_column(ForeignKey("configs.id"), index=True)
    node_id: Mapped[str] = mapped_column(ForeignKey("nodes.id"), index=True)
    phase: Mapped[str]
    private_key_sealed: Mapped[bytes | None]
    public_key: Mapped[str | None]
    applied_generation: Mapped[int] = mapped_column(BigInteger)
    applied_at: Mapped[float | None]
    summary: Mapped[str]
    drift: Mapped[list[str]]
    health: Mapped[str]
    health_since: Mapped[float]
    health_reason: Mapped[str]
    flaps: Mapped[list[float]]
    probe_private_key_sealed: Mapped[bytes]
    probe_public_key: Mapped[str]
    oldest_base: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[float]


class HealthEvent(Base):
    """A change of an assignment's health, with the reason."""

    __tablename__ = "health_events"
    __table_args__ = (Index("ix_health_events_config_id_node_id", "config_id", "node_id"),)
    id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True)
    config_id: Mapped[str]
    node_id: Mapped[str]
    at: Mapped[float]
    before: Mapped[str]
    after: Mapped[str]
    reason: Mapped[str]


class Peer(Base):
    """A user's device. `private_key_sealed` is None where the user brought a public key.

    `networks` are networks behind the peer, beyond its own addresses.
    """

    __tablename__ = "peers"
    __table_args__ = (
        UniqueConstraint("config_id", "name"),
        UniqueConstraint("config_id", "public_key"),
        Index("ix_peers_config_id_generation", "config_id", "generation"),
        Index("ix_peers_home_node_id_config_id", "home_node_id", "config_id"),
    )
    id: Mapped[str] = mapped_column(primary_key=True)
    config_id: Mapped[str] = mapped_column(ForeignKey("configs.id"))
    name: Mapped[str]
    public_key: Mapped[str]
    private_key_sealed: Mapped[bytes | None]
    preshared_key_sealed: Mapped[bytes | None]
    networks: Mapped[list[str]]
    keepalive: Mapped[int]
    enabled: Mapped[bool]
    home_node_id: Mapped[str | None] = mapped_column(ForeignKey("nodes.id"))
    group_id: Mapped[str | None] = mapped_column(ForeignKey("node_groups.id"))
    generation: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[float]


class PeerTombstone(Base):
    """A public key that left a config, and the generation at which it did; what a delta removes. Kept for a time."""

    __tablename__ = "peer_tombstones"
    config_id: Mapped[str] = mapped_column(ForeignKey("configs.id", ondelete="CASCADE"), primary_key=True)
    public_key: Mapped[str] = mapped_column(primary_key=True)
    generation: Mapped[int] = mapped_column(BigInteger, index=True)
    at: Mapped[float]


class PeerSession(Base):
    """The last that a node reported of a peer."""

    __tablename__ = "peer_sessions"
    peer_id: Mapped[str] = mapped_column(ForeignKey("peers.id", ondelete="CASCADE"), primary_key=True)
    node_id: Mapped[str] = mapped_column(ForeignKey("nodes.id", ondelete="CASCADE"), primary_key=True, index=True)
    endpoint: Mapped[str | None]
    latest_handshake: Mapped[int] = mapped_column(BigInteger)
    rx: Mapped[int] = mapped_column(BigInteger)
    tx: Mapped[int] = mapped_column(BigInteger)
    seen_at: Mapped[float]


class Operation(Base):
    """A durable piece of work. `subject` names what it is about; one may be active for a kind and a subject."""

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
    kind: Mapped[str]
    subject: Mapped[str] = mapped_column(index=True)
    config_id: Mapped[str | None]
    node_id: Mapped[str | None]
    state: Mapped[str]
    step: Mapped[str]
    options: Mapped[dict[str, Any]]
    progress: Mapped[dict[str, Any]]
    result: Mapped[dict[str, Any]]
    error: Mapped[str | None]
    attempts: Mapped[int] = mapped_column(Integer)
    requested_by: Mapped[str]
    created_at: Mapped[float]
    updated_at: Mapped[float]
    finished_at: Mapped[float | None]


class Move(Base):
    """A peer that an operation moves from one node to another.

    `state`: `pending`, then `moved` (the new node has it, or its session) or `left` (the session did not follow in
    time; it comes back by itself when the client next starts a handshake). `live`: it had a session at the start.
    """

    __tablename__ = "moves"
    operation_id: Mapped[str] = mapped_column(ForeignKey("operations.id", ondelete="CASCADE"), primary_key=True)
    peer_id: Mapped[str] = mapped_column(ForeignKey("peers.id", ondelete="CASCADE"), primary_key=True, index=True)
    from_node_id: Mapped[str] = mapped_column(String, index=True)
    to_node_id: Mapped[str | None]
    endpoint: Mapped[str | None]
    live: Mapped[bool]
    rehomed: Mapped[bool]
    state: Mapped[str]
    attempts: Mapped[int]


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


class AuditEntry(Base):
    """Who did what to what, and when. Never changed after it was written."""

    __tablename__ = "audit_log"
    __table_args__ = (Index("ix_audit_log_entity_type_entity_id", "entity_type", "entity_id"),)
    id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True)
    at: Mapped[float]
    actor: Mapped[str]
    action: Mapped[str] = mapped_column(index=True)
    entity_type: Mapped[str]
    entity_id: Mapped[str]
    details: Mapped[dict[str, Any]]
