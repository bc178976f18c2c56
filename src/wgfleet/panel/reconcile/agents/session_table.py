"""The peers of one config as one node last reported them, in little memory, and which of them have news for the rows.

Columns, and not an object for each: of 200 nodes with 1,000 peers each, 60 MB instead of 140.
"""

from array import array
from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from itertools import count

from wgfleet.panel import clock
from wgfleet.protocol.addresses import parse_endpoint
from wgfleet.protocol.errors import FieldError
from wgfleet.protocol.keys import PublicKey
from wgfleet.protocol.observed import PeerStats


class SessionTable:
    """News are of two kinds: `urgent` of a session (a new endpoint or handshake), and bare counters."""

    def __init__(self) -> None:
        self._places: dict[str, int] = {}
        self._endpoints: list[str | None] = []
        self._canonical: dict[int, str | None] = {}
        """Endpoints as others can be asked to call them, where that is not the text that was reported."""
        self._seen_handshakes = array("q")
        self._handshakes = array("q")  # in the panel's clock
        self._rx = array("q")
        self._tx = array("q")
        self._counted = bytearray()
        self._said = bytearray()  # since `forget_silent` was called
        self._urgent: set[str] = set()

    def __len__(self) -> int:
        return len(self._places)

    def add(self, stats: Mapping[PublicKey, PeerStats], skew_s: float, room_for: Callable[[], int]) -> None:
        """Take what the node reported; `room_for` says how many peers more than there are."""
        place_of, endpoints, handshakes = self._places.get, self._endpoints, self._seen_handshakes
        rx, tx, counted = self._rx, self._tx, self._counted
        moved = []
        for key, seen in stats.items():  # most only count on, and cost no more than this
            place = place_of(key)
            if place is None:
                moved.append((key, seen))
            elif handshakes[place] == seen.latest_handshake and endpoints[place] == seen.endpoint:
                # It is where it was also if the node's clock was set since.
                rx[place], tx[place], counted[place] = seen.rx, seen.tx, 1
            else:
                moved.append((key, seen))
        if not moved:
            return
        latest, room = clock.steady(), room_for()
        for key, seen in moved:
            place = place_of(key)
            if place is None:
                room -= 1
                if room < 0 or not _may_be_key(key):
                    continue
                place = self._new(key)
            self._move(place, seen, skew_s, latest)
            self._urgent.add(key)

    def _new(self, key: str) -> int:
        place = self._places[key] = len(self._endpoints)
        self._endpoints.append(None)
        for column in (self._seen_handshakes, self._handshakes, self._rx, self._tx):
            column.append(0)
        self._counted.append(0)
        self._said.append(1)
        return place

    def _move(self, place: int, seen: PeerStats, skew_s: float, latest: float) -> None:
        if self._seen_handshakes[place] != seen.latest_handshake:
            handshake = max(0, round(min(seen.latest_handshake + skew_s, latest))) if seen.latest_handshake else 0
            self._seen_handshakes[place], self._handshakes[place] = seen.latest_handshake, handshake
        if self._endpoints[place] != seen.endpoint:
            self._endpoints[place] = seen.endpoint
            self._canonical.pop(place, None)
            if (canonical := _endpoint(seen)) != seen.endpoint:
                self._canonical[place] = canonical
        self._rx[place], self._tx[place] = seen.rx, seen.tx

    def due(self, *, counters: bool) -> dict[str, PeerStats]:
        """Return what has news, with `counters` those that have only counted on too, and forget that it has."""
        urgent, self._urgent = self._urgent, set()
        counted, said = self._counted, self._said
        due = {key: self._places[key] for key in urgent}
        if counters:
            due |= {key: place for key, place in self._places.items() if counted[place]}
        for place in due.values():
            counted[place], said[place] = 0, 1
        return {key: self._stats(place) for key, place in due.items()}

    def _stats(self, place: int) -> PeerStats:
        return PeerStats(
            endpoint=self._canonical.get(place, self._endpoints[place]),
            latest_handshake=self._handshakes[place],
            rx=self._rx[place],
            tx=self._tx[place],
        )

    def give_back(self, keys: AbstractSet[str]) -> None:
        """Have news of these peers be due again."""
        self._urgent.update(self._places.keys() & keys)

    def count_later(self, keys: Iterable[str]) -> None:
        """Have of these peers nothing be due but their counters."""
        for key in keys:
            if (place := self._places.get(key)) is not None:
                self._counted[place] = 1

    def forget_silent(self) -> None:
        """Forget peers that were not reported since the last call. They are news when they are reported again."""
        counted, said, urgent = self._counted, self._said, self._urgent
        kept = {key: place for key, place in self._places.items() if said[place] or counted[place] or key in urgent}
        old = list(kept.values())
        self._said = bytearray(len(old))
        if len(old) == len(self._places):
            return
        self._places = dict(zip(kept, count(), strict=False))
        self._endpoints = [self._endpoints[place] for place in old]
        self._canonical = {new: self._canonical[place] for new, place in enumerate(old) if place in self._canonical}
        self._seen_handshakes = array("q", [self._seen_handshakes[place] for place in old])
        self._handshakes = array("q", [self._handshakes[place] for place in old])
        self._rx = array("q", [self._rx[place] for place in old])
        self._tx = array("q", [self._tx[place] for place in old])
        self._counted = bytearray(counted[place] for place in old)


def _may_be_key(key: str) -> bool:
    """Tell whether it could be one of our peers' keys; PostgreSQL does not take everything that a text may have."""
    return key.isascii() and key.isprintable()


def _endpoint(seen: PeerStats) -> str | None:
    """Return the endpoint as others can be asked to call it; None where it is none."""
    if seen.endpoint is None:
        return None
    try:
        return parse_endpoint(seen.endpoint)
    except FieldError:
        return None
