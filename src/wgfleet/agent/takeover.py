"""Takeover: call peers at their last address, so that their sessions move to this node, and see who answers.

The new node starts a handshake with the key that all nodes share; the client accepts it and sends here from then on.
"""

import asyncio
import time
from collections.abc import Coroutine, Iterable

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
_REMIND_FIRST_S = 0.01
_REMIND_LAST_S = 0.64
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
    reminding = asyncio.create_task(reminder.run())
    try:
        await _call(machine, keeper, called, reminder)
        while (waiting := called.keys() - answered.keys()) and time.monotonic() - started < timeout_s:
            await asyncio.sleep(_POLL_S)
            await _collect(machine, keeper, waiting, answered, started, newer_than=0)
    finally:
        # A task of its own: neither the caller's answer nor a caller that hangs up ends it. Should the agent die, its
        # next scan finds the keepalives.
        reminder.finish(called.keys() - answered.keys())
        _spawn(_follow(machine, keeper, set(called), called.keys() & answered.keys(), reminding))
    unanswered = tuple(key for key in endpoints if key not in answered)
    _log.info("takeover", interface=keeper.name, answered=len(answered), unanswered=len(unanswered))
    return TakeoverResult(answered, unanswered)


async def _call(machine: Machine, keeper: Keeper, called: dict[PublicKey, str], reminder: "_Reminder") -> None:
    """Call a few peers at a time."""
    keys = list(called)
    async with keeper.lock:
        await machine.drop_sessions(keeper.name, keys)
    size = machine.calls_at_once
    for start in range(0, len(keys), size):
        async with keeper.lock:
            batch = {key: peer for key in keys[start : start + size] if (peer := keeper.desired.peers.get(key))}
            await machine.call(keeper.name, batch, called)
        reminder.add(batch)


class _Reminder:
    """Reminds peers that were called of where they are now, at growing intervals.

    A packet that the old node sent before, or sends until it drops the peer, turns the peer's endpoint back to it, and
    what the peer then sends there with its new keys is lost. Each packet of ours turns it here again; a keepalive
    each 1 s, WireGuard's least, would let that last a second.
    """

    def __init__(self, machine: Machine, keeper: Keeper) -> None:
        self._machine = machine
        self._keeper = keeper
        self._due: dict[PublicKey, tuple[float, float]] = {}  # when the next one is due, and the pause after it, in s
        self._finished = False

    def add(self, peers: Iterable[PublicKey]) -> None:
        """Remind `peers` from now on."""
        first = time.monotonic() + _REMIND_FIRST_S
        self._due.update(dict.fromkeys(peers, (first, 2 * _REMIND_FIRST_S)))

    def finish(self, without: Iterable[PublicKey]) -> None:
        """End when every peer but those in `without` has had its last reminder."""
        for key in without:
            self._due.pop(key, None)
        self._finished = True

    async def run(self) -> None:
        """Send what is due until finished.

        Without the interface's lock: a push holds it for as long as it takes to verify. A peer that a push removes in
        the same moment is made again, empty, and the next scan mends that.
        """
        while self._due or not self._finished:
            now = time.monotonic()
            due = [key for key, (when, _) in self._due.items() if when <= now]
            for key in due:
                _, pause = self._due.pop(key)
                if pause <= 2 * _REMIND_LAST_S:
                    self._due[key] = (now + pause, 2 * pause)
            if peers := [key for key in due if key in self._keeper.desired.peers]:
                await self._machine.send_keepalives(self._keeper.name, peers)
            await asyncio.sleep(_POLL_S)


async def _follow(
    machine: Machine, keeper: Keeper, called: set[PublicKey], answered: set[PublicKey], reminding: asyncio.Task[None]
) -> None:
    """Put the keepalives back: of those that did not answer now, of the others after their last reminder."""
    try:
        await _end(machine, keeper, called - answered)
        await reminding
        await _end(machine, keeper, answered)
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
) -> None:
    """Note each waiting peer that has a handshake newer than `newer_than` (s since the epoch)."""
    async with machine.reading(keeper.name) as reading:
        key_of = reading.form.key_of
        async for blocks in reading.blocks:
            for block in blocks:
                if (key := key_of(block)) in waiting:
                    stats = reading.form.peer(block).stats
                    if stats is not None and stats.latest_handshake > newer_than:
                        answered[key] = time.monotonic() - started
