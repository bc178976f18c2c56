"""Inserts of many rows as few statements, for transactions that others wait for.

A driver that is given rows one by one gives the interpreter away for each, and gets it back behind all other threads.
SQLite takes the rows as marks in `VALUES`. psycopg reads a statement mark by mark and writes out each value for itself,
some seven times as long as it takes to write the rows as JSON: PostgreSQL gets one text, and takes it apart.
"""

import json
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

from sqlalchemy import Table

from wgfleet.panel.store.engine import Tx

VALUES = 2800  # a statement, of 32,766 that SQLite takes; more are not quicker, nor is a longer text for PostgreSQL


def insert_many(tx: Tx, table: Table, columns: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> None:
    """Insert rows, each with the values of the columns as the driver takes them: JSON is text."""
    _in_chunks(tx, _into(tx, table, columns), [(table, name) for name in columns], rows)


def set_many(tx: Tx, table: Table, column: str, values: Mapping[str, object]) -> None:
    """Set a column of rows, each by its id to a value of its own."""
    name = _quoted(tx, table.name)
    head = f"UPDATE {name} SET {_quoted(tx, column)} = given.column2 FROM ("  # noqa: S608 - our own names
    end = f") AS given WHERE {name}.id = given.column1"
    _in_chunks(tx, head, [(table, "id"), (table, column)], list(values.items()), end)


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
    kinds = [(table, name) for name in columns]
    _in_chunks(tx, _into(tx, table, columns), kinds, rows, _else_changed(tx, key, changes))


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
    peers = table.metadata.tables["peers"]
    given = ", ".join(f"given.column{number + 1}" for number in range(len(columns)))
    into = f"{_into(tx, table, ('peer_id', *columns))}SELECT peers.id, {given} FROM ("  # noqa: S608 - our own names
    # SQLite does what is said first first: each row leads to one peer, by an index.
    found = f"peers.config_id = given.column{len(columns) + 1} AND peers.public_key = given.column{len(columns) + 2}"
    end = f") AS given CROSS JOIN peers WHERE {found}{_else_changed(tx, key, changes)}"
    known_by = [(peers, "config_id"), (peers, "public_key")]
    _in_chunks(tx, into, [*((table, name) for name in columns), *known_by], rows, end)


def _quoted(tx: Tx, *names: str) -> str:
    return ", ".join(map(tx.connection.dialect.identifier_preparer.quote, names))


def _into(tx: Tx, table: Table, columns: Sequence[str]) -> str:
    return f"INSERT INTO {_quoted(tx, table.name)} ({_quoted(tx, *columns)}) "


def _else_changed(tx: Tx, key: Sequence[str], changes: Mapping[str, str]) -> str:
    found = ", ".join(f"{_quoted(tx, name)} = {expression}" for name, expression in changes.items())
    return f" ON CONFLICT ({_quoted(tx, *key)}) DO UPDATE SET {found}"


def _in_chunks(
    tx: Tx, head: str, columns: Sequence[tuple[Table, str]], rows: Sequence[tuple[Any, ...]], end: str = ""
) -> None:
    """Run `head`, the rows as a query whose columns are named column1, column2 ..., and `end`."""
    dialect = tx.connection.dialect
    at_once = VALUES // len(columns)
    chunks = (rows[start : start + at_once] for start in range(0, len(rows), at_once))
    if dialect.name == "sqlite":
        one = f"({', '.join('?' * len(columns))})"
        for chunk in chunks:
            values = tuple(chain.from_iterable(chunk))
            tx.connection.exec_driver_sql(f"{head}VALUES {', '.join([one] * len(chunk))}{end}", values)
        return
    kinds = (table.c[name].type.compile(dialect) for table, name in columns)
    taken = ", ".join(f"(given_row->>{at})::{kind} AS column{at + 1}" for at, kind in enumerate(kinds))
    statement = f"{head}SELECT {taken} FROM jsonb_array_elements(%s::jsonb) AS given_row{end}"  # noqa: S608 - our own
    for chunk in chunks:
        tx.connection.exec_driver_sql(statement, (_as_json(chunk),))


def _of_bytes(value: object) -> str:
    if not isinstance(value, bytes):
        msg = f"{type(value).__name__} is nothing that a column takes"
        raise TypeError(msg)
    return rf"\x{value.hex()}"  # as PostgreSQL reads bytea


_as_json = json.JSONEncoder(
    ensure_ascii=False, check_circular=False, allow_nan=False, separators=(",", ":"), default=_of_bytes
).encode
