"""Callers who were refused: counted, and reported in folds, however fast they come.

The first refusal of a source and reason is reported at once, the others of that minute as one count at its end.
"""

import threading
from collections import Counter
from typing import NamedTuple

import structlog

from wgfleet.doors.folding import Folding
from wgfleet.doors.strangers import source_of
from wgfleet.panel import clock
from wgfleet.panel.errors import PanelError
from wgfleet.panel.services.fleet import join_tokens
from wgfleet.panel.services.fleet.join_tokens import TokenRefused
from wgfleet.panel.store import Store

log = structlog.get_logger()


class _Kind(NamedTuple):
    source: str
    reason: str
    node_id: str


_OTHERS = _Kind("others", "various", "")


class Refusals:
    """Refused API keys, for log and metrics, and refused join tokens, for the audit log too."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._keys: Folding[_Kind] = Folding(_OTHERS)
        self._tokens: Folding[_Kind] = Folding(_OTHERS)
        self._timer: threading.Timer | None = None

    def key_refused(self, address: str, reason: str) -> None:
        """Note a call without a valid API key."""
        with self._lock:
            self.counts["key"] += 1
            for over, more in self._keys.ended(clock.monotonic()):
                log.warning("key.refused_again", source=over.source, reason=over.reason, count=more)
            kind = self._keys.note(_Kind(source_of(address), reason, ""), clock.monotonic())
        if kind:
            log.warning("key.refused", source=kind.source, reason=kind.reason)

    def token_refused(self, store: Store, address: str, refused: TokenRefused) -> None:
        """Note a refused join token: an audit entry now, or one with a count when the minute is over."""
        with self._lock:
            self.counts["token"] += 1
            wanted = _Kind(source_of(address), refused.reason, refused.node_id or "")
            kind = self._tokens.note(wanted, clock.monotonic())
            if kind is not None and self._timer is None:
                self._timer = threading.Timer(self._tokens.window_s, self.settle, (store,))
                self._timer.daemon = True
                self._timer.start()
        if kind:
            with store.write() as tx:
                remote = address if kind == wanted else kind.source
                join_tokens.record_refusal(tx, kind.reason, kind.node_id, remote)

    def settle(self, store: Store) -> None:
        """Write the counts of refused tokens whose minute is over into the audit log."""
        now = clock.monotonic()
        with self._lock:
            over = self._tokens.ended(now)
            self._timer = None
            if self._tokens.next_end is not None:
                self._timer = threading.Timer(max(0.1, self._tokens.next_end - now), self.settle, (store,))
                self._timer.daemon = True
                self._timer.start()
        try:
            if over:
                with store.write() as tx:
                    for kind, more in over:
                        join_tokens.record_refusal(tx, kind.reason, kind.node_id, kind.source, more)
        except PanelError as error:
            log.warning("refusals.not_audited", error=str(error), count=sum(more for _, more in over))
