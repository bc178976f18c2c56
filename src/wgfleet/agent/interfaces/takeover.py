"""Takeovers: calls to peers at their last endpoint, so that their sessions move to this node, and who answered.

To call a peer is to initiate a WireGuard handshake with it. All nodes share one key, so the client accepts it and sends
here from then on.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

import structlog

from wgfleet.agent.interfaces.reconciler import InterfaceReconciler
from wgfleet.agent.interfaces.settled_calls import Settled
from wgfleet.agent.kernel.commands import KernelError
from wgfleet.agent.kernel.machine import Machine
from wgfleet.agent.kernel.source_routes import SourceRoutes
from wgfleet.protocol.addresses import parse_endpoint, split_endpoint
from wgfleet.protocol.errors import FieldError
from wgfleet.protocol.keys import PublicKey
from wgfleet.protocol.messages import CallBack, Takeover, TakeoverResult
from wgfleet.protocol.quotes import quoted

MAX_TIMEOUT_S = 30.0
_POLL_S = 0.01
_POLL_LONG_S = 0.05  # a look at very many peers takes no more than half of the time
_TELL_S = 0.1  # in which nearly all nodes have heard who has a peer, and others are not waited for
_LEAVE_S = 0.05  # time for WireGuard to send what it was asked to
_JUST_NOW_S = 2  # a handshake this young means that the peer is here already; `latest_handshake` has whole seconds
_REMIND_FIRST_S = 0.01
_REMIND_LAST_S = 0.64
# A packet of a call may get lost, and WireGuard itself repeats it after 5 s. Each try ends the one before, so they
# grow: a client whose answer takes longer than the first is reached by a later one.
_CALL_AGAIN_S, _CALL_AGAIN_FROM_S = (0.3, 0.6, 1.2, 2.9), 1.0
_HELP_THEMSELVES_S = 15.0  # by then clients have noticed by themselves
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class PeerCall:
    """Where to call a peer, and from which address of this machine (None: the machine chooses)."""

    endpoint: str
    source: str | None = None


def check(takeover: Takeover, reconciler: InterfaceReconciler, held: Collection[str]) -> dict[PublicKey, PeerCall]:
    """Return how to call each peer; raise `FieldError` for the first wrong field. `held`: allowed floating sources.

    Some may have been removed since: they are left out, so that the others are not without a node for their sake.
    """
    floating = reconciler.desired.settings.floating
    sources = {*held, *(floating.translated if floating is not None else ())}
    if not 0 < takeover.timeout_s <= MAX_TIMEOUT_S:
        raise FieldError("timeout_s", f"must be above 0 and at most {MAX_TIMEOUT_S:.0f} s, not {takeover.timeout_s}")
    if not 0 <= takeover.settle_s <= MAX_TIMEOUT_S:
        raise FieldError("settle_s", f"must be 0 to {MAX_TIMEOUT_S:.0f} s, not {takeover.settle_s}")
    calls = {}
    for i, peer in enumerate(takeover.peers):
        if peer.public_key not in reconciler.desired.peers:
            continue
        endpoint = parse_endpoint(peer.endpoint, f"peers[{i}].endpoint")
        if peer.source is not None:
            _check_source(peer.source, endpoint, sources, f"peers[{i}].source")
        calls[peer.public_key] = PeerCall(endpoint, peer.source)
    if takeover.peers and not calls:
        raise FieldError("peers[0].public_key", f"interface {reconciler.name} has no such peer; push it first")
    return calls


def _check_source(source: str, endpoint: str, held: Collection[str], field: str) -> None:
    if source not in held:
        raise FieldError(
            field, f"{quoted(source)} is not a floating address that this node holds for the interface; push it"
        )
    if (":" in source) != endpoint.startswith("["):
        raise FieldError(field, f"{source} and the endpoint {endpoint} are not of the same IP version")


class Takeovers:
    """The takeovers that run on this machine."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._restoring: set[asyncio.Task[None]] = set()  # a task that nobody refers to may be collected

    async def run(
        self,
        reconciler: InterfaceReconciler,
        calls: dict[PublicKey, PeerCall],
        timeout_s: float,
        *,
        planned: bool = False,
        settled: Settled | None = None,
        unknown: Collection[PublicKey] = (),
    ) -> TakeoverResult:
        """Call all peers, then wait until each has a handshake with this node or `timeout_s` has passed.

        `planned`: the peers are served until then, so there is time to have what others send them come here first.
        `unknown`: peers that this node does not have, who do not answer.
        """
        started = time.monotonic()
        answered: dict[PublicKey, float] = {}
        machine = self._machine
        async with reconciler.lock:
            just_now = int(time.time()) - _JUST_NOW_S
            await _collect(machine, reconciler, set(calls), answered, started, newer_than=just_now)
            called = {key: call for key, call in calls.items() if key not in answered}
            reconciler.calling.update(calls.keys())
        reminder = _Reminder(machine, reconciler)
        reminder.add(answered)  # another node may have turned them back
        reminding = asyncio.create_task(reminder.run())
        try:
            async with AsyncExitStack() as stack:
                rounds, routes = by_source(called), None
                if any(each.sources for each in rounds):
                    routes = await stack.enter_async_context(machine.open_source_routes(reconciler.desired.settings))
                async with reconciler.lock:
                    await machine.drop_sessions(reconciler.name, list(called))
                if planned:
                    await _draw(machine, reconciler, called)
                await _call(machine, reconciler, called, rounds, routes, reminder)
                until, looked_s = time.monotonic() + timeout_s, 0.0
                if settled is not None:
                    settled.begin(answered)
                # The routes stay until then: WireGuard sends, and repeats, in its own time.
                while (waiting := called.keys() - answered.keys()) and time.monotonic() < until:
                    await asyncio.sleep(max(_POLL_S, min(looked_s, _POLL_LONG_S)))
                    looked_at = time.monotonic()
                    await _collect(machine, reconciler, waiting, answered, started, newer_than=0)
                    looked_s = time.monotonic() - looked_at
                    if arrived := waiting & answered.keys():
                        reconciler.backbone.seen(arrived, surely=True)
                    if settled is not None and (told := settled.look(answered, arrived)):
                        reminder.add(told)  # the node before drops them now, and may have had the last word
                    reconciler.backbone.give_back(called.keys() - answered.keys())
        finally:
            reconciler.backbone.give_back(called.keys() - answered.keys(), at_once=True)
            reminder.finish(called.keys() - answered.keys())
            self._restore(reconciler, set(calls), set(answered), reminding)
        unanswered = (*(key for key in calls if key not in answered), *unknown)
        _log.info("takeover.ended", interface=reconciler.name, answered=len(answered), unanswered=len(unanswered))
        return TakeoverResult(answered, unanswered)

    def _restore(
        self,
        reconciler: InterfaceReconciler,
        called: set[PublicKey],
        answered: set[PublicKey],
        reminding: asyncio.Task[None],
    ) -> None:
        """Put the keepalives back in a task of its own, which outlives the request.

        Should the agent die meanwhile, its next scan finds the wrong keepalives.
        """
        task = asyncio.create_task(_restore_keepalives(self._machine, reconciler, called, answered, reminding))
        self._restoring.add(task)
        task.add_done_callback(self._restoring.discard)


