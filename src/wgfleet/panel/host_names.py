"""Lookups of host names by the machine's own resolver, with a limit of time. Call them outside of transactions.

Only what is found counts here. Which names there are, and what is kept of them: `services.host_names`.
"""

import ipaddress
import threading
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from socket import SOCK_STREAM, getaddrinfo

from wgfleet.panel import clock
from wgfleet.panel.domain.host_names import LATE, TOO_MANY, Lookup

LIMIT_S = 1.0  # for all names of a call
_MOST_ADDRESSES = 32  # of a name
PANEL = ""
"""Who looks names up where no API key does: the panel itself."""


@dataclass(slots=True)
class Slots:
    """How many lookups are under way, by who wants them. Each API key has its share, and the panel's own are apart.

    The system's resolver cannot be interrupted, and may wait for half a minute.
    """

    of_keys: int = 16
    of_each: int = 4
    of_panel: int = 8
    _taken: Counter[str] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, owner: str) -> str | None:
        """Take one; return None, or why there is none."""
        with self._lock:
            if owner == PANEL:
                reason = LATE if self._taken[PANEL] >= self.of_panel else None
            elif self._taken[owner] >= self.of_each:
                reason = TOO_MANY
            else:
                reason = LATE if self._taken.total() - self._taken[PANEL] >= self.of_keys else None
            if reason is None:
                self._taken[owner] += 1
            return reason

    def give_back(self, owner: str) -> None:
        """Give one back."""
        with self._lock:
            self._taken[owner] -= 1
            if not self._taken[owner]:
                del self._taken[owner]


_slots = Slots()
_FOUND = ContextVar[dict[str, Lookup] | None]("found", default=None)


def look_up(names: Collection[str], limit_s: float = LIMIT_S, owner: str = PANEL) -> dict[str, Lookup]:
    """Return what the resolver says of each name within `limit_s`. `owner`: the id of the API key that asks."""
    answers: SimpleQueue[tuple[str, Lookup]] = SimpleQueue()
    known = _FOUND.get()
    there = {name: known[name] for name in names if name in known} if known else {}
    begun = {name: _begin(name, owner, answers) for name in names if name not in there}
    found = there | {name: Lookup(error=reason or LATE) for name, reason in begun.items()}
    waiting = {name for name, reason in begun.items() if reason is None}
    until = clock.monotonic() + limit_s
    while waiting and (left_s := until - clock.monotonic()) > 0:
        try:
            name, answer = answers.get(timeout=left_s)
        except Empty:
            break
        waiting.discard(name)
        found[name] = answer
    if known is not None:
        known.update(found)
    return found


@contextmanager
def remembering() -> Iterator[None]:
    """Have this thread ask for each name once meanwhile, for what tries the same several times."""
    before = _FOUND.set({})
    try:
        yield
    finally:
        _FOUND.reset(before)


def _begin(name: str, owner: str, answers: "SimpleQueue[tuple[str, Lookup]]") -> str | None:
    """Begin to look a name up in a thread of its own; return None, or why not: too many others hang."""
    slots = _slots
    if (reason := slots.take(owner)) is not None:
        return reason

    def run() -> None:
        try:
            answers.put((name, _resolved(name)))
        finally:
            slots.give_back(owner)

    threading.Thread(target=run, name="host name", daemon=True).start()
    return None


def _resolved(name: str) -> Lookup:
    try:
        found = getaddrinfo(name, None, type=SOCK_STREAM)
    except OSError as error:
        return Lookup(error=error.strerror or str(error))
    except UnicodeError as error:  # a label that no name may have
        return Lookup(error=str(error))
    addresses = {ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found}
    ordered = sorted(addresses, key=lambda address: (address.version, int(address)))
    return Lookup(tuple(str(address) for address in ordered[:_MOST_ADDRESSES]))
