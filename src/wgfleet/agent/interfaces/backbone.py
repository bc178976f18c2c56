"""The backbone of one interface: keeps its links as wanted, hears the other nodes, and has routes follow the peers.

Owns the order of that. Which node has a peer is decided by `whereabouts`. What fails here is drift of its own, and
costs no user his way through this node.
"""

import asyncio
import base64
import binascii
import contextlib
import time
from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING

import structlog

from wgfleet.agent.interfaces.believed_networks import believed, pools
from wgfleet.agent.interfaces.drawn_peers import DrawnPeers
from wgfleet.agent.interfaces.flow_watch import FlowWatch
from wgfleet.agent.interfaces.heard_nodes import SILENT_S, HeardNodes
from wgfleet.agent.interfaces.kept_users import KeptUsers
from wgfleet.agent.interfaces.news_sender import NewsSender
from wgfleet.agent.interfaces.news_socket import NewsSocket
from wgfleet.agent.interfaces.route_follower import RouteFollower
from wgfleet.agent.interfaces.whereabouts import Whereabouts
from wgfleet.agent.kernel import backbone_links, nftables
from wgfleet.agent.kernel.backbone_rules import BackboneNames
from wgfleet.agent.kernel.commands import KernelError
from wgfleet.agent.kernel.links import index_of
from wgfleet.agent.kernel.machine import Machine
from wgfleet.protocol.backbone import Backbone, Datagram, Flows, Hello
from wgfleet.protocol.desired import InterfaceSettings
from wgfleet.protocol.diff import Drift
from wgfleet.protocol.keys import PublicKey

if TYPE_CHECKING:
    from wgfleet.agent.interfaces.reconciler import InterfaceReconciler

