"""Sign-ins that wait for a code: whose password was right a moment ago, and in which browser.

They are in memory alone: who waits while the panel is restarted gives the password again.
"""

import threading
from collections import OrderedDict
from dataclasses import dataclass

from wgfleet.panel import clock
from wgfleet.panel.services.access.sign_ins import ClaimedUser
from wgfleet.panel.tokens import digest

LASTS_S = 300.0  # to find the phone
MOST = 1000


@dataclass(frozen=True, slots=True)
class PendingSignIn:
    """A password that was right. `visit`: the secret of the browser's visit, to which it is bound."""

    claimed: ClaimedUser
    name: str
    visit: str


class PendingSignIns:
    """Kept by ticket; the oldest go first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, tuple[float, PendingSignIn]] = OrderedDict()

    def keep(self, pending: PendingSignIn) -> str:
        """Return the ticket with which it is found again."""
        ticket = clock.new_token()
        with self._lock:
            self._kept[digest(ticket)] = (clock.monotonic() + LASTS_S, pending)
            while len(self._kept) > MOST:
                self._kept.popitem(last=False)
        return ticket

    def find(self, ticket: str, visit: str) -> PendingSignIn | None:
        """Return what a ticket is for; None: it is none, or no longer, or another browser's."""
        with self._lock:
            until, pending = self._kept.get(digest(ticket), (0.0, None))
        if pending is None or until <= clock.monotonic() or pending.visit != visit:
            return None
        return pending

    def forget(self, ticket: str) -> None:
        """Use a ticket up."""
        with self._lock:
            self._kept.pop(digest(ticket), None)


PENDING = PendingSignIns()
"""Of this process, which answers all pages."""
