"""networks of callers in the audit log."""

import ipaddress

import sqlalchemy as sa
from alembic import op

revision = "0066"
down_revision: str | None = "0062"


def upgrade() -> None:
    op.add_column("audit_log", sa.Column("address_key", sa.String(), nullable=True))
    connection = op.get_bind()
    entries = sa.table("audit_log", sa.column("address", sa.String()), sa.column("address_key", sa.String()))
    given = connection.scalars(sa.select(entries.c.address).distinct().where(entries.c.address.is_not(None)))
    found = [{"address": each, "address_key": _key(each)} for each in given]
    if found:
        keys = sa.Table(
            "keys_of_addresses",
            sa.MetaData(),
            sa.Column("address", sa.String(), primary_key=True),
            sa.Column("address_key", sa.String()),
            prefixes=["TEMPORARY"],
        )
        keys.create(connection)
        connection.execute(keys.insert(), found)
        key = sa.select(keys.c.address_key).where(keys.c.address == entries.c.address).scalar_subquery()
        connection.execute(entries.update().where(entries.c.address.is_not(None)).values(address_key=key))
        keys.drop(connection)
    op.create_index("ix_audit_log_address_key_id", "audit_log", ["address_key", "id"])


def _key(text: str) -> str:
    try:
        first = ipaddress.ip_network(text).network_address
    except ValueError:
        return text
    return f"{first.version}{first.packed.hex()}"