HELLO_S = 0.5
_SETTLED_S = 3.0  # after a handshake with another node, what a peer had sent here before has arrived
_LOOK_S = 2.0  # between two looks at links, rules and firewall
_ANSWER_EVERY = 32
_POLL_S = 0.002
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
        self._heard = HeardNodes()
        self._kept = KeptUsers()
        self._received_of: dict[PublicKey, int] = {}  # bytes of peers that others have, at the last look
        self._drawn = DrawnPeers()
        self._followed: dict[int, int] = {}  # how far nodes have routes as this one said
        self._news_of: set[int] = set()  # nodes whose news the routes do not follow yet
        self._since_answer: dict[int, int] = {}
        self._since = float("inf")
        self._news = NewsSender()
        self._reached: frozenset[int] = frozenset()
        self._routes: RouteFollower | None = None
        self.open_flows = FlowWatch(self._settings, self._tell_flows, partial(setattr, reconciler, "carries"))
        self._woken, self._flows_woken = asyncio.Event(), asyncio.Event()

    @property
    def drift(self) -> tuple[Drift, ...]:
        """Say what is not as wanted: the links themselves, and nodes that are not heard over them."""
        if self._trouble is not None:
            return (Drift("backbone", "up", self._trouble),)
        if self._wanted is None or time.monotonic() - self._since < SILENT_S:
            return ()
        now = time.monotonic()
        silent = (node for node in self._wanted.nodes if not self._heard.answers(node.number, now))
        return tuple(Drift(f"backbone.{node.name}", "heard", "not heard") for node in silent)

    @property
    def reached(self) -> int:
        """How many other nodes are heard."""
        return len(self._reached)

    @property
    def elsewhere(self) -> int:
        """How many networks lead to other nodes."""
        return 0 if self._routes is None else len(self._routes)

    @property
    def flows(self) -> int:
        """How many TCP connections of users other nodes say they carry."""
        return self.open_flows.known

    def seen(self, keys: Iterable[PublicKey], *, surely: bool = False) -> None:
        """Take note of the handshakes of some peers. `surely`: each has just answered a call from here."""
        if self._where is None:
            return
        now, wall_clock = time.monotonic(), time.time()
        for key in keys:
            stats, peer = self._reconciler.stats.get(key), self._reconciler.desired.peers.get(key)
            if peer is None or not peer.allowed_ips:
                continue
            if surely and self._drawn.answered(_raw(key)) and not self._kept.has(peer.allowed_ips):
                self.open_flows.arrived(peer.allowed_ips)
            if surely or (stats is not None and self._speaks_here(key, stats.rx, self._where, now)):
                self._where.seen(_raw(key), now, peer.allowed_ips, surely=True)
            elif stats is not None and stats.latest_handshake:
                self._where.seen(_raw(key), now - max(0.0, wall_clock - stats.latest_handshake), peer.allowed_ips)
        self._tell()

    def drawable(self, keys: Iterable[PublicKey]) -> set[PublicKey]:
        """Return those peers that other nodes have, and that did not fail to answer lately."""
        where = self._where if self._reached else None
        return set() if where is None else {key for key in keys if self._drawn.may(where, _raw(key), time.monotonic())}

    async def keep_flows(self, keys: Iterable[PublicKey]) -> None:
        """Have TCP connections of peers who are about to be drawn go on through the nodes that have them now."""
        if self._where is None or self._names is None or not self._keeps():
            return
        for key in self.drawable(keys):
            claim, peer = self._where.claim(_raw(key)), self._reconciler.desired.peers.get(key)
            if claim is not None and peer is not None and claim.number in self._heard.keeping & self._reached:
                self._kept.keep(peer.allowed_ips, claim.number)
        await self._kept.converge(self._names)

    async def draw_first(self, keys: Iterable[PublicKey], within_s: float) -> None:
        """Draw peers before they are called. This node has its own route last: when all others send here, or in time.

        With its first packet it calls them, and none from the node before is to turn them back after that.
        """
        routes, where, raw = self._routes, self._where, [_raw(key) for key in keys]
        if routes is None or where is None:
            return
        try:
            await routes.hold(raw)
            self.draw(keys)
            upto, until = where.upto, time.monotonic() + within_s
            while any(self._followed.get(number, 0) < upto for number in self._reached):
                if time.monotonic() > until:
                    break
                await asyncio.sleep(_POLL_S)
        finally:
            routes.release(raw)
            self._woken.set()
        await routes.follow()

    def draw(self, keys: Iterable[PublicKey]) -> None:
        """Have packets to those of the peers that are drawable come here while they are called."""
        now = time.monotonic()
        for key in self.drawable(keys):
            peer = self._reconciler.desired.peers.get(key)
            if self._where is not None and peer is not None and peer.allowed_ips:
                self._drawn.draw(_raw(key), peer.allowed_ips, now)
                self._where.seen(_raw(key), now, peer.allowed_ips, surely=True)
        self._tell()

    def give_back(self, keys: Iterable[PublicKey], *, at_once: bool = False) -> None:
        """Leave drawn peers to the node that has them, of those that have not answered in time, or at all."""
        if self._where is not None:
            for raw in self._drawn.give_back(map(_raw, keys), time.monotonic(), at_once=at_once):
                self._where.left(raw)
                if (peer := self._reconciler.desired.peers.get(_text(raw))) is not None:
                    self._kept.forget(peer.allowed_ips)
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
        for raw in map(_raw, keys) if keys is not None else self._where.keys():
            if _text(raw) in peers:
                self._where.renew(raw)
            else:
                self._where.left(raw)
        self._tell()

    async def run(self) -> None:
        """Work until cancelled."""
        try:
            async with asyncio.TaskGroup() as tasks:  # one that dies ends all, and the agent, which is restarted
                for each in (self._keep(), self._follow(), self._keep_flows(), self.open_flows.run()):
                    tasks.create_task(each)
        finally:
            self._close()

    async def _keep(self) -> None:
        looked_at = float("-inf")
        while True:
            wanted = self._settings().backbone
            if wanted != self._wanted or time.monotonic() - looked_at >= _LOOK_S:
                await self._look(wanted)
                looked_at = time.monotonic()
            self._greet()
            if self._routes is not None:
                await self._routes.sweep()
            await self._pause(HELLO_S)

    async def remove(self) -> None:
        """Remove everything of the backbone; `run` has ended, or calls this."""
        if self._routes is not None:
            await self._routes.end()
        self._close()
        if self._names is not None:
            await backbone_links.remove(self._machine, self._names)
            self._names = None  # only now: what could not be removed is tried again
            self._kept = KeptUsers()

    def _keeps(self) -> bool:
        return nftables.ends_unknown_flows(self._settings())

    def _settings(self) -> InterfaceSettings:
        return self._reconciler.effective.settings

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._reconciler.settings_changed.wait()
                await asyncio.sleep(0.01)

    async def _look(self, wanted: Backbone | None) -> None:
        settings = self._settings()
        try:
            if wanted is None or not settings.enabled:
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
        await nftables.turn_forwarding_on(settings.addresses)
        networks = [*map(str, pools(settings)), *settings.routes]
        keeps = self._keeps()
        made = await backbone_links.converge(self._machine, names, wanted, sorted(networks), self._called, keeps=keeps)
        received = {node.number: made.received.get(node.public_key, 0) for node in wanted.nodes}
        self._heard.received(received, time.monotonic())
        self._kept.made_again(rules=made.new_rules, tunnel=made.new_tunnel)
        self._woken.set()
        if self._where is None or self._where.number != wanted.number:
            self._begin(names, wanted)
        for number in self._heard.only({node.number for node in wanted.nodes}):
            if self._where is not None:
                self._where.forget(number)
        index = index_of(names.wire)
        if self._socket is None or index != self._wire_index:
            if self._socket is not None:
                self._socket.close()
            self._socket = await NewsSocket.open(wanted.number, names.wire, self._received)
            self._wire_index = index
        if made.new_tunnel and self._routes is not None:
            await self._routes.make_all()

    def _begin(self, names: BackboneNames, wanted: Backbone) -> None:
        self._where = Whereabouts(wanted.number, time.time_ns() // 1_000_000, self._may_claim)
        self._heard.begin(time.monotonic())
        self._reached = frozenset(node.number for node in wanted.nodes)  # until it is known to be otherwise
        self._routes = RouteFollower(names, self._where, lambda: self._reached)
        self._news.begin()
        self.seen(self._reconciler.stats)

    def _close(self) -> None:
        if self._socket is not None:
            self._socket.close()
        self._socket = self._where = self._routes = self._wire_index = None
        self._reached = frozenset()
        self._heard.clear()

    def _may_claim(self, key: bytes, claimed: tuple[str, ...]) -> tuple[str, ...]:
        """Return the networks of a peer: those that it has here, or else such as another node may name.

        A peer that has moved to another node is no peer of this one any more.
        """
        peer = self._reconciler.desired.peers.get(_text(key))
        if peer is not None:
            return peer.allowed_ips
        return believed(claimed, self._settings(), self._reconciler.allowed_ips)

    def _greet(self) -> None:
        """Say to each node how far it was heard, and notice which are silent."""
        if self._where is None or self._socket is None or self._wanted is None:
            return
        now, numbers = time.monotonic(), [node.number for node in self._wanted.nodes]
        for number in numbers:
            self._answer(number)
        reached = frozenset(each for each in numbers if self._heard.is_reached(each, now, was=each in self._reached))
        if reached != self._reached:
            self._reached = reached
            self._tell()

    def _answer(self, number: int) -> None:
        if self._where is not None and self._socket is not None:
            self._since_answer[number] = 0
            where, hears = self._where, self._heard.hears(number, time.monotonic())
            self._socket.send(number, Hello(where.epoch, where.upto, *where.heard_of(number), hears, self._keeps()))

    def _tell(self) -> None:
        """Send what is new to all nodes, and have the routes follow."""
        if self._where is not None:
            self._where.reach(self._reached)
            self._woken.set()
            if self._socket is not None:
                self._news.send(self._where, self._socket, self._reached)

    def _tell_flows(self, parts: Iterable[Flows]) -> None:
        if self._socket is not None:
            for part in parts:
                for number in self._reached:
                    self._socket.send(number, part)

    def _received(self, number: int, message: Datagram) -> None:
        if self._where is None or self._wanted is None or all(number != each.number for each in self._wanted.nodes):
            return
        now = time.monotonic()
        if self._heard.heard(number, now) or (isinstance(message, Hello) and not message.hears):
            self._answer(number)
        if isinstance(message, Hello):
            (self._heard.keeping.add if message.keeps else self._heard.keeping.discard)(number)
            if message.hears:
                self._heard.answered(number, now)
                self._reached |= {number}
            self._where.complete(number, message.epoch, message.upto, now)
            heard = message.heard if message.heard_epoch == self._where.epoch else 0
            self._followed[number] = heard
            if self._socket is not None:
                self._news.repeat(self._where, self._socket, number, heard, now)
        elif isinstance(message, Flows):
            self.open_flows.heard(number, message)
        else:
            missed = self._where.heard(number, message, now)
            self._since_answer[number] = self._since_answer.get(number, 0) + 1
            if missed or self._since_answer[number] >= _ANSWER_EVERY:
                self._answer(number)
            else:
                self._news_of.add(number)
                self._woken.set()
        self._tell()

    async def _follow(self) -> None:
        """Have routes follow whenever something has changed."""
        while True:
            await self._woken.wait()
            self._woken.clear()
            told, self._news_of = self._news_of, set()
            if self._routes is not None:
                await self._routes.follow()
                self.open_flows.arrived(self._drawn.without(self._routes.take_arrived()))
            for number in told:
                self._answer(number)
            self._flows_woken.set()

    async def _keep_flows(self) -> None:
        """Have connections follow as well; that takes a program to run, and no route waits for it."""
        while True:
            await self._flows_woken.wait()
            self._flows_woken.clear()
            if self._names is not None:
                self.open_flows.arrived(self._kept.only_through(self._reached & self._heard.keeping))
                await self._kept.converge(self._names)


def _raw(key: PublicKey) -> bytes:
    return binascii.a2b_base64(key)


def _text(key: bytes) -> PublicKey:
    return PublicKey(base64.b64encode(key).decode())
