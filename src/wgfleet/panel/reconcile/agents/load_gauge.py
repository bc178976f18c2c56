"""The load gauge: how busy one node is, from its watch stream, and when that is worth a write."""

from wgfleet.panel import clock
from wgfleet.protocol.messages import LOAD_S, Load

KEPT_S = 3 * LOAD_S  # a node that is as busy as before is written this often, well before its row is stale
CHANGE = 0.05  # share of the machine; less decides nothing


class LoadGauge:
    """Bounds the writes: one in `LOAD_S` at most, and where nothing changes one in `KEPT_S`."""

    def __init__(self) -> None:
        self._last: Load | None = None
        self._written: Load | None = None
        self._written_at = 0.0

    def add(self, load: Load) -> None:
        """Take a report."""
        self._last = load

    def take(self) -> Load | None:
        """Return what is to be written now, if anything."""
        last, written = self._last, self._written
        age = clock.monotonic() - self._written_at
        if last is None or (written is not None and age < (LOAD_S if _differs(last, written) else KEPT_S)):
            return None
        self._last, self._written, self._written_at = None, last, clock.monotonic()
        return last


def _differs(one: Load, other: Load) -> bool:
    shares = ((one.cpu, other.cpu), (one.memory, other.memory), (one.bandwidth or 0.0, other.bandwidth or 0.0))
    by_rate = abs(one.bandwidth_bps - other.bandwidth_bps) > CHANGE * max(one.bandwidth_bps, other.bandwidth_bps)
    return by_rate or any(abs(now - before) >= CHANGE for now, before in shares)
