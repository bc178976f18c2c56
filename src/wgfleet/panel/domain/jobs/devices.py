"""Devices that use one file at the same time: their endpoints take turns at the nodes. Pure.

A device that changes networks goes from one endpoint to the next, and seldom comes back. Two devices with one file come
back again and again, for WireGuard follows the one that sent last: at one node, or at several.
"""

from collections import OrderedDict

WINDOW_S = 120.0
MOST = 32  # endpoints of one peer that are kept apart


class EndpointTurns:
    """The endpoints at which a peer was active lately, in the order in which each was last."""

    def __init__(self) -> None:
        self._active: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def seen(self, endpoint: str, at: float) -> None:
        """Note that the peer was active at an endpoint: it sent, or shook hands."""
        _, returned_at = self._active.get(endpoint, (at, float("-inf")))
        if endpoint in self._active and next(reversed(self._active)) != endpoint:
            returned_at = at
        self._active[endpoint] = (at, returned_at)
        self._active.move_to_end(endpoint)
        while len(self._active) > MOST or at - next(iter(self._active.values()))[0] > WINDOW_S:
            self._active.popitem(last=False)

    def devices(self, at: float) -> int:
        """Return how many devices take turns: endpoints that were come back to within the window; else one."""
        back = sum(at - returned_at <= WINDOW_S for _, returned_at in self._active.values())
        return max(1, back)
