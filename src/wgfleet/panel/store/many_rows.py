"""Inserts of many rows as few statements, for transactions that others wait for.

A driver that is given rows one by one gives the interpreter away for each, and gets it back behind all other threads.
"""

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

from sqlalchemy import Table

from wgfleet.panel.store.engine import Tx

VALUES = 2800  # a statement, of 65,535 that PostgreSQL takes and 32,766 of SQLite; more are not quicker


def insert_many(tx: Tx, table: Table, columns: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> None:
    """Insert rows, each with the values of the columns as the driver takes them: JSON is text."""
    quote = tx.connection.dialect.identifier_preparer.quote
    into = f"INSERT INTO {quote(table.name)} ({', '.join(map(quote, columns))}) VALUES "  # noqa: S608 - our own names
    _in_chunks(tx, into, rows, len(columns))


def set_many(tx: Tx, table: Table, column: str, values: Mapping[str, object]) -> None:
    """Set a column of rows, each by its id to a value of its own."""
    quote = tx.connection.dialect.identifier_preparer.quote
    # Both databases name the columns of VALUES so.
    head = f"UPDATE {quote(table.name)} SET {quote(column)} = given.column2 FROM (VALUES "  # noqa: S608 - our own names
    _in_chunks(tx, head, list(values.items()), 2, f") AS given WHERE {quote(table.name)}.id = given.column1")


def upsert_many(
    tx: Tx,
    table: Table,
    columns: Sequence[str],
    rows: Sequence[tuple[Any, ...]],
    key: Sequence[str],
    changes: Mapping[str, str],
) -> None:
    """As `insert_many`, but a row whose `key` is there is changed: each column to an expression of SQL.

    No two of `rows` may have one key. `excluded` is what would have been inserted.
    """
    quote = tx.connection.dialect.identifier_preparer.quote
    into = f"INSERT INTO {quote(table.name)} ({', '.join(map(quote, columns))}) VALUES "  # noqa: S608 - our own names
    _in_chunks(tx, into, rows, len(columns), _else_changed(tx, key, changes))


def upsert_of_peers(
    tx: Tx,
    table: Table,
    columns: Sequence[str],
    rows: Sequence[tuple[Any, ...]],
    key: Sequence[str],
    changes: Mapping[str, str],
) -> None:
    """As `upsert_many`, of peers by what nodes know them by: a row ends with a config's id and a public key.

    The column `peer_id` is looked up; rows of keys that are no peers any more are passed over.
    """
    quote = tx.connection.dialect.identifier_preparer.quote
    given = ", ".join(f"given.column{number + 1}" for number in range(len(columns)))  # as both databases name them
    into = (
        f"INSERT INTO {quote(table.name)} (peer_id, {', '.join(map(quote, columns))}) "  # noqa: S608 - our own names
        f"SELECT peers.id, {given} FROM (VALUES "
    )
    # SQLite does what is said first first: each row leads to one peer, by an index.
    found = f"peers.config_id = given.column{len(columns) + 1} AND peers.public_key = given.column{len(columns) + 2}"
    end = f") AS given CROSS JOIN peers WHERE {found}{_else_changed(tx, key, changes)}"
    _in_chunks(tx, into, rows, len(columns) + 2, end)


def _else_changed(tx: Tx, key: Sequence[str], changes: Mapping[str, str]) -> str:
    quote = tx.connection.dialect.identifier_preparer.quote
    found = ", ".join(f"{quote(name)} = {expression}" for name, expression in changes.items())
    return f" ON CONFLICT ({', '.join(map(quote, key))}) DO UPDATE SET {found}"


def _in_chunks(tx: Tx, into: str, rows: Sequence[tuple[Any, ...]], width: int, end: str = "") -> None:
    mark = "?" if tx.connection.dialect.name == "sqlite" else "%s"
    one = f"({', '.join([mark] * width)})"
    at_once = VALUES // width
    for start in range(0, len(rows), at_once):
        chunk = rows[start : start + at_once]
        tx.connection.exec_driver_sql(into + ", ".join([one] * len(chunk)) + end, tuple(chain.from_iterable(chunk)))
