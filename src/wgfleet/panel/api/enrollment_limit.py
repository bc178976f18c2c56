"""The rate limit of enrollment: how often one address may fail where no credential is needed."""

import threading
from collections import OrderedDict, deque

from wgfleet.panel import clock
from wgfleet.panel.errors import TooMany

FAILURES = 10  # a person who copies a token wrongly needs two or three
WINDOW_S = 60.0
ADDRESSES = 10_000  # remembered at most; the longest unseen is forgotten first


class Attempts:
    """Failures by address within the last `WINDOW_S`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._failures: OrderedDict[str, deque[float]] = OrderedDict()

    def check(self, address: str) -> None:
        """Raise `TooMany` for an address that has failed too often within the window."""
        with self._lock:
            failures = self._recent(address)
            if len(failures) >= FAILURES:
                wait_s = failures[0] + WINDOW_S - clock.monotonic()
                raise TooMany(
                    f"too many refused tokens from {address}; try again in {wait_s:.0f} s", retry_after_s=wait_s
                )

    def failed(self, address: str) -> None:
        """Count a failure."""
        with self._lock:
            failures = self._recent(address)
            failures.append(clock.monotonic())
            self._failures[address] = failures
            self._failures.move_to_end(address)
            while len(self._failures) > ADDRESSES:
                self._failures.popitem(last=False)

    def _recent(self, address: str) -> deque[float]:
        failures = self._failures.get(address, deque())
        while failures and failures[0] <= clock.monotonic() - WINDOW_S:
            failures.popleft()
        return failures
