"""The backbone of one interface: keeps its links as wanted, hears the other nodes, and has routes follow the peers.

Owns the order of that. Which node has a peer is decided by `whereabouts`. What fails here is drift of its own, and
costs no user his way through this node.
"""

import asyncio
import base64
import binascii
import contextlib
import ipaddress
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

import structlog

from wgfleet.agent.interfaces.news_socket import NewsSocket
from wgfleet.agent.interfaces.whereabouts import Claim, Whereabouts
from wgfleet.agent.kernel import backbone_links, forwarding, peer_routes
from wgfleet.agent.kernel.backbone_rules import BackboneNames
from wgfleet.agent.kernel.commands import KernelError
from wgfleet.agent.kernel.links import index_of
from wgfleet.agent.kernel.machine import Machine
from wgfleet.protocol.backbone import Backbone, Hello, News, address
from wgfleet.protocol.desired import InterfaceSettings
from wgfleet.protocol.diff import Drift
from wgfleet.protocol.keys import PublicKey

if TYPE_CHECKING:
    from wgfleet.agent.interfaces.reconciler import InterfaceReconciler

HELLO_S = 0.5
SILENT_S = 3.0  # without a word, a node is not to be reached: its peers' packets are answered with an error
_SETTLED_S = 3.0  # after a handshake with another node, what a peer had sent here before has arrived
_LOOK_S = 2.0  # between two looks at links, rules and firewall
_AT_ONCE = 64  # messages of news, before the other says how far it has heard
_ANSWER_EVERY = 32
_FIRST_SWEEP_S, _SWEEP_S, _SWEPT = 5.0, 60.0, 2_000  # between comparisons of the routes, while there are not more
_log = structlog.get_logger()


