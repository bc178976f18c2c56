"""Attempts in the notes: who failed, or did something that is limited, and when."""

import sqlite3

MOST = 100_000  # of a kind; the oldest are forgotten first
_LOOK_EVERY = 256


def recent(notes: sqlite3.Connection, kind: str, source: str, since: float) -> tuple[int, float]:
    """Return how many attempts of a source there were after `since`, and when the first was; forget those before."""
    notes.execute("DELETE FROM attempts WHERE kind = ? AND source = ? AND at <= ?", (kind, source, since))
    found = notes.execute("SELECT count(*), min(at) FROM attempts WHERE kind = ? AND source = ?", (kind, source))
    count, first = found.fetchone()
    return count, first if count else since


def add(notes: sqlite3.Connection, kind: str, source: str, at: float) -> int:
    """Note an attempt; return its number."""
    added = notes.execute("INSERT INTO attempts (kind, source, at) VALUES (?, ?, ?)", (kind, source, at))
    number = added.lastrowid or 0
    if number % _LOOK_EVERY == 0:
        notes.execute(
            "DELETE FROM attempts WHERE kind = :kind AND number <= "
            "(SELECT number FROM attempts WHERE kind = :kind ORDER BY number DESC LIMIT 1 OFFSET :most)",
            {"kind": kind, "most": MOST},
        )
    return number


def remove(notes: sqlite3.Connection, number: int) -> None:
    """Forget an attempt, if it is still there."""
    notes.execute("DELETE FROM attempts WHERE number = ?", (number,))
