"""Callers who were refused: counted, and reported in folds, however fast they come.

The first refusal of a source and reason is reported at once, the others of that minute as one count at its end.
"""

import threading
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

import structlog

from wgfleet.doors.folding import Folding
from wgfleet.doors.strangers import source_of
from wgfleet.panel import clock
from wgfleet.panel.errors import PanelError
from wgfleet.panel.services.access import sign_ins
from wgfleet.panel.services.access.sign_ins import SignInRefused
from wgfleet.panel.services.clients import share_links
from wgfleet.panel.services.fleet import join_tokens
from wgfleet.panel.services.fleet.join_tokens import TokenRefused
from wgfleet.panel.store import Store

log = structlog.get_logger()


class _Kind(NamedTuple):
    what: str
    source: str
    reason: str
    subject_id: str


_OTHERS = _Kind("key", "others", "various", "")
_AUDITED: dict[str, Callable[..., None]] = {
    "token": join_tokens.record_refusal,
    "sign_in": sign_ins.record_refusal,
    "share_link": share_links.record_refusal,
}


class Refusals:
    """Refused API keys, for log and metrics; join tokens, sign-ins and passwords of links, for the audit log too."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._keys: Folding[_Kind] = Folding(_OTHERS)
        self._audited = {what: Folding(_Kind(what, "others", "various", "")) for what in _AUDITED}
        self._timer: threading.Timer | None = None

    def key_refused(self, address: str, reason: str) -> None:
        """Note a call without a valid API key."""
        with self._lock:
            self.counts["key"] += 1
            for over, more in self._keys.ended(clock.monotonic()):
                log.warning("key.refused_again", source=over.source, reason=over.reason, count=more)
            kind = self._keys.note(_Kind("key", source_of(address), reason, ""), clock.monotonic())
        if kind:
            log.warning("key.refused", source=kind.source, reason=kind.reason)

    def token_refused(self, store: Store, address: str, refused: TokenRefused) -> None:
        """Note a refused join token: an audit entry now, or one with a count when the minute is over."""
        self._note(store, address, _Kind("token", source_of(address), refused.reason, refused.node_id or ""))

    def sign_in_refused(self, store: Store, address: str, refused: SignInRefused) -> None:
        """Note a refused sign-in, likewise."""
        self._note(store, address, _Kind("sign_in", source_of(address), refused.reason, refused.user_id or ""))

    def link_password_refused(self, store: Store, address: str, link_id: str) -> None:
        """Note a wrong password of a link to a file, likewise."""
        self._note(store, address, _Kind("share_link", source_of(address), "password", link_id))

    def _note(self, store: Store, address: str, wanted: _Kind) -> None:
        with self._lock:
            self.counts[wanted.what] += 1
            folding = self._audited[wanted.what]
            kind = folding.note(wanted, clock.monotonic())
            if kind is not None and self._timer is None:
                self._settle_in(store, folding.window_s)
        if kind:
            with store.write() as tx:
                remote = address if kind == wanted else kind.source
                _AUDITED[kind.what](tx, kind.reason, kind.subject_id, remote)

    def _settle_in(self, store: Store, seconds: float) -> None:
        self._timer = threading.Timer(seconds, self.settle, (store,))
        self._timer.daemon = True
        self._timer.start()

    def close(self) -> None:
        """Write nothing more by itself; for when the store is closed."""
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()

    def settle(self, store: Store) -> None:
        """Write the counts of refusals whose minute is over into the audit log."""
        now = clock.monotonic()
        with self._lock:
            over = [each for folding in self._audited.values() for each in folding.ended(now)]
            self._timer = None
            ends = [folding.next_end for folding in self._audited.values() if folding.next_end is not None]
            if ends:
                self._settle_in(store, max(0.1, min(ends) - now))
        try:
            if over:
                with store.write() as tx:
                    for kind, more in over:
                        _AUDITED[kind.what](tx, kind.reason, kind.subject_id, kind.source, more)
        except PanelError as error:
            log.warning("refusals.not_audited", error=str(error), count=sum(more for _, more in over))
