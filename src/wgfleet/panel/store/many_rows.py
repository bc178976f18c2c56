"""Inserts of many rows as few statements, for transactions that others wait for.

A driver that is given rows one by one gives the interpreter away for each, and gets it back behind all other threads.
"""

from collections.abc import Sequence
from itertools import chain
from typing import Any

from sqlalchemy import Table

from wgfleet.panel.store.engine import Tx

ROWS = 200  # a statement; of 14 columns, half of the parameters that PostgreSQL takes would be 2,300


def insert_many(tx: Tx, table: Table, columns: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> None:
    """Insert rows, each with the values of the columns as the driver takes them: JSON is text."""
    connection = tx.session.connection()
    quote = connection.dialect.identifier_preparer.quote
    mark = "?" if connection.dialect.name == "sqlite" else "%s"
    into = f"INSERT INTO {quote(table.name)} ({', '.join(map(quote, columns))}) VALUES "  # noqa: S608 - our own names
    one = f"({', '.join([mark] * len(columns))})"
    for start in range(0, len(rows), ROWS):
        chunk = rows[start : start + ROWS]
        connection.exec_driver_sql(into + ", ".join([one] * len(chunk)), tuple(chain.from_iterable(chunk)))
