"""sums of usage over the peers of a config at a node, made of what is there."""

import sqlalchemy as sa
from alembic import op

revision = "0049"
down_revision: str | None = "0046"

OF_HOURS = """
INSERT INTO usage_summed_hours (hour, config_id, node_id, received, sent)
SELECT used.hour, counters.config_id, counters.node_id, SUM(used.received), SUM(used.sent)
FROM usage_hours AS used JOIN usage_counters AS counters ON counters.id = used.counter_id
GROUP BY used.hour, counters.config_id, counters.node_id
"""
OF_DAYS = """
INSERT INTO usage_summed_days (day, config_id, node_id, received, sent)
SELECT used.day, used.config_id, used.node_id, SUM(used.received), SUM(used.sent)
FROM (
    SELECT hour / 24 AS day, config_id, node_id, received, sent FROM usage_summed_hours
    UNION ALL
    SELECT days.day, counters.config_id, counters.node_id, days.received, days.sent
    FROM usage_days AS days JOIN usage_counters AS counters ON counters.id = days.counter_id
) AS used
GROUP BY used.day, used.config_id, used.node_id
"""


def upgrade() -> None:
    for table, period in (("usage_summed_hours", "hour"), ("usage_summed_days", "day")):
        op.create_table(
            table,
            sa.Column(period, sa.Integer(), autoincrement=False, nullable=False),
            sa.Column("config_id", sa.String(), nullable=False),
            sa.Column("node_id", sa.String(), nullable=False),
            sa.Column("received", sa.BigInteger(), nullable=False),
            sa.Column("sent", sa.BigInteger(), nullable=False),
            sa.PrimaryKeyConstraint(period, "config_id", "node_id", name=op.f(f"pk_{table}")),
            sqlite_with_rowid=False,
        )
    op.execute(OF_HOURS)
    op.execute(OF_DAYS)