async def call_again(
    takeovers: Takeovers,
    reconciler: InterfaceReconciler,
    endpoints: Mapping[PublicKey, str],
    may_speak: Callable[[], bool],
) -> None:
    """Call peers whose sessions ended with this node's interface, until they have answered or a while has passed.

    Only once this node `may_speak` to users. Those behind NAT let only the address through to which they connected: a
    floating one that this node holds, or its own. Which of them it was is not known any more.
    """
    started, waiting, called = time.monotonic(), dict(endpoints), set[PublicKey]()
    if not await _until(may_speak, _HELP_THEMSELVES_S):
        _log.warning("clients.not_called_again", interface=reconciler.name, reason="the panel did not say that it may")
        return
    tries: list[tuple[str | None, float]] = [(source, _CALL_AGAIN_FROM_S) for source in reconciler.sources]
    for source, timeout_s in [*tries, *((None, each_s) for each_s in _CALL_AGAIN_S)]:
        calls = {
            key: PeerCall(endpoint, source)
            for key, endpoint in waiting.items()
            if key in reconciler.desired.peers and (source is None or (":" in source) == endpoint.startswith("["))
        }
        if not calls:
            continue
        called |= calls.keys()
        try:
            result = await takeovers.run(reconciler, calls, timeout_s)
        except (KernelError, OSError) as error:
            _log.error("clients.not_called_again", interface=reconciler.name, reason=str(error))
            continue
        for key in result.answered:
            del waiting[key]
    if not called:  # others serve them by now
        return
    answered = len(endpoints) - len(waiting)
    said = f"sessions ended with the interface; {answered} of {len(called)} peers answered a call to their endpoints"
    _log.warning("clients.called_again", interface=reconciler.name, called=len(called), answered=answered)
    reconciler.call_backs.note(CallBack(time.time(), len(called), answered, time.monotonic() - started))
    reconciler.say(said)


