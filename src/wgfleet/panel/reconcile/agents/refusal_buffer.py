"""Clients that one agent reports as refused: folded here too, since an agent may be old, or in the wrong hands."""

from collections.abc import Sequence

from wgfleet.doors.folding import Folding
from wgfleet.doors.strangers import source_of
from wgfleet.panel.agents import claims
from wgfleet.panel.services import audit
from wgfleet.panel.store import Tx
from wgfleet.protocol.messages import Refused

MAX_KINDS = 20  # entries a minute and node
MAX_REMOTE = 100
MAX_REASON = 200
MAX_COUNT = 1_000_000_000

Kind = tuple[str, str]
"""Where from, and why."""


class RefusalBuffer:
    """What is still to be written of refusals at one node."""

    def __init__(self) -> None:
        self._folding: Folding[Kind] = Folding(("others", "various reasons"), capacity=MAX_KINDS)
        self._due: list[tuple[Kind, int]] = []

    def add(self, message: Refused, now: float) -> None:
        """Count what an agent reported; `now` is monotonic."""
        remote, reason = claims.words(message.remote, MAX_REMOTE), claims.words(message.reason, MAX_REASON)
        count = min(max(message.count, 1), MAX_COUNT)
        wanted = (source_of(remote), reason)
        told = self._folding.note(wanted, now, count)
        if told is not None:
            self._due.append(((remote, reason) if told == wanted else told, count))

    def take(self, now: float) -> list[tuple[Kind, int]]:
        """Return what is due, and forget it."""
        due, self._due = [*self._due, *self._folding.ended(now)], []
        return due

    def give_back(self, due: Sequence[tuple[Kind, int]]) -> None:
        """Keep for later what could not be written."""
        self._due = [*due, *self._due][: 2 * MAX_KINDS]


def record(tx: Tx, node_id: str, due: Sequence[tuple[Kind, int]]) -> None:
    """Write what a node reported into the audit log."""
    for (remote, reason), count in due:
        actor = f"stranger:{remote}"
        audit.record_refused(tx, remote, actor, "node", node_id, by="agent", reason=reason, count=count)
