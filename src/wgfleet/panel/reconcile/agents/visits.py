"""Visits of peers, from what nodes report of sessions: where each was, from when to when."""

import math
from collections.abc import Iterable, Mapping

import msgspec

from wgfleet.panel.store import Tx, visits
from wgfleet.panel.store.sessions import NodeSessions
from wgfleet.panel.store.visits import LATE_S, VisitRow
from wgfleet.protocol.observed import PeerStats

GAP_S = 300.0  # WireGuard shakes hands every two minutes; a visit ends where it does not for so long
LEAST_S = 60.0  # a visit lasts: where endpoints come and go sooner, they are one
MAX_KNOWN = 200_000  # visits that go on; the rows know of others
LOOK_S = 60.0  # between looks for visits that have ended
PLACES = 20  # looked through at a time: all of 200,000 visits at once would take a tenth of a second
READ = 0  # the handshake of a visit that is known from its row alone

Place = tuple[str, str]
"""Node and config."""


class _Visit(msgspec.Struct, gc=False):
    """A visit that goes on: of hundreds of thousands of peers, so in little memory. As `VisitRow`."""

    endpoint: str
    began_at: float
    last_at: float
    handshake: int

    def row(self, place: Place, key: str) -> VisitRow:
        """Return what is written."""
        return VisitRow(place[0], self.endpoint, self.began_at, self.last_at, place[1], key)

    def is_news(self, said: PeerStats) -> bool:
        """Tell whether a peer did something since: counters alone are no news."""
        return self.endpoint != said.endpoint or self.handshake != said.latest_handshake

    def goes_on(self, endpoint: str, now: float) -> bool:
        """Tell whether what is heard now belongs to it."""
        same = self.endpoint == endpoint or now - self.began_at < LEAST_S
        return same and 0 <= now - self.last_at <= GAP_S

    def go_on(self, said: PeerStats, now: float) -> bool:
        """Have it last until now; return whether that is to be written already."""
        before, read = self.last_at, self.handshake == READ
        self.last_at, self.handshake = now, said.latest_handshake
        return read or (before - self.began_at) // LATE_S != (now - self.began_at) // LATE_S


class Visits:
    """The visits that go on. `keep`: whether anybody wants to know.

    Each handshake makes a visit last longer, and 200,000 peers make 1,700 in a second. So that is written when a visit
    has ended, and every `LATE_S` before.
    """

    def __init__(self, *, keep: bool = True) -> None:
        self.keep = keep
        self._known: dict[Place, dict[str, _Visit]] = {}
        self._unlooked: list[Place] = []
        self._unwritten: list[VisitRow] = []
        self._began_at = self._looked_at = math.inf

    def note(self, tx: Tx, said: Iterable[NodeSessions], now: float, steady: float) -> list[VisitRow]:
        """Take note of what nodes reported at `now`, which is `steady` by the clock of handshakes.

        Return what `store.visits.write` is to write. A transaction that reads is enough here.
        """
        if not self.keep:
            return []
        if self._began_at == math.inf:
            self._began_at = self._looked_at = now
        rows, self._unwritten = self._unwritten + self._ended(now), []
        for node_id, config_id, stats in said:
            place = (node_id, config_id)
            known = self._known.setdefault(place, {})
            live = {
                key: each
                for key, each in stats.items()
                if each.endpoint is not None
                and steady - each.latest_handshake <= GAP_S
                and ((visit := known.get(key)) is None or visit.is_news(each))
            }
            known |= self._read(tx, place, {key: each for key, each in live.items() if key not in known}, now)
            rows += _noted(place, known, live, now)
        return rows

    def give_back(self, rows: list[VisitRow]) -> None:
        """Keep what could not be written for the next time."""
        self._unwritten = rows

    def _read(self, tx: Tx, place: Place, said: dict[str, PeerStats], now: float) -> dict[str, _Visit]:
        """Return visits of the rows that go on. Of those of an earlier panel it is not written how long they lasted."""
        if not said:
            return {}
        keys = {key: key for key in said}
        found = {}
        for row in visits.going_on(tx, *place, keys, now - GAP_S - LATE_S):
            key = keys[row.public_key]  # the text that is known elsewhere too, and not one more: there are many
            endpoint, last_at = row.endpoint, row.last_at
            if said[key].endpoint == endpoint:
                endpoint = said[key].endpoint or ""
                if last_at < self._began_at:
                    last_at = min(now, last_at + LATE_S)
            found[key] = _Visit(endpoint, row.began_at, last_at, READ)
        return found

    def _ended(self, now: float) -> list[VisitRow]:
        """Forget visits that have ended; return how long they lasted. All of them where they are too many."""
        full = sum(map(len, self._known.values())) > MAX_KNOWN
        if full or not 0 <= now - self._looked_at < LOOK_S:
            self._looked_at, self._unlooked = now, list(self._known)
        places = self._unlooked if full else self._unlooked[:PLACES]
        self._unlooked = self._unlooked[len(places) :]
        rows: list[VisitRow] = []
        for place in places:
            known = self._known.get(place, {})
            ended = [key for key, each in known.items() if full or not 0 <= now - each.last_at <= GAP_S]
            rows += [known.pop(key).row(place, key) for key in ended]
            if not known:
                self._known.pop(place, None)
        return rows


def _noted(place: Place, known: dict[str, _Visit], live: Mapping[str, PeerStats], now: float) -> list[VisitRow]:
    """Have visits of peers go on or begin; return what is to be written."""
    rows = []
    for key, said in live.items():
        endpoint = said.endpoint or ""
        visit = known.get(key)
        if visit is not None and visit.goes_on(endpoint, now):
            if visit.go_on(said, now):
                rows.append(visit.row(place, key))
            continue
        if visit is not None:
            rows.append(visit.row(place, key))
        known[key] = visit = _Visit(endpoint, now, now, said.latest_handshake)
        rows.append(visit.row(place, key))
    return rows
