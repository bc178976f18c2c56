"""Counts in the notes: what each process has counted, in whatever form it writes it, and when it last did."""

import sqlite3

PAST = 0
"""Under this number: what processes have counted that are gone."""


def put(notes: sqlite3.Connection, process: int, at: float, samples: bytes) -> None:
    """Note what a process has counted until now."""
    notes.execute("INSERT OR REPLACE INTO counts (process, at, samples) VALUES (?, ?, ?)", (process, at, samples))


def rewrite(notes: sqlite3.Connection, process: int) -> None:
    """Write what is there again, which fails where nothing can be written."""
    notes.execute("UPDATE counts SET at = at WHERE process = ?", (process,))


def all_of(notes: sqlite3.Connection) -> dict[int, tuple[float, bytes]]:
    """Return when each process last noted what, by its number."""
    found = notes.execute("SELECT process, at, samples FROM counts")
    return {int(process): (float(at), bytes(samples)) for process, at, samples in found}
