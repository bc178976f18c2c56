"""The rate limits where no credential is needed: how often an address, or a name, may fail, or a link be used."""

from collections.abc import Iterator
from contextlib import contextmanager
from sqlite3 import Connection

from wgfleet.panel import clock
from wgfleet.panel.domain import waits
from wgfleet.panel.errors import PanelError, TooMany, Unauthorized
from wgfleet.panel.store import noted_attempts
from wgfleet.panel.store.notes import Notes
from wgfleet.protocol.reasons import Reason

FAILURES = 10  # a person who copies a token wrongly needs two or three
WINDOW_S = 60.0
_WRONG = Reason("wrong passwords")
PASSWORDS, PASSWORDS_S = 5, 900.0  # of a link, from an address
PASSWORDS_OF_LINK = 50  # from all addresses


class Attempts:
    """Failures by source within the last `window_s`; `what` that is, in the plural.

    They are those of all processes that share `notes`; None: of this process alone.
    """

    def __init__(
        self, what: str, failures: int = FAILURES, window_s: float = WINDOW_S, notes: Notes | None = None
    ) -> None:
        self._what, self._most, self._window_s = what, failures, window_s
        self._kind = f"{failures} {what} in {window_s:g} s"
        self._notes = notes or Notes()

    def check(self, source: str) -> None:
        """Raise `TooMany` for a source that has failed too often within the window."""
        with self._notes.changing() as notes:
            self._refuse(notes, source)

    def failed(self, source: str) -> None:
        """Count a failure."""
        with self._notes.changing() as notes:
            noted_attempts.add(notes, self._kind, str(source), clock.monotonic())

    def used(self, source: str) -> None:
        """Count something that was no failure, and may not be done more often either."""
        with self._notes.changing() as notes:
            self._refuse(notes, source)
            noted_attempts.add(notes, self._kind, str(source), clock.monotonic())

    @contextmanager
    def guess(
        self, source: str, wrong: type[PanelError] = Unauthorized, but: tuple[type[PanelError], ...] = ()
    ) -> Iterator[None]:
        """As `check`, and count a failure where what is done within raises `wrong`, unless it is one of `but`.

        It counts from the beginning: of many guesses at once, no more are made than one after another.
        """
        with self._notes.changing() as notes:
            self._refuse(notes, source)
            begun = noted_attempts.add(notes, self._kind, str(source), clock.monotonic())
        try:
            yield
        except wrong as refused:
            if isinstance(refused, but):
                self._forget(begun)
            raise
        except BaseException:
            self._forget(begun)
            raise
        self._forget(begun)

    def is_full(self, source: str) -> bool:
        """Say whether a source has failed too often within the window."""
        with self._notes.changing() as notes:
            return self._recent(notes, source)[0] >= self._most

    def _recent(self, notes: Connection, source: str) -> tuple[int, float]:
        return noted_attempts.recent(notes, self._kind, str(source), clock.monotonic() - self._window_s)

    def _refuse(self, notes: Connection, source: str) -> None:
        count, first = self._recent(notes, source)
        if count >= self._most:
            wait_s = first + self._window_s - clock.monotonic()
            raise TooMany(
                Reason(
                    "too many {what} of {source}; try again in {wait}",
                    what=self._what, source=source, wait=waits.in_words(wait_s),
                ),
                retry_after_s=wait_s,
            )  # fmt: skip

    def _forget(self, begun: int) -> None:
        with self._notes.changing() as notes:
            noted_attempts.remove(notes, begun)


class LinkPasswordTries:
    """Wrong passwords of links to files.

    They are counted by link and address: a stranger who has a link cannot keep its user out, who comes from elsewhere.
    Where very many are wrong for a link in all, each address has one try instead of some, so that guessing costs an
    address each time.
    """

    def __init__(self, notes: Notes) -> None:
        self._some = Attempts(_WRONG, PASSWORDS, PASSWORDS_S, notes)
        self._few = Attempts(_WRONG, 1, PASSWORDS_S, notes)
        self._of_link = Attempts(_WRONG, PASSWORDS_OF_LINK, PASSWORDS_S, notes)

    @contextmanager
    def guess(self, link: str, source: str, no_guess: type[PanelError]) -> Iterator[None]:
        """As `Attempts.guess`; raises `TooMany` for an address that has had its tries of this link."""
        tries = self._few if self._of_link.is_full(link) else self._some
        try:
            with tries.guess(Reason("link {link} from {source}", link=link, source=source), but=(no_guess,)):
                yield
        except no_guess:
            raise
        except Unauthorized:
            self._of_link.failed(link)
            raise
