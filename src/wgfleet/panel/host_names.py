"""Lookups of host names by the machine's own resolver, with a limit of time. Call them outside of transactions.

Only what is found counts here. Which names there are, and what is kept of them: `services.host_names`.
"""

import ipaddress
import threading
from collections.abc import Collection
from queue import Empty, SimpleQueue
from socket import SOCK_STREAM, getaddrinfo

from wgfleet.panel import clock
from wgfleet.panel.domain.host_names import Lookup

LIMIT_S = 1.0  # for all names of a call
LATE = "the resolver did not answer in time"
_MOST_ADDRESSES = 32  # of a name
# The system's resolver cannot be interrupted, and may wait for half a minute.
_slots = threading.BoundedSemaphore(16)


def look_up(names: Collection[str], limit_s: float = LIMIT_S) -> dict[str, Lookup]:
    """Return what the resolver says of each name within `limit_s`."""
    answers: SimpleQueue[tuple[str, Lookup]] = SimpleQueue()
    found = dict.fromkeys(names, Lookup(error=LATE))
    waiting = {name for name in found if _began(name, answers)}
    until = clock.monotonic() + limit_s
    while waiting and (left_s := until - clock.monotonic()) > 0:
        try:
            name, answer = answers.get(timeout=left_s)
        except Empty:
            break
        waiting.discard(name)
        found[name] = answer
    return found


def _began(name: str, answers: "SimpleQueue[tuple[str, Lookup]]") -> bool:
    """Begin to look a name up in a thread of its own; False where too many others hang."""
    slots = _slots
    if not slots.acquire(blocking=False):
        return False

    def run() -> None:
        try:
            answers.put((name, _resolved(name)))
        finally:
            slots.release()

    threading.Thread(target=run, name="host name", daemon=True).start()
    return True


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
