"""room in pages of what is written again and again, on PostgreSQL.

Rows that are there stay where they are; what is written from now on leaves room.
"""

from alembic import op

revision = "0072"
down_revision: str | None = "0071"

TABLES = ("peer_sessions", "usage_counters")


def upgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        for table in TABLES:
            op.execute(f"ALTER TABLE {table} SET (fillfactor = 50)")
