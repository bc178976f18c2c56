"""The panel's only source of time, ids and secrets, so that tests can see where they enter."""

import secrets
import threading
import time
from dataclasses import dataclass

_TOKEN_BYTES = 32


class _Numbers:
    """Numbers of 64 bits, ms since the epoch and a counter: each above the one before, whatever the clock says."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = 0

    def next(self) -> int:
        with self._lock:
            self._last = max(time.time_ns() // 1_000_000 << 16, self._last + 1)
            return self._last


_numbers = _Numbers()


def now() -> float:
    """Return the wall clock in s since the epoch (UTC)."""
    return time.time()


def monotonic() -> float:
    """Return a clock in s that no administrator can set back."""
    return time.monotonic()


@dataclass(slots=True)
class Ahead:
    """How many s `steady` is ahead of `monotonic`."""

    s: float


_ahead = Ahead(time.time() - time.monotonic())


def steady() -> float:
    """Return s since the epoch by a clock that goes on evenly when somebody sets the machine's clock.

    For times that are compared with each other and outlive the process, such as those of handshakes: `by_wall` makes
    them ready to be shown.
    """
    return monotonic() + _ahead.s


def go_on_from(at: float) -> None:
    """Have `steady` begin no earlier than at the newest time that an earlier process wrote down."""
    _ahead.s = max(_ahead.s, at - monotonic())


def by_wall(steady_at: float) -> float:
    """Return what the wall clock showed, or would have shown if it was set since, at a time of `steady`."""
    return now() - (steady() - steady_at)


def new_id() -> str:
    """Return an identifier that sorts by the time it was made: 12 hex digits of ms, 4 of a counter, 16 random ones.

    Those of a process sort in their order also when its clock is set back. Those of two processes may not.
    The layout is that of a version 7 UUID with a counter (RFC 9562, sections 5.7 and 6.2) without its fixed bits.
    """
    return f"{_numbers.next():016x}{secrets.token_hex(8)}"


def new_token() -> str:
    """Return a secret of 256 random bits, safe in a URL and in a shell."""
    return secrets.token_urlsafe(_TOKEN_BYTES)


def new_bytes(size: int) -> bytes:
    """Return `size` random bytes, fit for keys and nonces."""
    return secrets.token_bytes(size)


def fraction() -> float:
    """Return a random number in [0, 1), for jitter."""
    return secrets.randbelow(1 << 53) / (1 << 53)
