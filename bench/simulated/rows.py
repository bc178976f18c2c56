"""What calls of the API would cost bare: the statements for the same rows, by the driver alone."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bench.simulated.database import PanelDatabase

ROUNDS = 100
_OF_PEERS = (
    "SELECT * FROM peers WHERE id IN ({marks})",
    (
        'SELECT a.peer_id, p.network, a."offset" FROM addresses a JOIN pools p ON p.id = a.pool_id '
        "WHERE peer_id IN ({marks})"
    ),
    "SELECT * FROM peer_sessions WHERE peer_id IN ({marks})",
)
_COPY = "CREATE TABLE bench_peers AS SELECT * FROM peers WHERE id = {mark}"
_NODES = "SELECT * FROM nodes ORDER BY id LIMIT 101"


@dataclass(frozen=True, slots=True)
class BareRows:
    """A database, asked by its driver on one connection a question."""

    database: PanelDatabase

    def of_peers(self, peer_ids: Sequence[str]) -> float:
        """Return how long it takes to read peers with their addresses and sessions, in ms."""
        marks = ", ".join([self._mark] * len(peer_ids))
        return self._median([text.format(marks=marks) for text in _OF_PEERS], tuple(peer_ids))

    def nodes(self) -> float:
        """Return how long it takes to read a page of nodes, in ms."""
        return self._median([_NODES], ())

    def insert(self, like: str) -> float:
        """Return how long it takes to insert a row like a peer's and to commit it, in ms."""
        with self.database.connected() as connection:
            cursor: Any = connection.cursor()
            if self.database.is_sqlite:
                cursor.execute("PRAGMA synchronous=FULL")
            cursor.execute(_COPY.format(mark=self._mark), (like,))
            cursor.execute("SELECT * FROM bench_peers")
            row = tuple(cursor.fetchone())
            connection.commit()
            taken = []
            marks = ", ".join([self._mark] * len(row))
            for _ in range(ROUNDS):
                began = time.monotonic()
                cursor.execute(f"INSERT INTO bench_peers VALUES ({marks})", row)  # noqa: S608 - ours
                connection.commit()
                taken.append(time.monotonic() - began)
            cursor.execute("DROP TABLE bench_peers")
            connection.commit()
        return _ms(taken)

    @property
    def _mark(self) -> str:
        return "?" if self.database.is_sqlite else "%s"

    def _median(self, statements: Sequence[str], values: tuple[str, ...]) -> float:
        taken = []
        with self.database.connected() as connection:
            cursor: Any = connection.cursor()
            for _ in range(ROUNDS):
                began = time.monotonic()
                for statement in statements:
                    cursor.execute(statement, values)
                    cursor.fetchall()
                taken.append(time.monotonic() - began)
        return _ms(taken)


def _ms(taken: list[float]) -> float:
    return round(sorted(taken)[len(taken) // 2] * 1000, 3)
