"""Visits of peers, from what nodes report of sessions: where each was, from when to when.

A peer is at one node at a time, that of its newest handshake: what it has elsewhere has ended. What lies between is
counted from handshake to handshake, not by when a node told of it.
"""

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
LOOK_S = 60.0  # between looks for visits that have ended, and for peers that are kept out
KEYS = 5000  # looked through at a time: all of 200,000 visits at once would take a tenth of a second

Place = tuple[str, str]
"""Node and config."""


class _Visit(msgspec.Struct, gc=False):
    """A visit that goes on: of hundreds of thousands of peers, so in little memory. As `VisitRow`.

    `over`: the peer is kept out, and what comes next is another visit.
    """

    node_id: str
    endpoint: str
    began_at: float
    last_at: float
    handshake: int
    over: bool = False

    def row(self, config_id: str, key: str) -> VisitRow:
        """Return what is written."""
        return VisitRow(self.node_id, self.endpoint, self.began_at, self.last_at, config_id, key)

    def is_news(self, node_id: str, said: PeerStats) -> bool:
        """Tell whether a peer did something since: counters alone are no news, nor is what another node said before."""
        if self.node_id != node_id:
            return said.latest_handshake > self.handshake
        return self.endpoint != said.endpoint or self.handshake != said.latest_handshake

    def goes_on(self, node_id: str, endpoint: str, at: float) -> bool:
        """Tell whether what a peer did at a time belongs to it."""
        same = self.endpoint == endpoint or at - self.began_at < LEAST_S
        return same and self.node_id == node_id and not self.over and abs(at - self.last_at) <= GAP_S

    def go_on(self, said: PeerStats, at: float) -> bool:
        """Have it last until then; return whether that is to be written already."""
        before = self.last_at
        self.last_at, self.handshake = max(before, at), said.latest_handshake
        return (before - self.began_at) // LATE_S != (self.last_at - self.began_at) // LATE_S


class Visits:
    """The visits that go on. `keep`: whether anybody wants to know.

    Each handshake makes a visit last longer, and 200,000 peers make 1,700 in a second. So that is written when a visit
    has ended, and every `LATE_S` before.
    """

    def __init__(self, *, keep: bool = True) -> None:
        self.keep = keep
        self._known: dict[str, dict[str, _Visit]] = {}
        self._unlooked: list[tuple[str, list[str]]] = []
        self._unwritten: list[VisitRow] = []
        self._began_at = self._looked_at = math.inf

    def note(self, tx: Tx, said: Iterable[NodeSessions], now: float, steady: float) -> list[VisitRow]:
        """Take note of what nodes reported at `now`, which is `steady` by the clock of handshakes.

        Return what `store.visits.write` is to write. A transaction that reads is enough here; that the rows of
        sessions do not say it yet is what visits of an earlier panel are known by.
        """
        if not self.keep:
            return []
        if self._began_at == math.inf:
            self._began_at = self._looked_at = now
        rows, self._unwritten = self._unwritten + self._ended(tx, now), []
        ended = {(row.config_id, row.public_key, row.began_at): row.last_at for row in rows}
        for node_id, config_id, stats in said:
            known = self._known.setdefault(config_id, {})
            live = {
                key: each
                for key, each in stats.items()
                if each.endpoint is not None
                and steady - each.latest_handshake <= GAP_S
                and ((visit := known.get(key)) is None or visit.is_news(node_id, each))
            }
            found = self._read(tx, config_id, live.keys() - known.keys(), now, steady)
            for key, visit in found.items():  # what has just ended is not written yet
                visit.last_at = max(visit.last_at, ended.get((config_id, key, visit.began_at), visit.last_at))
            known |= found
            rows += _noted((node_id, config_id), known, live, (now, steady))
        return rows

    def give_back(self, rows: list[VisitRow]) -> None:
        """Keep what could not be written for the next time."""
        self._unwritten = rows

    def _read(self, tx: Tx, config_id: str, said: set[str], now: float, steady: float) -> dict[str, _Visit]:
        """Return the newest visits of peers by the rows.

        Of those of an earlier panel the row may not say how long they lasted, but what was known of sessions does.
        """
        if not said:
            return {}
        keys = {key: key for key in said}
        found = {}
        for row, handshake in visits.going_on(tx, config_id, keys, now - 2 * GAP_S - LATE_S):
            last_at, shaken_at = row.last_at, now - (steady - handshake)
            if last_at < self._began_at and last_at < shaken_at <= min(now, last_at + LATE_S):
                last_at = shaken_at
            key = keys[row.public_key]  # the text that is known elsewhere too, and not one more: there are many
            found[key] = _Visit(row.node_id, row.endpoint, row.began_at, last_at, handshake)
        return found

    def _ended(self, tx: Tx, now: float) -> list[VisitRow]:
        """Forget visits that have ended; return how long they lasted. All of them where they are too many."""
        full = sum(map(len, self._known.values())) > MAX_KNOWN
        if full or not 0 <= now - self._looked_at < LOOK_S:
            self._looked_at = now
            self._known = {config_id: known for config_id, known in self._known.items() if known}
            self._unlooked = [(config_id, list(known)) for config_id, known in self._known.items()]
            self._end_kept_out(tx)
        rows: list[VisitRow] = []
        left = math.inf if full else KEYS
        while self._unlooked and left > 0:
            config_id, keys = self._unlooked[-1]
            known, part = self._known[config_id], keys if full else keys[-KEYS:]
            for key in part:
                visit = known.get(key)
                if visit is not None and (full or not 0 <= now - visit.last_at <= GAP_S):
                    rows.append(known.pop(key).row(config_id, key))
            left -= len(part)
            del keys[len(keys) - len(part) :]
            if not keys:
                self._unlooked.pop()
        return rows

    def _end_kept_out(self, tx: Tx) -> None:
        """Have visits of peers that are kept out be over: when they are let in again, others begin."""
        for config_id, known in self._known.items():
            for key in visits.kept_out(tx, config_id):
                if key in known:
                    known[key].over = True


def _noted(
    place: Place, known: dict[str, _Visit], live: Mapping[str, PeerStats], times: tuple[float, float]
) -> list[VisitRow]:
    """Have visits of peers to a node, of a config, go on or begin; return what is to be written."""
    (node_id, config_id), (now, steady) = place, times
    rows = []
    for key, said in live.items():
        endpoint, shaken_at = said.endpoint or "", now - max(0.0, steady - said.latest_handshake)
        visit = known.get(key)
        if visit is None:
            known[key] = visit = _Visit(node_id, endpoint, shaken_at, shaken_at, said.latest_handshake)
            rows.append(visit.row(config_id, key))
            continue
        if not visit.is_news(node_id, said):
            continue
        roamed = visit.node_id == node_id and visit.handshake == said.latest_handshake
        at = now if roamed else shaken_at
        if visit.goes_on(node_id, endpoint, at):
            if visit.go_on(said, at):
                rows.append(visit.row(config_id, key))
            continue
        rows.append(visit.row(config_id, key))
        began_at = max(at, visit.last_at) if at >= visit.last_at - GAP_S else at  # else the clock was set back
        known[key] = visit = _Visit(node_id, endpoint, began_at, began_at, said.latest_handshake)
        rows.append(visit.row(config_id, key))
    return rows
