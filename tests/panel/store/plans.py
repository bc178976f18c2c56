"""How a database would go about the statements of a block: which tables it would read from one end to the other."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine, event, text

GROWING = {
    "addresses",
    "audit_log",
    "former_keys",
    "free_offsets",
    "health_events",
    "moves",
    "operations",
    "peer_sessions",
    "peer_tombstones",
    "peer_visits",
    "peers",
    "usage_counters",
    "usage_days",
    "usage_hours",
    "usage_totals",
}
"""Tables with a row for each peer, or for everything that ever happened."""

PARTIAL = {"ix_peers_restricted", "uq_operations_active"}
"""Indexes of few rows, whatever the size of their table, or of those alone that are asked for."""

Statement = tuple[str, Any]


class Plans:
    """The statements that were run, and the scans among their plans."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._seen: list[Statement] = []

    def note(self, statement: str, parameters: Any) -> None:
        """Keep a statement that reads or changes rows, with the first of its parameters."""
        if statement.lstrip().upper().startswith(("SELECT", "UPDATE", "DELETE", "WITH")):
            first = parameters[0] if isinstance(parameters, list) and parameters else parameters
            self._seen.append((statement, first))

    @property
    def statements(self) -> int:
        """Return how many statements were run."""
        return len(self._seen)

    def scans(self, *, ordered: bool = False) -> list[str]:
        """Return a line for each statement that would read a growing table from one end to the other.

        So does one that sorts what it then takes the first of. `ordered`: an index may be read in order up to a limit.
        """
        found = []
        with self._engine.connect() as connection:
            for statement, parameters in self._seen:
                limited = " LIMIT " in " ".join(statement.split())
                for line in self._explained(connection, statement, parameters):
                    in_order = ordered and limited and " USING INDEX " in line
                    if (_is_scan(line) and not in_order) or (limited and _is_sort(line)):
                        found.append(f"{line.strip()}: {_short(statement)}")
        return found

    def indexes(self) -> set[str]:
        """Return the indexes that the plans use, which all have a `_`; plans say more after the word."""
        with self._engine.connect() as connection:
            lines = [line for seen in self._seen for line in self._explained(connection, *seen)]
        return {
            name
            for line in lines
            for name in re.findall(r"(?i)INDEX (?:Only )?(?:Scan )?(?:using |on )?(\w+_\w+)", line)
        }

    def _explained(self, connection: Connection, statement: str, parameters: Any) -> list[str]:
        if connection.dialect.name == "sqlite":
            rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
            return [row.detail for row in rows]
        # A test's tables are small, where a scan is the right plan: ask for the best one without.
        for name in ("enable_seqscan", "enable_bitmapscan"):
            connection.execute(text(f"SET LOCAL {name} = off"))
        return [row[0] for row in connection.exec_driver_sql(f"EXPLAIN {statement}", parameters)]


def _is_scan(line: str) -> bool:
    sqlite = re.match(r"\s*SCAN (\w+)(?: USING (?:COVERING )?INDEX (\w+))?", line)
    if sqlite is not None:
        return sqlite[1] in GROWING and sqlite[2] not in PARTIAL
    postgresql = re.search(r"Seq Scan on (\w+)", line)
    return postgresql is not None and postgresql[1] in GROWING


def _is_sort(line: str) -> bool:
    return "TEMP B-TREE FOR ORDER BY" in line or re.search(r"\bSort\b  ?\(", line) is not None


def _short(statement: str) -> str:
    return re.sub(r"\s+", " ", statement)[:300]


@contextmanager
def explained(engine: Engine) -> Iterator[Plans]:
    """Note all statements of the block."""
    plans = Plans(engine)

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, _many: bool) -> None:
        plans.note(statement, parameters)

    event.listen(engine, "before_cursor_execute", note)
    try:
        yield plans
    finally:
        event.remove(engine, "before_cursor_execute", note)
