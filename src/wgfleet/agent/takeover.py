"""Takeover: call peers at their last address, so that their sessions move to this node, and see who answers.

The new node starts a handshake with the key that all nodes share; the client accepts it and sends here from then on.
"""

import asyncio
import time
from collections.abc import Collection, Coroutine

import structlog

from wgfleet.agent.keeper import Keeper
from wgfleet.agent.kernel.machine import Machine
from wgfleet.agent.kernel.process import KernelError
from wgfleet.protocol.addresses import parse_endpoint
from wgfleet.protocol.errors import FieldError
from wgfleet.protocol.keys import PublicKey
from wgfleet.protocol.messages import Takeover, TakeoverResult

MAX_TIMEOUT_S = 30.0
_POLL_S = 0.01
_JUST_NOW_S = 2  # a handshake this young means that the peer is here already; `latest_handshake` has whole seconds
_REMIND_FIRST_S = 0.02
_REMIND_LAST_S = 0.64
_REMIND_AT_ONCE = 16
_following: set[asyncio.Task[None]] = set()  # a task that nobody refers to may be collected
_log = structlog.get_logger()


def check(takeover: Takeover, keeper: Keeper) -> dict[PublicKey, str]:
    """Return the endpoint to call each peer at; raise `FieldError` for the first wrong one."""
    if not 0 < takeover.timeout_s <= MAX_TIMEOUT_S:
        raise FieldError("timeout_s", f"must be above 0 and at most {MAX_TIMEOUT_S:.0f} s, not {takeover.timeout_s}")
    endpoints = {}
    for i, peer in enumerate(takeover.peers):
        if peer.public_key not in keeper.desired.peers:
            raise FieldError(f"peers[{i}].public_key", f"interface {keeper.name} has no such peer; push it first")
        endpoints[peer.public_key] = parse_endpoint(peer.endpoint, f"peers[{i}].endpoint")
    return endpoints


async def take_over(
    machine: Machine, keeper: Keeper, endpoints: dict[PublicKey, str], timeout_s: float
) -> TakeoverResult:
    """Call all peers and wait until each has a handshake with this node, or the time is over."""
    started = time.monotonic()
    answered: dict[PublicKey, float] = {}
    async with keeper.lock:
        await _collect(machine, keeper, set(endpoints), answered, started, newer_than=int(time.time()) - _JUST_NOW_S)
        called = {key: endpoint for key, endpoint in endpoints.items() if key not in answered}
        if not called:
            return TakeoverResult(answered, ())
        keeper.calling |= called.keys()
    reminder = _Reminder(machine, keeper)
    try:
        await _call(machine, keeper, called, reminder)
        while (waiting := called.keys() - answered.keys()) and time.monotonic() - started < timeout_s:
            await asyncio.sleep(_POLL_S)
            if await _collect(machine, keeper, waiting, answered, started, newer_than=0):
                reminder.restart()
            await reminder.remind(called.keys() & answered.keys())
    finally:
        # A task of its own: neither the caller's answer nor a caller that hangs up ends it. Should the agent die, its
        # next scan finds the keepalives.
        _spawn(_follow(machine, keeper, set(called), called.keys() & answered.keys(), reminder))
    unanswered = tuple(key for key in endpoints if key not in answered)
    _log.info("takeover", interface=keeper.name, answered=len(answered), unanswered=len(unanswered))
    return TakeoverResult(answered, unanswered)


async def _call(machine: Machine, keeper: Keeper, called: dict[PublicKey, str], reminder: "_Reminder") -> None:
    """Call a few peers at a time, and remind those that were called just before: they may have answered by now."""
    keys = list(called)
    async with keeper.lock:
        await machine.drop_sessions(keeper.name, keys)
    size = machine.calls_at_once
    for start in range(0, len(keys), size):
        async with keeper.lock:
            batch = {key: peer for key in keys[start : start + size] if (peer := keeper.desired.peers.get(key))}
            await machine.call(keeper.name, batch, called)
        reminder.restart()
        await reminder.remind(keys[max(0, start - _REMIND_AT_ONCE) : start])


class _Reminder:
    """Reminds peers that answered of where they are now.

    A packet that the old node sent before, or sends until it drops the peer, turns the peer's endpoint back to it, and
    what the peer then sends there with its new keys is lost. Each packet of ours turns it here again; a keepalive
    each 1 s, WireGuard's least, would let that last a second.
    """

    def __init__(self, machine: Machine, keeper: Keeper) -> None:
        self._machine = machine
        self._keeper = keeper
        self._pause_s = _REMIND_FIRST_S
        self._due = 0.0

    def restart(self) -> None:
        """Begin with short pauses again: there are new peers."""
        self._pause_s, self._due = _REMIND_FIRST_S, 0.0

    @property
    def over(self) -> bool:
        """Whether the persistent keepalive is as good by now."""
        return self._pause_s > _REMIND_LAST_S

    async def remind(self, peers: Collection[PublicKey]) -> None:
        """Send a keepalive to each of `peers` if it is time; the pauses grow."""
        now = time.monotonic()
        if not peers or self.over or now < self._due:
            return
        self._due = now + self._pause_s
        self._pause_s *= 2
        async with self._keeper.lock:
            # Whoever was removed meanwhile would be made again.
            await self._machine.send_keepalives(
                self._keeper.name, [key for key in peers if key in self._keeper.desired.peers]
            )


async def _follow(
    machine: Machine, keeper: Keeper, called: set[PublicKey], answered: Collection[PublicKey], reminder: _Reminder
) -> None:
    """Go on reminding for a while, until the old node has dropped the peers; then put the keepalives back."""
    try:
        await _end(machine, keeper, called - set(answered))
        while answered and not reminder.over:
            await asyncio.sleep(_POLL_S)
            await reminder.remind(answered)
        await _end(machine, keeper, set(answered))
    except KernelError as error:
        keeper.calling -= called
        _log.warning("takeover not finished", interface=keeper.name, reason=str(error))


def _spawn(work: Coroutine[None, None, None]) -> None:
    task = asyncio.create_task(work)
    _following.add(task)
    task.add_done_callback(_following.discard)


async def _end(machine: Machine, keeper: Keeper, called: set[PublicKey]) -> None:
    async with keeper.lock:
        try:
            own = {key: peer.persistent_keepalive for key in called if (peer := keeper.desired.peers.get(key))}
            await machine.end_call(keeper.name, own)
        finally:
            keeper.calling -= called


async def _collect(
    machine: Machine,
    keeper: Keeper,
    waiting: set[PublicKey],
    answered: dict[PublicKey, float],
    started: float,
    *,
    newer_than: int,
) -> bool:
    """Note each waiting peer that has a handshake newer than `newer_than` (s since the epoch); whether any has."""
    before = len(answered)
    async with machine.reading(keeper.name) as reading:
        key_of = reading.form.key_of
        async for blocks in reading.blocks:
            for block in blocks:
                if (key := key_of(block)) in waiting:
                    stats = reading.form.peer(block).stats
                    if stats is not None and stats.latest_handshake > newer_than:
                        answered[key] = time.monotonic() - started
    return len(answered) > before
