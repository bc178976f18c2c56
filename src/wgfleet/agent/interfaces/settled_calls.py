"""Settled calls of a takeover: who has answered, said while others are still waited for."""

import math
import time
from collections.abc import Callable, Collection, Mapping

from wgfleet.protocol.keys import PublicKey
from wgfleet.protocol.messages import TakeoverResult


class Settled:
    """Who has answered a call while others are still waited for; `tell` is given them when nobody else has for a while.

    A node that has them still goes on sending to them until the panel knows, and turns them back. Before that `tell` is
    given nobody, as soon as all have been called: others may be called then.
    """

    def __init__(self, settle_s: float, tell: Callable[[TakeoverResult], None]) -> None:
        self._settle_s = settle_s
        self._tell = tell
        self._told: set[PublicKey] = set()
        self._last_at = 0.0

    def begin(self, answered: Collection[PublicKey]) -> None:
        """Note that all have been called."""
        self._last_at = time.monotonic() if answered else math.inf
        self._tell(TakeoverResult({}, (), more=True))

    def look(self, answered: Mapping[PublicKey, float], arrived: Collection[PublicKey]) -> Collection[PublicKey]:
        """Note those who have just answered; return whom `tell` was given now."""
        now = time.monotonic()
        if arrived:
            self._last_at = now
        new = {key: took for key, took in answered.items() if key not in self._told}
        if not new or now - self._last_at < self._settle_s:
            return ()
        self._told |= new.keys()
        self._tell(TakeoverResult(new, (), more=True))
        return new.keys()
