"""addresses of callers in the audit log."""

import sqlalchemy as sa
from alembic import op

revision = "0065"
down_revision: str | None = "0053"

# What had an address among its details, and still does: by the actions, which have an index.
_NOTED = {"signed_in": "address", "opened": "remote", "refused": "remote"}


def upgrade() -> None:
    op.add_column("audit_log", sa.Column("address", sa.String(), nullable=True))
    entries = sa.table("audit_log", sa.column("action"), sa.column("address"), sa.column("details", sa.JSON()))
    for action, detail in _NOTED.items():
        noted = entries.c.details[detail].as_string()
        op.execute(entries.update().where(entries.c.action == action, noted.is_not(None)).values(address=noted))
