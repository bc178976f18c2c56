"""Decisions on usage: how much more a node's totals are than the last ones, what a link can carry, which hour. Pure."""

from collections.abc import Iterable
from typing import NamedTuple

from wgfleet.protocol.usage import HOUR_S, UsageRow

# Both directions together, in bits/s. What is known of a node's uplink is for placement, and may be less than it has.
LINK_BPS, LEAST_BPS = 400e9, 10e9
SLACK_S = 60.0  # of which that much may come at any time
DAY_HOURS = 24


class Claimed(NamedTuple):
    """The totals of a counter that a node reported last."""

    life: int
    received: int
    sent: int


class Added(NamedTuple):
    """What a row adds to the sums: bytes, in an hour since the epoch."""

    hour: int
    received: int
    sent: int


def added(known: Claimed | None, row: UsageRow, hour: int) -> Added:
    """Return what a row adds. A counter of another life began at 0; one that went back adds nothing at first."""
    if known is None or known.life != row.life:
        return Added(hour, row.received, row.sent)
    return Added(hour, max(0, row.received - known.received), max(0, row.sent - known.sent))


def claimed(known: Claimed | None, row: UsageRow) -> Claimed:
    """Return what is known of a counter after a row."""
    if known is None or known.life != row.life:
        return Claimed(row.life, row.received, row.sent)
    return Claimed(row.life, max(known.received, row.received), max(known.sent, row.sent))


def allowance(since_s: float, bandwidth_mbps: int | None = None) -> int:
    """Return how many bytes a node can have carried in a time. `bandwidth_mbps`: of its uplink, where that is known."""
    bps = LINK_BPS if bandwidth_mbps is None else max(LEAST_BPS, 2e6 * bandwidth_mbps)
    return int((max(0.0, since_s) + SLACK_S) * bps / 8)


def clipped(each: Added, room: int) -> Added:
    """Return what of it there is room for."""
    if each.received + each.sent <= room:
        return each
    received = min(each.received, room)
    return Added(each.hour, received, min(each.sent, room - received))


def hours(ats: Iterable[int], batch_now: float, now: float, oldest: float) -> list[int]:
    """Return the hours of moments by the node's clock, which said `batch_now` when it was `now`.

    None is in the future, or before `oldest`, whatever that clock says.
    """
    shift = now - batch_now
    first, last = int(oldest // HOUR_S), int(now // HOUR_S)
    return [min(max(int((at + shift) // HOUR_S), min(first, last)), last) for at in ats]
