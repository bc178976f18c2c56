"""Words for how long somebody has to wait: seconds, minutes or hours, rounded up, so that it is not too early. Pure."""

from math import ceil

from wgfleet.protocol.reasons import Reason

MOST = 90  # of a unit, before the next one says as much as anybody needs
MINUTE_S, HOUR_S = 60, 3600


def in_words(seconds: float) -> Reason:
    """Return a wait as people say it, such as `52 minutes`."""
    number = max(1, ceil(seconds))
    if number <= MOST:
        return Reason("1 second") if number == 1 else Reason("{number} seconds", number=number)
    if number <= MOST * MINUTE_S:
        return Reason("{number} minutes", number=ceil(number / MINUTE_S))
    return Reason("{number} hours", number=ceil(number / HOUR_S))
