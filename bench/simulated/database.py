"""The panel's database as the bench looks at it from outside: what was written, how old it is, what was decided."""

import struct
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import JSON, bindparam, create_engine, text
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import NullPool

from bench.simulated.sessions import age_s

_WAL_CHANGES = struct.Struct("=8xI")  # iChange of the WAL index: grows with each transaction that wrote
_NEXT_TRANSACTION = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint"
Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Standing:
    """How many nodes are connected, how many assignments have everything and serve, and of how many."""

    connected: int
    right: int
    nodes: int
    assignments: int

    @property
    def all_right(self) -> bool:
        return self.connected == self.nodes and self.right == self.assignments


class PanelDatabase:
    """A database by its SQLAlchemy URL. Every look is a connection of its own."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.is_sqlite = url.startswith("sqlite")
        self._engine = create_engine(url, poolclass=NullPool)
        self._file = Path(url.removeprefix("sqlite:///"))

    @contextmanager
    def connected(self) -> Iterator[DBAPIConnection]:
        """Connect by the driver alone: what SQLAlchemy costs would be measured too."""
        connection = self._engine.raw_connection()
        try:
            yield connection.dbapi_connection or connection
        finally:
            connection.close()

    def reach_nodes_at(self, addresses: Mapping[str, str]) -> None:
        """Have the panel probe nodes (by id) at these addresses: of loopback, which its API takes for no node."""
        with self._engine.begin() as connection:
            connection.execute(
                text("UPDATE nodes SET endpoint_addresses = :addresses WHERE id = :id").bindparams(
                    bindparam("addresses", type_=JSON)
                ),
                [{"id": node_id, "addresses": [address]} for node_id, address in addresses.items()],
            )

    def rows(self, query: str) -> list[Row]:
        """Return the rows of a query."""
        with self.connected() as connection:
            cursor = connection.cursor()
            cursor.execute(query)
            return list(cursor.fetchall())

    def commits(self) -> int:
        """Return a number that grows by one with each transaction that writes."""
        if self.is_sqlite:
            with Path(f"{self._file}-shm").open("rb") as shared:
                return int(_WAL_CHANGES.unpack(shared.read(_WAL_CHANGES.size))[0])
        return int(self.rows(_NEXT_TRANSACTION)[0][0])

    def sessions(self) -> dict[tuple[str, str], tuple[int, int]]:
        """Return handshake and counter by peer and node."""
        query = "SELECT peer_id, node_id, latest_handshake, rx FROM peer_sessions"
        return {(peer, node): (handshake, rx) for peer, node, handshake, rx in self.rows(query)}

    def counted(self) -> int:
        """Return how many peers have used something."""
        [(count,)] = self.rows("SELECT count(*) FROM usage_totals")
        return int(count)

    def standing(self, since: float = 0) -> Standing:
        """Say how far the nodes are. Connected are those that were seen since a time, in s since the epoch."""
        [(nodes, connected)] = self.rows(
            f"SELECT count(*), sum(CASE WHEN connected AND last_seen_at >= {since:f} THEN 1 ELSE 0 END) FROM nodes"  # noqa: S608 - ours
        )
        [(assignments, right)] = self.rows(
            "SELECT count(*), sum(CASE WHEN a.applied_generation = c.generation AND a.health = 'serving' "
            "AND a.phase = 'serving' THEN 1 ELSE 0 END) FROM assignments a JOIN configs c ON c.id = a.config_id"
        )
        return Standing(int(connected or 0), int(right or 0), int(nodes), int(assignments))

    def events(self, since: float) -> dict[str, int]:
        """Return how often assignments came into each state since a time, in s since the epoch."""
        query = f"SELECT after, count(*) FROM health_events WHERE at >= {since:f} GROUP BY after"  # noqa: S608 - ours
        return {str(after): int(count) for after, count in self.rows(query)}

    def down_at(self, node_id: str, since: float) -> float | None:
        """Return when a node was first called down since a time, both in s since the epoch."""
        query = f"SELECT min(at) FROM health_events WHERE node_id = '{node_id}' AND after = 'down' AND at >= {since:f}"  # noqa: S608 - ours
        [(at,)] = self.rows(query)
        return None if at is None else float(at)

    def unfinished(self) -> int:
        """Return how many operations have not ended."""
        [(count,)] = self.rows("SELECT count(*) FROM operations WHERE finished_at IS NULL")
        return int(count)

    def close(self) -> None:
        """Release what is held."""
        self._engine.dispose()


def changed(before: dict[tuple[str, str], tuple[int, int]], after: dict[tuple[str, str], tuple[int, int]]) -> int:
    """Return how many sessions were written between two looks, those that were written twice once."""
    return sum(before.get(key) != value for key, value in after.items())


def late(sessions: dict[tuple[str, str], tuple[int, int]], limit_s: float, move_every_s: float) -> int:
    """Return how many rows lack what an agent sent more than `limit_s` ago; counters move each `move_every_s`."""
    now = time.time()
    return sum(age_s(rx, now) - move_every_s > limit_s for _, rx in sessions.values())
