"""tags and client settings."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0043"
down_revision: str | None = "0033"

_LISTS = ("client_allowed_ips", "excluded_networks", "dns")
_NUMBERS = ("mtu", "keepalive", "endpoint_port")


def _settings() -> list[sa.Column[Any]]:
    kinds: dict[str, Any] = dict.fromkeys(_LISTS, sa.JSON()) | dict.fromkeys(_NUMBERS, sa.Integer())
    return [sa.Column(name, kind, nullable=True) for name, kind in kinds.items()]


def upgrade() -> None:
    op.create_table(
        "tags",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("color", sa.String(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        *_settings(),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tags")),
        sa.UniqueConstraint("name", name=op.f("uq_tags_name")),
    )
    op.create_table(
        "peer_tags",
        sa.Column("tag_id", sa.String(), nullable=False),
        sa.Column("peer_id", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["peer_id"], ["peers.id"], name=op.f("fk_peer_tags_peer_id_peers"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["tag_id"], ["tags.id"], name=op.f("fk_peer_tags_tag_id_tags"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("tag_id", "peer_id", name=op.f("pk_peer_tags")),
    )
    op.create_index("ix_peer_tags_peer_id", "peer_tags", ["peer_id"])
    with op.batch_alter_table("configs", schema=None) as batch_op:
        batch_op.add_column(sa.Column("excluded_networks", sa.JSON(), server_default="[]", nullable=False))
    with op.batch_alter_table("configs", schema=None) as batch_op:
        batch_op.alter_column("excluded_networks", server_default=None)
    # One by one: a batch would copy the table, whose triggers would be gone.
    op.alter_column("peers", "keepalive", new_column_name="keepalive_before")
    op.add_column("peers", sa.Column("notes", sa.String(), server_default=sa.text("''"), nullable=False))
    for column in _settings():
        op.add_column("peers", column)
    # A peer got its config's when it was made; where it still has that, it follows it from now on.
    op.execute(
        "UPDATE peers SET keepalive = keepalive_before WHERE keepalive_before <> "
        "(SELECT configs.keepalive FROM configs WHERE configs.id = peers.config_id)"
    )
    op.drop_column("peers", "keepalive_before")
