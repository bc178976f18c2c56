"""The rate limits where no credential is needed: how often an address, or a name, may fail, or a link be used."""

import threading
from collections import OrderedDict, deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from wgfleet.panel import clock
from wgfleet.panel.errors import PanelError, TooMany, Unauthorized

FAILURES = 10  # a person who copies a token wrongly needs two or three
WINDOW_S = 60.0
_WRONG = "wrong passwords"
PASSWORDS, PASSWORDS_S = 5, 900.0  # of a link, from an address
PASSWORDS_OF_LINK = 50  # from all addresses
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

    def is_full(self, source: str) -> bool:
        """Say whether a source has failed too often within the window."""
        with self._lock:
            return len(self._recent(source)) >= self._most

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


class LinkPasswordTries:
    """Wrong passwords of links to files.

    They are counted by link and address: a stranger who has a link cannot keep its user out, who comes from elsewhere.
    Where very many are wrong for a link in all, each address has one try instead of some, so that guessing costs an
    address each time.
    """

    def __init__(self) -> None:
        self._some = Attempts(_WRONG, PASSWORDS, PASSWORDS_S)
        self._few = Attempts(_WRONG, 1, PASSWORDS_S)
        self._of_link = Attempts(_WRONG, PASSWORDS_OF_LINK, PASSWORDS_S)

    @contextmanager
    def guess(self, link: str, source: str, no_guess: type[PanelError]) -> Iterator[None]:
        """As `Attempts.guess`; raises `TooMany` for an address that has had its tries of this link."""
        tries = self._few if self._of_link.is_full(link) else self._some
        try:
            with tries.guess(f"link {link} from {source}", but=(no_guess,)):
                yield
        except no_guess:
            raise
        except Unauthorized:
            self._of_link.failed(link)
            raise
