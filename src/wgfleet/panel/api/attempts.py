"""The rate limits where no credential is needed: how often an address, or a name, may fail, or a link be used."""

import threading
from collections import OrderedDict, deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from wgfleet.panel import clock
from wgfleet.panel.errors import PanelError, TooMany, Unauthorized

FAILURES = 10  # a person who copies a token wrongly needs two or three
WINDOW_S = 60.0
SOURCES = 10_000  # remembered at most; the longest unseen is forgotten first


class Attempts:
    """Failures by source within the last `window_s`. `what` that is, in the plural."""

    def __init__(self, what: str, failures: int = FAILURES, window_s: float = WINDOW_S) -> None:
        self._what, self._most, self._window_s = what, failures, window_s
        self._lock = threading.Lock()
        self._failures: OrderedDict[str, deque[float]] = OrderedDict()

    def check(self, source: str) -> None:
        """Raise `TooMany` for a source that has failed too often within the window."""
        with self._lock:
            self._refuse(source, self._recent(source))

    def failed(self, source: str) -> None:
        """Count a failure."""
        with self._lock:
            self._count(source, self._recent(source))

    def used(self, source: str) -> None:
        """Count something that was no failure, and may not be done more often either."""
        with self._lock:
            recent = self._recent(source)
            self._refuse(source, recent)
            self._count(source, recent)

    @contextmanager
    def guess(
        self, source: str, wrong: type[PanelError] = Unauthorized, but: tuple[type[PanelError], ...] = ()
    ) -> Iterator[None]:
        """As `check`, and count a failure where what is done within raises `wrong`, unless it is one of `but`.

        It counts from the beginning: of many guesses at once, no more are made than one after another.
        """
        with self._lock:
            failures = self._recent(source)
            self._refuse(source, failures)
            begun = self._count(source, failures)
        try:
            yield
        except wrong as refused:
            if isinstance(refused, but):
                self._forget(source, begun)
            raise
        except BaseException:
            self._forget(source, begun)
            raise
        self._forget(source, begun)

    def _refuse(self, source: str, failures: deque[float]) -> None:
        if len(failures) >= self._most:
            wait_s = failures[0] + self._window_s - clock.monotonic()
            raise TooMany(f"too many {self._what} of {source}; try again in {wait_s:.0f} s", retry_after_s=wait_s)

    def _count(self, source: str, failures: deque[float]) -> float:
        failures.append(clock.monotonic())
        self._failures[source] = failures
        self._failures.move_to_end(source)
        while len(self._failures) > SOURCES:
            self._failures.popitem(last=False)
        return failures[-1]

    def _forget(self, source: str, begun: float) -> None:
        with self._lock, suppress(ValueError):  # it is gone where the window, or the room for sources, has ended
            self._failures.get(source, deque()).remove(begun)

    def _recent(self, source: str) -> deque[float]:
        failures = self._failures.get(source, deque())
        while failures and failures[0] <= clock.monotonic() - self._window_s:
            failures.popleft()
        return failures
