"""Tables of peers, of their tags and sessions, and of public keys that were removed."""

from typing import Any

from sqlalchemy import JSON, BigInteger, ColumnElement, ForeignKey, Index, UniqueConstraint, and_, text
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import Mapped, mapped_column, validates

from wgfleet.panel.domain.look_alikes import folded
from wgfleet.panel.store.tables.base import Base, SaidText
from wgfleet.panel.store.tables.held_settings import HeldSettingsColumns

_OWNED = text("owner_id IS NOT NULL")
_BEHIND = text("json_array_length(networks) > 0")
_RESTRICTED = text("restricted_at IS NOT NULL")
_OLD = text("old_file IS NOT NULL")
_RULED = text("rule_set != ''")


class ClientSettingsColumns:
    """What the files of a peer, or of the peers of a tag, say; None: what `domain.client_settings` finds beyond it."""

    client_allowed_ips: Mapped[list[str] | None] = mapped_column(JSON(none_as_null=True))
    excluded_networks: Mapped[list[str] | None] = mapped_column(JSON(none_as_null=True))
    dns: Mapped[list[str] | None] = mapped_column(JSON(none_as_null=True))
    mtu: Mapped[int | None]
    keepalive: Mapped[int | None]
    endpoint_port: Mapped[int | None]


class Tag(ClientSettingsColumns, HeldSettingsColumns, Base):
    """A word for some peers, of any config. `color`: `#rrggbb`. Its settings count for the files of all of them."""

    __tablename__ = "tags"
    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    color: Mapped[str]
    created_at: Mapped[float]


class PeerTag(Base):
    """A tag of a peer."""

    __tablename__ = "peer_tags"
    tag_id: Mapped[str] = mapped_column(ForeignKey("tags.id", ondelete="CASCADE"), primary_key=True)
    peer_id: Mapped[str] = mapped_column(ForeignKey("peers.id", ondelete="CASCADE"), primary_key=True, index=True)


class PeerNodes(Base):
    """That a peer of an independent config may use some nodes only; a peer without a row may use all.

    `places`: ids of nodes and of node groups. One that is gone lets it use nothing.
    """

    __tablename__ = "peer_nodes"
    peer_id: Mapped[str] = mapped_column(ForeignKey("peers.id", ondelete="CASCADE"), primary_key=True)
    places: Mapped[list[str]]


class Peer(ClientSettingsColumns, HeldSettingsColumns, Base):
    """A user's device. `private_key_sealed` is None where the user brought a public key.

    `networks` are networks behind the peer, beyond its own addresses. `name_folded`: the name as searches compare it,
    kept by itself; revision 0024 has the index of it. `notes`: what administrators write about it. `owner_id`: of the
    user whose device it is, None: nobody's. It is no foreign key, which SQLite could add only by writing all peers
    again. `restricted_at`, `restricted_because`: since when its jobs keep it out, and why.
    `file_taken_at`: when its file was last taken from here; `old_file`: 1 where what that says was changed;
    `file_on_way`: of a sending of many files, until that is at its end or what the file says is changed.
    """

    __tablename__ = "peers"
    __table_args__ = (
        UniqueConstraint("config_id", "name"),
        UniqueConstraint("config_id", "public_key"),
        Index("ix_peers_config_id_id_name_folded", "config_id", "id", "name_folded"),
        Index("ix_peers_name_folded_id", "name_folded", "id"),
        Index("ix_peers_config_id_name_folded_id", "config_id", "name_folded", "id"),
        Index("ix_peers_config_id_generation", "config_id", "generation"),
        Index("ix_peers_home_node_id_config_id", "home_node_id", "config_id"),
        Index("ix_peers_owner_id_id", "owner_id", "id", sqlite_where=_OWNED, postgresql_where=_OWNED),
        Index("ix_peers_restricted", "id", sqlite_where=_RESTRICTED, postgresql_where=_RESTRICTED),
        Index("ix_peers_with_old_files", "config_id", "old_file", "id", sqlite_where=_OLD, postgresql_where=_OLD),
        Index("ix_peers_rule_set", "rule_set", "config_id", sqlite_where=_RULED, postgresql_where=_RULED),
        Index("ix_peers_with_networks", "config_id", "id", sqlite_where=_BEHIND, postgresql_where=_BEHIND),
    )
    id: Mapped[str] = mapped_column(primary_key=True)
    config_id: Mapped[str] = mapped_column(ForeignKey("configs.id"))
    name: Mapped[str]
    name_folded: Mapped[str] = mapped_column(server_default=text("''"))
    public_key: Mapped[str]
    private_key_sealed: Mapped[bytes | None]
    preshared_key_sealed: Mapped[bytes | None]
    networks: Mapped[list[str]]
    notes: Mapped[str] = mapped_column(default="", server_default=text("''"))
    enabled: Mapped[bool]
    home_node_id: Mapped[str | None] = mapped_column(ForeignKey("nodes.id"))
    group_id: Mapped[str | None] = mapped_column(ForeignKey("node_groups.id"))
    owner_id: Mapped[str | None]
    generation: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[float]
    restricted_at: Mapped[float | None]
    restricted_because: Mapped[str | None] = mapped_column(SaidText)
    file_taken_at: Mapped[float | None]
    old_file: Mapped[int | None]
    file_on_way: Mapped[str | None]

    @hybrid_property
    def admitted(self) -> bool:
        """Whether nodes let it in."""
        return self.enabled and self.restricted_at is None

    @admitted.inplace.expression
    @classmethod
    def _admitted(cls) -> ColumnElement[bool]:
        return and_(cls.enabled, cls.restricted_at.is_(None))

    @validates("name")
    def _fold(self, _key: str, name: str) -> str:
        self.name_folded = folded(name)
        return name


