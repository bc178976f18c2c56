"""What a database holds, for tests that nothing was written."""

from typing import Any

from wgfleet.panel.store import Store
from wgfleet.panel.store.tables import Base


def snapshot(store: Store) -> dict[str, list[dict[str, Any]]]:
    """Return every row of every table. When a key was last used is left out: refusals note that too."""
    with store.read() as tx:
        return {
            table.name: sorted(
                (
                    {name: value for name, value in row.items() if name != "last_used_at"}
                    for row in tx.session.execute(table.select()).mappings()
                ),
                key=repr,
            )
            for table in Base.metadata.sorted_tables
        }
