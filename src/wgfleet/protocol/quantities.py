"""Quantities as people write them: sizes such as 50 GB, speeds such as 20 Mbit/s, and times such as 30d."""

import re

from wgfleet.protocol.digits import ascii_digits
from wgfleet.protocol.errors import FieldError
from wgfleet.protocol.reasons import Reason

_SIZE = re.compile(r"(?P<number>\d{1,18}(?:\.\d{1,18})?)\s*(?P<unit>[kmgt]?)(?P<binary>i?)b?", re.IGNORECASE | re.ASCII)
_AGE = re.compile(r"(?P<number>\d{1,9})\s*(?P<unit>[smhdw])", re.ASCII)
_SPEED = re.compile(
    r"(?P<number>\d{1,12}(?:\.\d{1,12})?)\s*(?P<unit>[kmg]?)(?:bit|bit/s|bps)?", re.IGNORECASE | re.ASCII
)
LEAST_SPEED, MAX_SPEED = 64_000, 40_000_000_000  # bits per second
_UNITS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


def bytes_of(text: str) -> int:
    """Return a size in bytes; raise ValueError with the way out."""
    found = _SIZE.fullmatch(ascii_digits(text).strip())
    if found is None:
        raise ValueError(Reason("{text!r} is no number of bytes; write it as 50GB, 50GiB or 50000000000", text=text))
    base = 1024 if found["binary"] else 1000
    factor: int = base ** _UNITS[found["unit"].lower()]
    return round(float(found["number"]) * factor)


def size_text(count: int) -> str:
    """Return a number of bytes as people write it, exactly: 50 MB, 1.5 GiB, or in bytes where it is neither."""
    found = [f"{count} B"]
    for base, binary in ((1000, ""), (1024, "iB")):
        for power, word in ((4, "T"), (3, "G"), (2, "M"), (1, "k" if base == 1000 else "K")):  # noqa: PLR2004 - above
            if count >= base**power and count * 100 % base**power == 0:
                found.append(f"{count / base**power:.14g} {word}{binary or 'B'}")
    # The roundest, as 5 GiB are 5368709.12 kB too.
    return min(found[1:] or found, key=lambda text: len(text.partition(" ")[0]))


def time_text(seconds: int) -> str:
    """Return a time as people write it, exactly: 30d, 12h, 90s."""
    for word, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds and seconds % length == 0:
            return f"{seconds // length}{word}"
    return f"{seconds}s"


def is_time(text: str) -> bool:
    """Whether a text is a time such as 30d, and not a moment."""
    return _AGE.fullmatch(ascii_digits(text).strip()) is not None


def seconds_of(text: str) -> int:
    """Return a time in s; raise ValueError with the way out."""
    found = _AGE.fullmatch(ascii_digits(text).strip())
    if found is None:
        raise ValueError(Reason("{text!r} is no time; write it as 12h, 30d or 4w", text=text))
    return int(found["number"]) * _SECONDS[found["unit"]]


def speed_of(text: str) -> int:
    """Return a speed in bits per second; raise ValueError with the way out."""
    found = _SPEED.fullmatch(ascii_digits(text).strip())
    if found is None:
        raise ValueError(
            Reason("{text!r} is no speed; write it as 20mbit, 500kbit, 1gbit, or 0 for no limit", text=text)
        )
    factor: int = 1000 ** _UNITS[found["unit"].lower()]
    return round(float(found["number"]) * factor)


def speed_text(speed: int) -> str:
    """Return a speed, in bits per second, as people write it."""
    for word, factor in (("Gbit/s", 10**9), ("Mbit/s", 10**6), ("kbit/s", 10**3)):
        if speed >= factor:
            return f"{speed / factor:.6g} {word}"
    return f"{speed} bit/s"


def check_speed(speed: int, field: str) -> None:
    """Raise `FieldError` unless this can be a limit, in bits per second; 0: none."""
    if speed and not LEAST_SPEED <= speed <= MAX_SPEED:
        raise FieldError(
            field,
            Reason(
                "must be {least_speed} to {max_speed} bits per second, or 0 for no limit, not {speed}",
                least_speed=LEAST_SPEED,
                max_speed=MAX_SPEED,
                speed=speed,
            ),
        )
