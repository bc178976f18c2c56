"""Visits of peers, from what nodes report of sessions: where each was, from when to when."""

from collections.abc import Iterable
from typing import NamedTuple

from wgfleet.panel.store import Tx, visits
from wgfleet.panel.store.sessions import NodeSessions
from wgfleet.panel.store.visits import VisitRow

GAP_S = 300.0  # WireGuard shakes hands every two minutes; a visit ends where it does not for so long
LEAST_S = 60.0  # a visit lasts: where endpoints come and go sooner, they are one
MAX_KNOWN = 200_000  # visits that go on; the rows know of others

Key = tuple[str, str, str]
"""Node, config and public key."""


class _Visit(NamedTuple):
    row: VisitRow
    handshake: int


class Visits:
    """The visits that go on. `keep`: whether anybody wants to know."""

    def __init__(self, *, keep: bool = True) -> None:
        self.keep = keep
        self._known: dict[Key, _Visit] = {}

    def note(self, tx: Tx, said: Iterable[NodeSessions], now: float, steady: float) -> None:
        """Write down what nodes reported at `now`, which is `steady` by the clock of handshakes."""
        if not self.keep:
            return
        if len(self._known) > MAX_KNOWN:
            self._known.clear()
        rows: list[VisitRow] = []
        for node_id, config_id, stats in said:
            live = {
                key: each
                for key, each in stats.items()
                if each.endpoint is not None
                and steady - each.latest_handshake <= GAP_S
                and (
                    (known := self._known.get((node_id, config_id, key))) is None
                    or _is_news(known, each.endpoint, each.latest_handshake)
                )
            }
            self._read(tx, node_id, config_id, live, now)
            for key, each in live.items():
                place = (node_id, config_id, key)
                row = self._next(place, each.endpoint or "", now)
                self._known[place] = _Visit(row, each.latest_handshake)
                rows.append(row)
        visits.write(tx, rows)

    def _read(self, tx: Tx, node_id: str, config_id: str, keys: Iterable[str], now: float) -> None:
        new = [key for key in keys if (node_id, config_id, key) not in self._known]
        for row in visits.going_on(tx, node_id, config_id, new, now - GAP_S) if new else ():
            self._known[node_id, config_id, row.public_key] = _Visit(row, 0)

    def _next(self, place: Key, endpoint: str, now: float) -> VisitRow:
        """Return the visit that goes on, up to now, or a new one."""
        known = self._known.get(place)
        if known is not None and 0 <= now - known.row.last_at <= GAP_S:
            same = known.row.endpoint == endpoint
            if same or now - known.row.began_at < LEAST_S:
                return known.row._replace(last_at=now)
        node_id, config_id, key = place
        return VisitRow(node_id, endpoint, now, now, config_id, key)


def _is_news(known: _Visit, endpoint: str, handshake: int) -> bool:
    return known.row.endpoint != endpoint or known.handshake != handshake
