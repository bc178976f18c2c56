"""Periods and windows of jobs: when counting began, and whether a moment is within a schedule. Pure.

Days, weeks and months of the calendar begin at midnight of a time zone, whatever the length of the day is there.
Those from the first use are of 24 hours, of 7 times that, and of a month by the calendar.
"""

import calendar
import re
from datetime import datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from wgfleet.panel.domain.jobs.job import Period
from wgfleet.panel.errors import Invalid
from wgfleet.protocol.digits import ascii_digits
from wgfleet.protocol.reasons import Reason

DAY_S = 86400.0
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
DAY_MINUTES = 1440
_LENGTHS = {Period.DAY: DAY_S, Period.WEEK: 7 * DAY_S}
_NO_PLACES = frozenset({"Factory", "localtime", "posixrules"})  # files of the database that are the machine's, or empty
_OTHER_CLOCKS = ("posix/", "right/")  # the same again, and with leap seconds
_WINDOW = re.compile(r"(?P<days>[a-z,-]+) (?P<from>\d\d:\d\d)-(?P<to>\d\d:\d\d)", re.ASCII)
_MONTHS = 12


def zone(name: str, field: str = "time_zone") -> ZoneInfo:
    """Return a time zone by its name in the database of IANA."""
    try:
        if name in _NO_PLACES or name.startswith(_OTHER_CLOCKS):
            raise ValueError(name)  # noqa: TRY301 - as of a name that there is not
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise Invalid(
            Reason("there is no time zone {name!r}; give one such as Europe/Berlin or UTC", name=name), field=field
        ) from None


@lru_cache(256)  # asked for each peer of a look, at one moment
def began(period: Period, zone: ZoneInfo, now: float) -> float:
    """Return when the period of the calendar that `now` is in began."""
    today = datetime.fromtimestamp(now, zone).replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    if period is Period.WEEK:
        today -= timedelta(days=today.weekday())
    elif period is Period.MONTH:
        today = today.replace(day=1)
    return today.timestamp()


def began_from(first: float, period: Period, zone: ZoneInfo, now: float) -> float:
    """Return when the period that `now` is in began, where the first one began at `first`."""
    if now < first:
        return first
    if period in _LENGTHS:
        return first + (now - first) // _LENGTHS[period] * _LENGTHS[period]
    begin, present = (datetime.fromtimestamp(int(at), zone) for at in (first, now))  # they know no parts of 1 µs
    months = _MONTHS * (present.year - begin.year) + present.month - begin.month
    at = _months_after(begin, months)
    return max(first, at if at <= now else _months_after(begin, months - 1))


def _months_after(begin: datetime, months: int) -> float:
    """Return the same day of a later month, or the last one of it."""
    year, month = divmod(begin.year * _MONTHS + begin.month - 1 + months, _MONTHS)
    last = calendar.monthrange(year, month + 1)[1]
    return begin.replace(year=year, month=month + 1, day=min(begin.day, last)).timestamp()


def checked_window(text: str, field: str) -> str:
    """Return a window in its one spelling, such as `mon-fri 08:00-18:00`."""
    found = " ".join(ascii_digits(text).lower().split())
    if _parsed(found) is None:
        raise Invalid(
            Reason(
                "{text!r} is no window; write days and times, such as 'mon-fri 08:00-18:00' or 'sat,sun 22:00-06:00'",
                text=text,
            ),
            field=field,
        )
    return found


def is_within(windows: tuple[str, ...], zone: ZoneInfo, now: float) -> bool:
    """Tell whether a moment is in one of some windows. One that ends before it begins goes on into the next day."""
    at = datetime.fromtimestamp(now, zone)
    minute, today = at.hour * 60 + at.minute, at.weekday()
    for window in windows:
        parsed = _parsed(window)
        if parsed is None:
            continue
        days, start, end = parsed
        if start < end:
            if today in days and start <= minute < end:
                return True
        elif (today in days and minute >= start) or ((today - 1) % 7 in days and minute < end):
            return True
    return False


def _parsed(window: str) -> tuple[frozenset[int], int, int] | None:
    """Return days (Monday is 0), first minute, and the minute after the last one."""
    found = _WINDOW.fullmatch(window)
    if found is None:
        return None
    days: set[int] = set()
    for part in found["days"].split(","):
        first, dash, last = part.partition("-")
        if first not in DAYS or (dash and last not in DAYS):
            return None
        count = (DAYS.index(last) - DAYS.index(first)) % 7 if dash else 0
        days |= {(DAYS.index(first) + i) % 7 for i in range(count + 1)}
    start, end = (60 * int(text[:2]) + int(text[3:]) for text in (found["from"], found["to"]))
    minutes_are_right = all(int(text[3:]) < 60 for text in (found["from"], found["to"]))  # noqa: PLR2004 - of an hour
    if not minutes_are_right or start >= DAY_MINUTES or end > DAY_MINUTES or start == end:
        return None
    return frozenset(days), start, end