async def _until(holds: Callable[[], bool], within_s: float) -> bool:
    """Wait until something holds; False if it does not in that time."""
    until = time.monotonic() + within_s
    while not holds():
        if time.monotonic() > until:
            return False
        await asyncio.sleep(_POLL_S)
    return True


@dataclass
class Round:
    """Peers that may be called at the same time, and the source for each host of them that needs one."""

    peers: list[PublicKey] = field(default_factory=list)
    sources: dict[str, str] = field(default_factory=dict)


def by_source(calls: Mapping[PublicKey, PeerCall]) -> list[Round]:
    """Divide calls into rounds, so that each calls a host from one source only; usually one round is enough.

    Behind one address of a NAT there may be users who connected to different floating addresses, or to a node's own.
    """
    rounds: list[Round] = []
    places: dict[tuple[str, str | None], Round] = {}
    hosts: dict[str, int] = {}
    for key, call in calls.items():
        host, _ = split_endpoint(call.endpoint)
        place = places.get((host, call.source))
        if place is None:
            number = hosts[host] = hosts.get(host, -1) + 1
            if number == len(rounds):
                rounds.append(Round())
            place = places[host, call.source] = rounds[number]
            if call.source is not None:
                place.sources[host] = call.source
        place.peers.append(key)
    return rounds


async def _call(
    machine: Machine,
    reconciler: InterfaceReconciler,
    called: dict[PublicKey, PeerCall],
    rounds: list[Round],
    routes: SourceRoutes | None,
    reminder: "_Reminder",
) -> None:
    """PeerCall a few peers at a time."""
    endpoints = {key: call.endpoint for key, call in called.items()}
    size = machine.calls_at_once
    for number, each in enumerate(rounds):
        if routes is not None:
            if number:  # the calls of the previous round still need its routes
                await asyncio.sleep(_LEAVE_S)
                await routes.clear()
            await routes.send_from(each.sources)
        for start in range(0, len(each.peers), size):
            async with reconciler.lock:
                keys = each.peers[start : start + size]
                batch = {key: peer for key in keys if (peer := reconciler.desired.peers.get(key))}
                await machine.call(reconciler.name, batch, endpoints)
            reconciler.backbone.draw(batch)
            reminder.add(batch)


async def _draw(machine: Machine, reconciler: InterfaceReconciler, called: Mapping[PublicKey, PeerCall]) -> None:
    """Have what other nodes send to peers come here before they are called, and wait for their session.

    Not to those that are called from a chosen address: the first packet would call them from another.
    """
    peers = reconciler.desired.peers
    endpoints = {key: call.endpoint for key, call in called.items() if call.source is None and key in peers}
    if drawable := reconciler.backbone.drawable(endpoints):
        async with reconciler.lock:
            wanted = {key: peers[key] for key in drawable if key in peers}
            await machine.expect(reconciler.name, wanted, endpoints)
        await reconciler.backbone.keep_flows(wanted)
        await reconciler.backbone.draw_first(wanted, _TELL_S)


