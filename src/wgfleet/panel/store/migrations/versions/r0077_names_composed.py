"""names of peers as searches compare them, composed, and the same in small and capital letters.

Folded, some names were decomposed (U+0390), and what was typed in capital letters found them no more.
"""

import sqlalchemy as sa
from alembic import op

from wgfleet.panel.domain.look_alikes import folded

revision = "0077"
down_revision: str | None = "0076"

CHUNK = 1000


def upgrade() -> None:
    peers = sa.table("peers", sa.column("id"), sa.column("name"), sa.column("name_folded"))
    change = sa.update(peers).where(peers.c.id == sa.bindparam("peer")).values(name_folded=sa.bindparam("folded"))
    connection, after = op.get_bind(), ""
    while rows := connection.execute(
        sa.select(peers.c.id, peers.c.name, peers.c.name_folded)
        .where(peers.c.id > after)
        .order_by(peers.c.id)
        .limit(CHUNK)
    ).all():
        others = [{"peer": row.id, "folded": now} for row in rows if (now := folded(row.name)) != row.name_folded]
        if others:
            connection.execute(change, others)
        after = rows[-1].id
