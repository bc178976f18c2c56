"""Passwords: what is asked of them (NIST SP 800-63B-4, section 3.1.1.2), and argon2id (RFC 9106) of them.

A check takes some 0.1 s of a processor and 64 MiB, so two are made at a time by all processes of a panel, however many
people and guessers come. Few wait: each holds a thread.
"""

import threading
import time
import unicodedata

from argon2 import PasswordHasher
from argon2.exceptions import VerificationError

from wgfleet.panel import clock, request_threads
from wgfleet.panel.errors import Invalid, TooMany
from wgfleet.panel.places import Places
from wgfleet.protocol.reasons import Reason

LEAST, MOST = 12, 256  # characters
LEAST_OF_LINK = 8  # who guesses needs the link first, and has few tries
_LEAST_DIFFERENT = 5
_LOOKED_AT = 24  # characters: signs that could stand for letters take time that doubles with each few more
_GUESSED = 10**8  # guesses, within which nothing but the limits of this panel would keep anybody out
_OWN_WORDS = ("wgfleet", "wireguard", "administrator")
_AT_A_TIME = 2
_THING = "passwords that are checked"
PRESENT = 12  # at a time, those that wait among them
_WAIT_S = 10.0

_hasher = PasswordHasher()
_LOOK_S = 0.01  # for a place that another process gives back
_turns = threading.BoundedSemaphore(_AT_A_TIME)
_room = threading.BoundedSemaphore(PRESENT)


def check(password: str, name: str, field: str = "password") -> None:
    """Raise `Invalid` for a password that is too easily guessed, or too long; `name`: of the user."""
    normal = _normal(password)
    if not LEAST <= len(normal) <= MOST:
        raise Invalid(
            Reason(
                "must have {least} to {most} characters; some words that only you would put together",
                least=LEAST,
                most=MOST,
            ),
            field=field,
        )
    if len(set(normal)) < _LEAST_DIFFERENT:
        raise Invalid(Reason("is made of too few different characters; some words are easier to remember"), field=field)
    if len(normal.casefold().replace(name.casefold(), "")) < LEAST // 2:
        raise Invalid(Reason("is little more than the user's name; choose another"), field=field)
    if _guesses(normal, name) < _GUESSED:
        raise Invalid(
            Reason(
                "is among the first that are guessed, or much like one; some words that only you would put together"
            ),
            field=field,
        )


def _guesses(password: str, name: str) -> float:
    """Estimate how many guesses find a password, from lists of those in use and of words, names and rows of keys."""
    from zxcvbn import zxcvbn  # noqa: PLC0415 - its lists take 14 MB, which hardly any process ever needs

    plain = (str(unicodedata.decimal(each, each)) for each in unicodedata.normalize("NFKC", password))
    return float(zxcvbn("".join(plain)[:_LOOKED_AT], user_inputs=[name, *_OWN_WORDS])["guesses"])


def check_of_link(password: str, field: str = "password") -> None:
    """Raise `Invalid` for a password that is too easily guessed by somebody who has the link that asks for it."""
    normal = _normal(password)
    if not LEAST_OF_LINK <= len(normal) <= MOST:
        raise Invalid(
            Reason("must have {least_of_link} to {most} characters", least_of_link=LEAST_OF_LINK, most=MOST),
            field=field,
        )
    if len(set(normal)) < _LEAST_DIFFERENT:
        raise Invalid(Reason("is made of too few different characters; some words are easier to say"), field=field)


def hashed(password: str) -> str:
    """Return what is kept of a password."""
    with request_threads.elsewhere(), _Turn():
        return _hasher.hash(_normal(password))


def matches(password: str, kept: str | None) -> bool:
    """Say whether a password is the one that was kept. It takes the same time where none is."""
    with request_threads.elsewhere(), _Turn():
        try:
            return _hasher.verify(kept or _nobodys(), _normal(password)) and kept is not None
        except VerificationError:
            return False


def _normal(password: str) -> str:
    """Return the same characters however a keyboard makes them."""
    return unicodedata.normalize("NFKC", password)


_nobody: list[str] = []


def _nobodys() -> str:
    if not _nobody:
        _nobody.append(_hasher.hash(clock.new_token()))
    return _nobody[0]


_places = [Places()]


def share(places: Places) -> None:
    """Count those that are made by other processes too."""
    _places[:] = [places]


class _Turn:
    """A place among the few that work at a time; raises `TooMany` where many wait, or none becomes free."""

    def __init__(self) -> None:
        self._place = 0

    def __enter__(self) -> None:
        if not _room.acquire(blocking=False):
            raise _crowded()
        until = clock.monotonic() + _WAIT_S
        if _turns.acquire(timeout=_WAIT_S):
            while (place := _places[0].take(_THING, _AT_A_TIME)) is None and clock.monotonic() < until:
                time.sleep(_LOOK_S)
            if place is not None:
                self._place = place
                return
            _turns.release()
        _room.release()
        raise _crowded()

    def __exit__(self, *_: object) -> None:
        _places[0].give_back(_THING, self._place)
        _turns.release()
        _room.release()


def _crowded() -> TooMany:
    return TooMany(Reason("too many people sign in at the moment; try again soon"), retry_after_s=2.0)
