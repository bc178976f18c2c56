"""Quantities as people write them: sizes such as 50 GB, and times such as 30d."""

import re

_SIZE = re.compile(r"(?P<number>\d{1,18}(?:\.\d{1,18})?)\s*(?P<unit>[kmgt]?)(?P<binary>i?)b?", re.IGNORECASE | re.ASCII)
_AGE = re.compile(r"(?P<number>\d{1,9})\s*(?P<unit>[smhdw])", re.ASCII)
_UNITS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


def bytes_of(text: str) -> int:
    """Return a size in bytes; raise ValueError with the way out."""
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{text!r} is no number of bytes; write it as 50GB, 50GiB or 50000000000")
    base = 1024 if found["binary"] else 1000
    factor: int = base ** _UNITS[found["unit"].lower()]
    return round(float(found["number"]) * factor)


def is_time(text: str) -> bool:
    """Whether a text is a time such as 30d, and not a moment."""
    return _AGE.fullmatch(text.strip()) is not None


def seconds_of(text: str) -> int:
    """Return a time in s; raise ValueError with the way out."""
    found = _AGE.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{text!r} is no time; write it as 12h, 30d or 4w")
    return int(found["number"]) * _SECONDS[found["unit"]]