class _Reminder:
    """Sends keepalives to peers that were called, at growing intervals, so that they keep sending here.

    A packet from the old node, sent earlier or until it drops the peer, turns the peer's endpoint back to it, and what
    the peer then sends there under its new keys is lost. Each packet of ours turns it here again; WireGuard's shortest
    keepalive interval, 1 s, would let that loss last a second. The old node hears who is to be dropped when all have
    answered or their time is over, so they begin with the shortest once more: the last word is to be ours.
    """

    def __init__(self, machine: Machine, reconciler: InterfaceReconciler) -> None:
        self._machine = machine
        self._reconciler = reconciler
        self._due: dict[PublicKey, tuple[float, float]] = {}  # when the next one is due, and the pause after it, in s
        self._finished = False

    def add(self, peers: Iterable[PublicKey]) -> None:
        """Remind `peers` from now on."""
        first = time.monotonic() + _REMIND_FIRST_S
        self._due.update(dict.fromkeys(peers, (first, 2 * _REMIND_FIRST_S)))

    def finish(self, without: Iterable[PublicKey]) -> None:
        """Remind every peer but those in `without` for a last time, beginning with the shortest interval; then end."""
        for key in without:
            self._due.pop(key, None)
        self.add(list(self._due))
        self._finished = True

    async def run(self) -> None:
        """Send what is due until finished.

        Without the interface's lock: a push holds it until it is verified. A peer that a push removes at the same
        moment is recreated, empty, and the next scan removes it.
        """
        while self._due or not self._finished:
            now = time.monotonic()
            due = [key for key, (when, _) in self._due.items() if when <= now]
            for key in due:
                _, pause = self._due.pop(key)
                if not self._finished:
                    self._due[key] = (now + pause, min(2 * pause, _REMIND_LAST_S))
                elif pause <= 2 * _REMIND_LAST_S:
                    self._due[key] = (now + pause, 2 * pause)
            if peers := [key for key in due if key in self._reconciler.desired.peers]:
                await self._machine.send_keepalives(self._reconciler.name, peers)
            await asyncio.sleep(_POLL_S)


async def _restore_keepalives(
    machine: Machine,
    reconciler: InterfaceReconciler,
    called: set[PublicKey],
    answered: set[PublicKey],
    reminding: asyncio.Task[None],
) -> None:
    """Put the keepalives back: of peers that did not answer now, of the others after their last reminder."""
    await _end(machine, reconciler, called - answered)
    try:
        await reminding
    except KernelError as error:
        _log.warning("takeover.keepalives_left", interface=reconciler.name, reason=str(error))
    finally:
        await _end(machine, reconciler, answered)


async def _end(machine: Machine, reconciler: InterfaceReconciler, called: set[PublicKey]) -> None:
    """End the call of some peers, but for those that are called once more by now."""
    async with reconciler.lock:
        last = (key for key in called if reconciler.calling[key] <= 1)
        own = {key: peer.persistent_keepalive for key in last if (peer := reconciler.desired.peers.get(key))}
        try:
            await machine.end_call(reconciler.name, own)
        except KernelError as error:
            _log.warning("takeover.keepalives_left", interface=reconciler.name, reason=str(error))
        finally:
            reconciler.calling -= Counter(called)


async def _collect(
    machine: Machine,
    reconciler: InterfaceReconciler,
    waiting: set[PublicKey],
    answered: dict[PublicKey, float],
    started: float,
    *,
    newer_than: int,
) -> None:
    """Note each waiting peer that has a handshake newer than `newer_than` (s since the epoch)."""
    async with machine.reading(reconciler.name) as reading:
        key_of = reading.form.key_of
        async for blocks in reading.blocks:
            for block in blocks:
                if (key := key_of(block)) in waiting:
                    stats = reading.form.peer(block).stats
                    if stats is not None and stats.latest_handshake > newer_than:
                        answered[key] = time.monotonic() - started
