"""Checks of the panel's own clock by those of the agents, before a certificate is issued by it.

A clock that is wrong for half a minute must not replace good certificates by some that nobody takes, or that end soon.
"""

import statistics
from collections.abc import Iterable

from wgfleet.panel.errors import TransientError
from wgfleet.panel.reconcile.agents.connection import AgentConnection
from wgfleet.protocol.reasons import Reason

LIMIT_S = 3600.0  # certificates begin a week back: an hour is no matter for them, and no clock drifts so far by itself
_HOUR_S = 3600.0
_DAY_S = 86400.0


def panel_ahead_s(connections: Iterable[AgentConnection]) -> float | None:
    """Return by how many s the panel's clock is ahead of most agents' that answer; None: no agent answers.

    Where half of them say one thing and half another, the panel's own clock decides: one of two is not believed alone.
    """
    found = [ahead_s for connection in connections if (ahead_s := connection.panel_ahead_s) is not None]
    return min(statistics.median_low(found), statistics.median_high(found), key=abs) if found else None


def check(ahead_s: float | None) -> None:
    """Raise `TransientError` where the panel's clock differs so much from the agents' that it is to issue nothing."""
    if ahead_s is not None and abs(ahead_s) > LIMIT_S:
        raise TransientError(
            Reason("{what}: no certificate is issued before they agree; set the clocks by NTP", what=told(ahead_s))
        )


def told(ahead_s: float) -> str:
    """Say how the panel's clock differs."""
    size = abs(ahead_s)
    amount = (
        Reason("{days:.1f} days", days=size / _DAY_S)
        if size >= 2 * _DAY_S
        else Reason("{hours:.1f} h", hours=size / _HOUR_S)
    )
    if ahead_s > 0:
        return Reason("the panel's clock is {amount} ahead of most agents'", amount=amount)
    return Reason("the panel's clock is {amount} behind most agents'", amount=amount)
