"""Numbers and times as other programs write them: some as text, some not at all."""

from datetime import datetime
from typing import Any

from wgfleet.protocol.reasons import Reason

NO_TIME = "0001-01-01"  # what Go has for none
MOST_DIGITS = 18  # fits into 64 bits
MOST_SHOWN = 40  # characters of a value that is none
LONGEST_KEEPALIVE_S = 65_535  # 16 bits in the kernel


def whole_number(value: object) -> int | None:
    """Return a number that may be kept as text; None for what is none."""
    text = str(value if value is not None else "").strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) <= MOST_DIGITS else None


def number(value: object) -> int | None:
    """Return a number that may be kept as text; None for 0 and what is none."""
    return whole_number(value) or None


def keepalive_of(value: object, name: str, said: list[str]) -> int | None:
    """Return the keepalive of a peer; None where there is none, and where it cannot be one, which is said."""
    text = "" if value is None else str(value).strip()
    if text.lower() == "off":
        return 0
    found = whole_number(text)
    if text and (found is None or found > LONGEST_KEEPALIVE_S):
        said.append(
            Reason(
                "{name}: keepalive {value!r} is no number from 0 to {most}, so it is left out; check it",
                name=name,
                value=text[:MOST_SHOWN],
                most=LONGEST_KEEPALIVE_S,
            )
        )
        return None
    return found


def time_of(text: Any) -> float | None:
    """Return the s since the epoch of a time in ISO 8601, None where there is none."""
    try:
        return datetime.fromisoformat(str(text)).timestamp() if text else None
    except (ValueError, OverflowError):
        return None