class PeerBatch(Base):
    """Peers that are being made by one call, in several transactions. It goes with the last; one that stays is undone.

    `last_number`: of the last name, where names are `name_prefix` and a number. `touched_at`: 0: it is being undone.
    `made_config`, `tag_ids`: the config, and which tags and rule sets, were made for them.
    """

    __tablename__ = "peer_batches"
    id: Mapped[str] = mapped_column(primary_key=True)
    config_id: Mapped[str] = mapped_column(ForeignKey("configs.id", ondelete="CASCADE"), index=True)
    peer_ids: Mapped[list[str]]
    name_prefix: Mapped[str | None]
    last_number: Mapped[int | None] = mapped_column(BigInteger)
    touched_at: Mapped[float]
    made_config: Mapped[bool] = mapped_column(default=False, server_default=text("false"))
    tag_ids: Mapped[list[str] | None] = mapped_column(JSON(none_as_null=True))


class PeerChange(Base):
    """A peer that an operation has yet to change.

    Of a table: `line` of the file says so, and `changes` has the new values.
    """

    __tablename__ = "peer_changes"
    operation_id: Mapped[str] = mapped_column(ForeignKey("operations.id", ondelete="CASCADE"), primary_key=True)
    peer_id: Mapped[str] = mapped_column(ForeignKey("peers.id", ondelete="CASCADE"), primary_key=True, index=True)
    line: Mapped[int | None]
    changes: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))


class ShareLink(Base):
    """A link with which the file of a peer is fetched. Only its SHA-256 is kept, and argon2id of its password if any.

    `opened_at`, `opened_by`: when, and the SHA-256 of the browser's visit; of one for one time, of that one.
    """

    __tablename__ = "share_links"
    id: Mapped[str] = mapped_column(primary_key=True)
    peer_id: Mapped[str] = mapped_column(ForeignKey("peers.id", ondelete="CASCADE"), index=True)
    digest: Mapped[str] = mapped_column(unique=True)
    one_time: Mapped[bool]
    created_by: Mapped[str]
    created_at: Mapped[float]
    expires_at: Mapped[float]
    uses: Mapped[int]
    opened_at: Mapped[float | None]
    opened_by: Mapped[str | None]
    password_hash: Mapped[str | None] = mapped_column(default=None)


class PeerTombstone(Base):
    """A public key that left a config, and the generation at which it did; what a delta removes. Kept for a time.

    `name`: of the peer that had it, None where nobody loses access by it (a probe's key).
    """

    __tablename__ = "peer_tombstones"
    config_id: Mapped[str] = mapped_column(ForeignKey("configs.id", ondelete="CASCADE"), primary_key=True)
    public_key: Mapped[str] = mapped_column(primary_key=True)
    generation: Mapped[int] = mapped_column(BigInteger, index=True)
    at: Mapped[float]
    name: Mapped[str | None]


class PeerSession(Base):
    """The last that a node reported of a peer.

    `called_from`: the floating address at which the peer answered that node, None: another, or the client started it.
    """

    __tablename__ = "peer_sessions"
    peer_id: Mapped[str] = mapped_column(ForeignKey("peers.id", ondelete="CASCADE"), primary_key=True)
    node_id: Mapped[str] = mapped_column(ForeignKey("nodes.id", ondelete="CASCADE"), primary_key=True, index=True)
    endpoint: Mapped[str | None]
    latest_handshake: Mapped[int] = mapped_column(BigInteger)
    rx: Mapped[int] = mapped_column(BigInteger)
    tx: Mapped[int] = mapped_column(BigInteger)
    called_from: Mapped[str | None]
    seen_at: Mapped[float]


class PeerVisit(Base):
    """A time for which a peer was at a node from one endpoint, by the panel's wall clock: kept for a while."""

    __tablename__ = "peer_visits"
    peer_id: Mapped[str] = mapped_column(ForeignKey("peers.id", ondelete="CASCADE"), primary_key=True)
    node_id: Mapped[str] = mapped_column(ForeignKey("nodes.id", ondelete="CASCADE"), primary_key=True, index=True)
    began_at: Mapped[float] = mapped_column(primary_key=True)
    last_at: Mapped[float] = mapped_column(index=True)
    endpoint: Mapped[str]
