"""Routes that follow the peers of a backbone: to the nodes that have them, or to an error where a node is not reached.

Knows which network leads where, and nothing of how that was found out.
"""

import asyncio
import time
from collections.abc import Callable, Iterable

import structlog

from wgfleet.agent.interfaces.whereabouts import Claim, Whereabouts
from wgfleet.agent.kernel import peer_routes
from wgfleet.agent.kernel.backbone_rules import BackboneNames
from wgfleet.agent.kernel.commands import KernelError
from wgfleet.protocol.backbone import address

_FIRST_SWEEP_S, _SWEEP_S, _AGAIN_S = 5.0, 60.0, 1.0
_SWEPT = 20_000  # routes up to which what is there is compared again and again; reading one costs some microseconds
_log = structlog.get_logger()
Targets = dict[str, str | None]


class RouteFollower:
    """The routes of one backbone. `reached`: the numbers of the nodes that can be reached now."""

    def __init__(self, names: BackboneNames, where: Whereabouts, reached: Callable[[], frozenset[int]]) -> None:
        self._names = names
        self._where = where
        self._reached = reached
        self._used = reached()
        self._holders: dict[str, tuple[bytes, int]] = {}  # of the networks that are elsewhere: peer, and node
        self._held: dict[bytes, Claim | None] = {}  # peers whose route stays as it is: where they were
        self._released: dict[bytes, Claim | None] = {}
        self._ended = False
        self._failed: set[str] = set()  # networks whose routes could not be changed
        self._arrived: list[str] = []
        self._lock = asyncio.Lock()  # what is found out first has to be in the table first
        self._sweep_at = time.monotonic() + _FIRST_SWEEP_S

    def __len__(self) -> int:
        return len(self._holders)

    async def follow(self) -> None:
        """Change routes as peers have moved, and as nodes have fallen silent or are heard again."""
        async with self._lock:
            targets = self._moved()
            reached = self._reached()
            if reached != self._used:
                turned, self._used = reached ^ self._used, reached
                targets |= {
                    network: self._target(number) for network, (_, number) in self._holders.items() if number in turned
                }
            await self._change(targets)

    async def hold(self, keys: Iterable[bytes]) -> None:
        """Leave the routes of some peers to those that have them, until `release`, and tell these with each packet."""
        async with self._lock:
            claims = {key: self._where.claim(key) for key in keys}
            self._held |= claims
            elsewhere = [each for each in claims.values() if each is not None and each.number != self._where.number]
            await self._change(
                {to: self._target(each.number) for each in elsewhere for to in each.networks}, drawn=True
            )

    def release(self, keys: Iterable[bytes]) -> None:
        """Change the routes of these peers as well, with the next `follow`."""
        self._released |= {key: self._held.pop(key) for key in keys if key in self._held}

    def take_arrived(self) -> list[str]:
        """Return the networks of peers that have come to this node since the last call."""
        arrived, self._arrived = self._arrived, []
        return arrived

    async def make_all(self) -> None:
        """Make all routes again: the device that they lead to is a new one."""
        async with self._lock:
            self._where.take_moved()
            self._holders.clear()
            targets: Targets = {}
            for key, claim in self._where.claims():
                self._place(key, claim, targets)
            await self._change(targets)

    async def end(self) -> None:
        """Change no route any more."""
        async with self._lock:
            self._ended = True

    async def sweep(self) -> None:
        """Remove routes that an agent before this one has left, and make those again that somebody removed."""
        if time.monotonic() < self._sweep_at:
            return
        self._sweep_at = time.monotonic() + (_SWEEP_S if len(self._holders) <= _SWEPT else float("inf"))
        try:
            found = await peer_routes.networks(self._names)
        except OSError as error:
            _log.error("backbone.routes_not_read", interface=self._names.of, reason=str(error))
            return
        async with self._lock:  # what has changed since is wanted as well, and made or removed once more
            targets: Targets = dict.fromkeys(found - self._holders.keys())
            again, self._failed = self._failed, set()
            missing = self._holders.keys() - found
            targets |= {each: self._target(self._holders[each][1]) for each in missing | (self._holders.keys() & again)}
            await self._change(targets)

    def _moved(self) -> Targets:
        targets: Targets = {}
        moved = dict(self._where.take_moved())
        for key, before in self._released.items():
            moved[key] = before, self._where.claim(key)
        self._released.clear()
        for key, (before, now) in moved.items():
            if key in self._held and now is not None and now.number == self._where.number:
                continue
            for network in before.networks if before is not None else ():
                if self._holders.get(network, (key,))[0] == key:
                    self._holders.pop(network, None)
                    targets[network] = None
            self._place(key, now, targets)
            if now is not None and now.number == self._where.number and (before is None or before.number != now.number):
                self._arrived += now.networks
        return targets

    def _place(self, key: bytes, claim: Claim | None, targets: Targets) -> None:
        if claim is None or claim.number == self._where.number:
            return
        for network in claim.networks:
            self._holders[network] = key, claim.number
            targets[network] = self._target(claim.number)

    async def _change(self, targets: Targets, *, drawn: bool = False) -> None:
        if not targets or self._ended:
            return
        try:
            await peer_routes.change(self._names, targets, drawn=drawn)
        except (KernelError, OSError) as error:
            self._failed.update(targets)
            self._sweep_at = time.monotonic() + _AGAIN_S
            _log.error("backbone.routes_failed", interface=self._names.of, reason=str(error))

    def _target(self, number: int) -> str:
        return address(number) if number in self._reached() else peer_routes.UNREACHABLE
