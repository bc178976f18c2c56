"""Takeover: call peers at their last address, so that their sessions move to this node, and see who answers.

The new node starts a handshake with the key that all nodes share; the client accepts it and sends here from then on.
"""

import asyncio
import time

import structlog

from wgfleet.agent.keeper import Keeper
from wgfleet.agent.kernel.machine import Machine
from wgfleet.protocol.addresses import parse_endpoint
from wgfleet.protocol.errors import FieldError
from wgfleet.protocol.keys import PublicKey
from wgfleet.protocol.messages import Takeover, TakeoverResult

MAX_TIMEOUT_S = 30.0
_POLL_S = 0.01
_JUST_NOW_S = 2  # a handshake this young means that the peer is here already; `latest_handshake` has whole seconds
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
    """Call all peers in one batch and wait until each has a handshake with this node, or the time is over."""
    started = time.monotonic()
    answered: dict[PublicKey, float] = {}
    async with keeper.lock:
        await _collect(machine, keeper, set(endpoints), answered, started, newer_than=int(time.time()) - _JUST_NOW_S)
        called = {key: endpoint for key, endpoint in endpoints.items() if key not in answered}
        if not called:
            return TakeoverResult(answered, ())
        keeper.calling |= called.keys()
        try:
            peers = {key: keeper.desired.peers[key] for key in called}
            await machine.call(keeper.name, peers, called)
        except BaseException:
            keeper.calling -= called.keys()
            raise
    try:
        while (waiting := called.keys() - answered.keys()) and time.monotonic() - started < timeout_s:
            await asyncio.sleep(_POLL_S)
            await _collect(machine, keeper, waiting, answered, started, newer_than=0)
    finally:
        # Shielded: a caller that hangs up must not leave the keepalives behind. Should the agent die, its next scan
        # finds them.
        await asyncio.shield(_end(machine, keeper, called))
    unanswered = tuple(key for key in endpoints if key not in answered)
    _log.info("takeover", interface=keeper.name, answered=len(answered), unanswered=len(unanswered))
    return TakeoverResult(answered, unanswered)


async def _end(machine: Machine, keeper: Keeper, called: dict[PublicKey, str]) -> None:
    async with keeper.lock:
        try:
            own = {key: peer.persistent_keepalive for key in called if (peer := keeper.desired.peers.get(key))}
            await machine.end_call(keeper.name, own)
        finally:
            keeper.calling -= called.keys()


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
    reading = await machine.read(keeper.name)
    now = time.monotonic() - started
    for block in reading.blocks:
        if (key := reading.key_of(block)) in waiting:
            stats = reading.peer(block).stats
            if stats is not None and stats.latest_handshake > newer_than:
                answered[key] = now
