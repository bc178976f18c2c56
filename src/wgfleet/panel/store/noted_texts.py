"""Texts in the notes, each of a kind and under a name, until some time."""

import sqlite3


def get(notes: sqlite3.Connection, kind: str, name: str, now: float) -> str | None:
    """Return a text whose time is not over."""
    found = notes.execute("SELECT text FROM texts WHERE kind = ? AND name = ? AND until > ?", (kind, name, now))
    row = found.fetchone()
    return None if row is None else str(row[0])


def put(notes: sqlite3.Connection, kind: str, name: str, text: str, until: float, most: int) -> None:
    """Note a text instead of the one of that name. Of more than `most` of a kind, the oldest are forgotten."""
    remove(notes, kind, name)
    values = (kind, name, text, until)
    notes.execute("INSERT INTO texts (kind, name, text, until) VALUES (?, ?, ?, ?)", values)
    notes.execute(
        "DELETE FROM texts WHERE kind = :kind AND number <= "
        "(SELECT number FROM texts WHERE kind = :kind ORDER BY number DESC LIMIT 1 OFFSET :most)",
        {"kind": kind, "most": most},
    )


def remove(notes: sqlite3.Connection, kind: str, name: str) -> None:
    """Forget a text, if it is there."""
    notes.execute("DELETE FROM texts WHERE kind = ? AND name = ?", (kind, name))
