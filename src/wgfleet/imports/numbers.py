"""Numbers and times as other programs write them: some as text, some not at all."""

from datetime import datetime
from typing import Any

NO_TIME = "0001-01-01"  # what Go has for none
MOST_DIGITS = 18  # fits into 64 bits


def whole_number(value: object) -> int | None:
    """Return a number that may be kept as text; None for what is none."""
    text = str(value if value is not None else "").strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) <= MOST_DIGITS else None


def number(value: object) -> int | None:
    """Return a number that may be kept as text; None for 0 and what is none."""
    return whole_number(value) or None


def time_of(text: Any) -> float | None:
    """Return the s since the epoch of a time in ISO 8601, None where there is none."""
    try:
        return datetime.fromisoformat(str(text)).timestamp() if text else None
    except (ValueError, OverflowError):
        return None