class BackboneWatch:
    """The backbone of the interface that `reconciler` has; `run` is a background task."""

    def __init__(self, reconciler: "InterfaceReconciler", machine: Machine) -> None:
        self._reconciler = reconciler
        self._machine = machine
        self._names: BackboneNames | None = None
        self._wanted: Backbone | None = None
        self._called: dict[PublicKey, str] = {}
        self._trouble: str | None = None
        self._where: Whereabouts | None = None
        self._socket: NewsSocket | None = None
        self._wire_index: int | None = None
        self._heard_at: dict[int, float] = {}  # anything of a node
        self._answered_at: dict[int, float] = {}  # that a node said it hears this one
        self._received_of: dict[PublicKey, int] = {}  # bytes of peers that others have, at the last look
        self._since_answer: dict[int, int] = {}
        self._since = self._sweep_at = float("inf")
        self._told = 0
        self._reached: frozenset[int] = frozenset()
        self._holders: dict[str, tuple[bytes, int]] = {}  # of the networks that are elsewhere: peer, and node
        self._woken = asyncio.Event()

    @property
    def drift(self) -> tuple[Drift, ...]:
        """Say what is not as wanted: the links themselves, and nodes that are not heard over them."""
        if self._trouble is not None:
            return (Drift("backbone", "up", self._trouble),)
        if self._wanted is None or time.monotonic() - self._since < SILENT_S:
            return ()
        silent = (node for node in self._wanted.nodes if node.number not in self._reached)
        return tuple(Drift(f"backbone.{node.name}", "heard", "not heard") for node in silent)

    @property
    def reached(self) -> int:
        """How many other nodes are heard."""
        return len(self._reached)

    @property
    def elsewhere(self) -> int:
        """How many networks lead to other nodes."""
        return len(self._holders)

    def seen(self, keys: Iterable[PublicKey], *, surely: bool = False) -> None:
        """Take note of the handshakes of some peers. `surely`: each has just answered a call from here."""
        if self._where is None:
            return
        now, wall_clock = time.monotonic(), time.time()
        for key in keys:
            stats, peer = self._reconciler.stats.get(key), self._reconciler.desired.peers.get(key)
            if peer is None or not peer.allowed_ips:
                continue
            if surely or (stats is not None and self._speaks_here(key, stats.rx, self._where, now)):
                self._where.seen(_raw(key), now, peer.allowed_ips, surely=True)
            elif stats is not None and stats.latest_handshake:
                self._where.seen(_raw(key), now - max(0.0, wall_clock - stats.latest_handshake), peer.allowed_ips)
        self._tell()

    def _speaks_here(self, key: PublicKey, received: int, where: Whereabouts, now: float) -> bool:
        """Whether a peer that another node has goes on sending to this one.

        Of two handshakes in one second nobody knows which was the last; but a peer sends to one node only.
        """
        claim = where.claim(_raw(key))
        if claim is None or claim.number == where.number:
            self._received_of.pop(key, None)
            return False
        before = self._received_of.get(key)
        self._received_of[key] = received
        return before is not None and received > before and now - claim.at > _SETTLED_S

    def changed(self, keys: Iterable[PublicKey] | None = None) -> None:
        """Take note that peers of the interface were changed or removed; None: all may have been."""
        if self._where is None:
            return
        peers = self._reconciler.desired.peers
        if keys is None:
            self._where.left_all_but(lambda key: _text(key) in peers)
            keys = peers
        for key in keys:
            if key in peers:
                self._where.renew(_raw(key))
            else:
                self._where.left(_raw(key))
        self._tell()

    async def run(self) -> None:
        """Work until cancelled."""
        routes = asyncio.create_task(self._follow())
        try:
            looked_at = float("-inf")
            while True:
                wanted = self._settings().backbone
                if wanted != self._wanted or time.monotonic() - looked_at >= _LOOK_S:
                    await self._look(wanted)
                    looked_at = time.monotonic()
                self._greet()
                await self._sweep()
                await self._pause(HELLO_S)
        finally:
            routes.cancel()
            self._close()

    async def remove(self) -> None:
        """Remove everything of the backbone; `run` has ended."""
        self._close()
        names, self._names = self._names, None
        if names is not None:
            await backbone_links.remove(self._machine, names)

    def _settings(self) -> InterfaceSettings:
        return self._reconciler.effective.settings

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._reconciler.settings_changed.wait()
                await asyncio.sleep(0.01)

    async def _look(self, wanted: Backbone | None) -> None:
        settings = self._settings()
        if not settings.enabled:
            wanted = None
        try:
            if wanted is None:
                await self.remove()
                self._wanted, self._trouble = None, None
            else:
                await self._converge(settings, wanted)
                self._trouble = None
        except (KernelError, OSError) as error:
            if self._trouble != str(error):
                _log.error("backbone.failed", interface=self._reconciler.name, reason=str(error))
            self._trouble = str(error)

    async def _converge(self, settings: InterfaceSettings, wanted: Backbone) -> None:
        names = BackboneNames(settings.name, wanted.port)
        if self._names is not None and self._names != names:
            await self.remove()
        if self._names is None:
            self._called.clear()
        if self._wanted != wanted:
            self._since = time.monotonic()
        self._names, self._wanted = names, wanted
        await forwarding.turn_on({ipaddress.ip_interface(each).version for each in settings.addresses})
        networks = [*_pools(settings), *settings.routes]
        made_anew = await backbone_links.converge(self._machine, names, wanted, sorted(networks), self._called)
        if self._where is None or self._where.number != wanted.number:
            self._begin(wanted)
        for number in set(self._heard_at) - {node.number for node in wanted.nodes}:
            del self._heard_at[number]
            self._answered_at.pop(number, None)
            if self._where is not None:
                self._where.forget(number)
        index = index_of(names.wire)
        if self._socket is None or index != self._wire_index:
            if self._socket is not None:
                self._socket.close()
            self._socket = await NewsSocket.open(wanted.number, names.wire, self._received)
            self._wire_index = index
        if made_anew:
            self._holders.clear()
            self._woken.set()
            await self._route_all()

    def _begin(self, wanted: Backbone) -> None:
        self._where = Whereabouts(wanted.number, time.time_ns() // 1_000_000, self._may_claim)
        self._answered_at.clear()
        self._told, self._sweep_at = 0, time.monotonic() + _FIRST_SWEEP_S
        self._heard_at.clear()
        self._holders.clear()
        self.seen(self._reconciler.stats)

    def _close(self) -> None:
        if self._socket is not None:
            self._socket.close()
        self._socket = self._where = self._wire_index = None
        self._reached = frozenset()
        self._heard_at.clear()
        self._answered_at.clear()

    def _may_claim(self, key: bytes, claimed: tuple[str, ...]) -> tuple[str, ...]:
        """Return the networks of a peer: those that it has here, or else such as another node may name.

        A peer that has moved to another node is no peer of this one any more; what others say of it is believed where
        it takes nothing from a peer of this node, and is an address of the config's or a network behind its peers.
        """
        peer = self._reconciler.desired.peers.get(_text(key))
        if peer is not None:
            return peer.allowed_ips
        settings = self._settings()
        pools = [ipaddress.ip_network(each) for each in _pools(settings)]
        return tuple(
            each
            for each in claimed
            if not self._reconciler.allowed_ips.has(each) and (each in settings.routes or _host_in(each, pools))
        )

    def _greet(self) -> None:
        """Say to each node how far it was heard, and notice which are silent."""
        if self._where is None or self._socket is None or self._wanted is None:
            return
        now = time.monotonic()
        for node in self._wanted.nodes:
            self._answer(node.number)
        reached = frozenset(number for number, at in self._answered_at.items() if now - at < SILENT_S)
        if reached != self._reached:
            self._reached = reached
            self._woken.set()

    def _answer(self, number: int) -> None:
        if self._where is not None and self._socket is not None:
            self._since_answer[number] = 0
            heard = self._where.heard_of(number)
            hears = time.monotonic() - self._heard_at.get(number, float("-inf")) < SILENT_S
            self._socket.send(number, Hello(self._where.epoch, self._where.upto, *heard, hears))

    def _tell(self) -> None:
        """Send what is new to all nodes, and have the routes follow."""
        if self._where is None:
            return
        self._woken.set()
        if self._socket is None or self._told == self._where.upto:
            return
        for news in self._where.news(self._told, time.monotonic(), _AT_ONCE):
            for number in self._reached:
                self._socket.send(number, news)
        self._told = self._where.upto

    def _received(self, number: int, message: News | Hello) -> None:
        if self._where is None or self._wanted is None or all(number != each.number for each in self._wanted.nodes):
            return
        now = time.monotonic()
        if number not in self._heard_at:
            self._heard_at[number] = now
            self._answer(number)
        self._heard_at[number] = now
        if isinstance(message, Hello):
            if message.hears:
                self._answered_at[number] = now
                if number not in self._reached:
                    self._reached |= {number}
                    self._woken.set()
            self._where.complete(number, message.epoch, message.upto)
            heard = message.heard if message.heard_epoch == self._where.epoch else 0
            if heard < self._where.upto and self._socket is not None:
                for news in self._where.news(heard, now, _AT_ONCE):
                    self._socket.send(number, news)
        else:
            missed = self._where.heard(number, message, now)
            self._since_answer[number] = self._since_answer.get(number, 0) + 1
            if missed or self._since_answer[number] >= _ANSWER_EVERY:
                self._answer(number)
        self._tell()

    async def _follow(self) -> None:
        """Change routes as peers move, and as nodes fall silent or are heard again."""
        reached = self._reached
        while True:
            await self._woken.wait()
            self._woken.clear()
            if self._where is None or self._names is None:
                continue
            targets = self._moved(self._where)
            if self._reached != reached:
                turned = self._reached ^ reached
                reached = self._reached
                targets |= {
                    network: self._target(number) for network, (_, number) in self._holders.items() if number in turned
                }
            await self._change(targets)

    def _moved(self, where: Whereabouts) -> dict[str, str | None]:
        targets: dict[str, str | None] = {}
        for key, (before, now) in where.take_moved().items():
            for network in before.networks if before is not None else ():
                if self._holders.get(network, (key,))[0] == key:
                    self._holders.pop(network, None)
                    targets[network] = None
            self._place(key, now, where, targets)
        return targets

    def _place(self, key: bytes, claim: Claim | None, where: Whereabouts, targets: dict[str, str | None]) -> None:
        if claim is None or claim.number == where.number:
            return
        for network in claim.networks:
            self._holders[network] = key, claim.number
            targets[network] = self._target(claim.number)

    async def _route_all(self) -> None:
        """Make all routes again: the device that they lead to is a new one."""
        if self._where is None:
            return
        self._where.take_moved()
        targets: dict[str, str | None] = {}
        for key, claim in self._where.claims():
            self._place(key, claim, self._where, targets)
        await self._change(targets)

    async def _sweep(self) -> None:
        """Remove routes that an agent before this one has left, and make those again that somebody removed."""
        if self._where is None or self._names is None or time.monotonic() < self._sweep_at:
            return
        self._sweep_at = time.monotonic() + (_SWEEP_S if len(self._holders) <= _SWEPT else float("inf"))
        try:
            found = await peer_routes.networks(self._names)
        except (KernelError, OSError) as error:
            _log.error("backbone.routes_not_read", interface=self._reconciler.name, reason=str(error))
            return
        targets: dict[str, str | None] = dict.fromkeys(found - self._holders.keys())
        targets |= {each: self._target(self._holders[each][1]) for each in self._holders.keys() - found}
        await self._change(targets)

    async def _change(self, targets: dict[str, str | None]) -> None:
        if not targets or self._names is None:
            return
        try:
            await peer_routes.change(self._names, targets)
        except (KernelError, OSError) as error:  # the next look makes the device again, with all routes
            _log.error("backbone.routes_failed", interface=self._reconciler.name, reason=str(error))

    def _target(self, number: int) -> str:
        return address(number) if number in self._reached else peer_routes.UNREACHABLE


def _raw(key: PublicKey) -> bytes:
    return binascii.a2b_base64(key)


def _text(key: bytes) -> PublicKey:
    return PublicKey(base64.b64encode(key).decode())


def _pools(settings: InterfaceSettings) -> list[str]:
    return [str(ipaddress.ip_interface(each).network) for each in settings.addresses]


def _host_in(text: str, pools: list[ipaddress.IPv4Network | ipaddress.IPv6Network]) -> bool:
    """Whether it is a single address in one of the pools."""
    try:
        network = ipaddress.ip_network(text)
    except ValueError:
        return False
    return network.num_addresses == 1 and any(
        network.version == pool.version and network.network_address in pool for pool in pools
    )
