"""Check that really forwards: a packet of a user's address goes out by the uplink, and its answer comes back.

The agent is a client of its own interface for a second: it adds a peer with an address of the pool that nobody has,
shakes hands with its own WireGuard over loopback, and sends what a user would. So the packet takes the whole way of a
user's: out of the tunnel, through every forward chain and NAT, whatever made them. Owns when to check, and the guest.
"""

import asyncio
import contextlib
import secrets
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import ip_address, ip_interface, ip_network

import structlog

from wgfleet.agent.interfaces.forwarding_questions import PanelQuestion, Question, questions
from wgfleet.agent.interfaces.forwarding_verdict import Evidence, verdict
from wgfleet.agent.interfaces.reconciler import InterfaceReconciler
from wgfleet.agent.kernel import forward_path
from wgfleet.agent.kernel.commands import KernelError
from wgfleet.agent.kernel.machine import Machine, has_ipv6
from wgfleet.probing import tunnel
from wgfleet.probing.prober import Prober
from wgfleet.probing.tunnel import Tunnel
from wgfleet.protocol import forwarding_words as words
from wgfleet.protocol.desired import DesiredPeer, InterfaceSettings
from wgfleet.protocol.diff import FORWARDING, NO_IPV6
from wgfleet.protocol.keys import PublicKey, public_key_of
from wgfleet.protocol.messages import Forwarding, ForwardingState
from wgfleet.protocol.packets import Flow, FlowReply, IpAddress, reply, reset

_EVERY_S, _AGAIN_S = 600.0, 30.0  # between two checks where all is well, and where it is not
_SOON_S, _AT_ONCE_S = 10.0, 2.0  # the same, when something changed on the machine
_LOOK_S = 0.5
_CONNECT_S = 1.5
_TRIES_S = (0.0, 0.25, 0.6)  # when each question is put
_WAIT_S = 1.5  # for answers
_SEARCHED = 4096  # addresses of the pool, from its end
_GUESTS_S = 1.0  # after a guest left, somebody may yet see packets that were its own, and is not to think of users
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class PutQuestion:
    """A question, and the flow in which it is put."""

    question: Question
    flow: Flow


class ForwardingCheck:
    """The check of one interface. `panel`: its URL, which is known once the agent has enrolled."""

    def __init__(
        self, reconciler: InterfaceReconciler, machine: Machine, prober: Prober, panel: Callable[[], str]
    ) -> None:
        self._reconciler = reconciler
        self._machine = machine
        self._prober = prober
        self._panel = panel
        self._checked_at = float("-inf")
        self._changed = True

    def look_again(self) -> None:
        """Note that something changed on the machine."""
        self._changed = True

    async def run(self) -> None:
        """Check until cancelled."""
        while True:
            await asyncio.sleep(_LOOK_S)
            reconciler = self._reconciler
            if not (reconciler.up and reconciler.desired.settings.enabled) or reconciler.muted is not None:
                self._say(())
                self._checked_at = float("-inf")
            elif self._is_due():
                self._changed = False
                self._checked_at = time.monotonic()
                try:
                    self._say(await self._check())
                except (KernelError, OSError) as error:  # the interface went, or the machine takes no more
                    _log.warning("forwarding.not_checked", interface=reconciler.name, reason=str(error))

    def _is_due(self) -> bool:
        well = bool(self._reconciler.forwarding) and all(
            each.state == ForwardingState.OK for each in self._reconciler.forwarding
        )
        soon_s, late_s = (_SOON_S, _EVERY_S) if well else (_AT_ONCE_S, _AGAIN_S)
        return time.monotonic() - self._checked_at >= (soon_s if self._changed else late_s)

    def _say(self, found: Sequence[Forwarding]) -> None:
        if tuple(found) != self._reconciler.forwarding:
            for each in found:
                _log.info("forwarding", interface=self._reconciler.name, **each.described())
            self._reconciler.set_forwarding(tuple(found))

    async def _check(self) -> list[Forwarding]:
        """Check each IP version; twice where one fails, for packets may get lost, or a push come in between."""
        found = await self._look()
        if any(each.state == ForwardingState.FAILED for each in found):
            found = await self._look()
        return found

    async def _look(self) -> list[Forwarding]:
        settings = self._reconciler.effective.settings
        own = {ip_interface(each).version: each for each in reversed(settings.addresses)}
        sources = {version: _free(self._reconciler, own[version]) for version in own}
        usable: dict[int, IpAddress] = {
            version: source
            for version, source in sources.items()
            if source is not None and (version == 4 or has_ipv6(settings.name))  # noqa: PLR2004 - IPv4
        }
        asked = [
            PutQuestion(
                each, Flow(usable[version], each.target, each.protocol, secrets.randbelow(20000) + 40000, each.port)
            )
            for each in await questions(settings, self._prober, self._panel())
            if (version := each.target.version) in usable
        ]
        answered, obstacle = await self._ask(settings, list(usable.values()), asked)
        direct = await self._ask_directly(
            each.question for each in asked if each.flow.version not in {one.flow.version for one in answered}
        )
        return [
            verdict(await self._evidence(settings, own[version], usable, asked, answered, direct, obstacle))
            for version in sorted(own)
        ]

    async def _ask(
        self, settings: InterfaceSettings, sources: Sequence[IpAddress], asked: Sequence[PutQuestion]
    ) -> tuple[list[PutQuestion], str | None]:
        """Put the questions as a guest of the interface; return those answered, and why none could be put."""
        if not asked:
            return [], None
        key = tunnel.new_key()
        guest = public_key_of(key)
        if not await self._let_in(guest, sources):
            return [], words.ADDRESS_TAKEN
        opened: Tunnel | None = None
        try:
            own = public_key_of(settings.private_key)
            opened = await tunnel.connect(key, own, settings.listen_port, _CONNECT_S)
            if opened is None:
                return [], words.NO_WIREGUARD.format(port=settings.listen_port)
            return await put(opened, asked), None
        finally:
            if opened is not None:
                opened.close()
            await asyncio.shield(self._let_go(guest))

    async def _let_in(self, guest: PublicKey, sources: Sequence[IpAddress]) -> bool:
        reconciler = self._reconciler
        allowed = tuple(f"{each}/{each.max_prefixlen}" for each in sources)
        async with reconciler.lock:
            if not reconciler.up or any(map(reconciler.allowed_ips.has, allowed)):
                return False
            reconciler.calling[guest] += 1
            reconciler.guest_until = float("inf")
            reconciler.recheck((guest,))
            await self._machine.change_peers(reconciler.name, upsert={guest: DesiredPeer(allowed)}, remove=())
        return True

    async def _let_go(self, guest: PublicKey) -> None:
        reconciler = self._reconciler
        async with reconciler.lock:
            with contextlib.suppress(KernelError):  # the link is gone, and the guest with it
                await self._machine.change_peers(reconciler.name, upsert={}, remove=(guest,))
            reconciler.calling -= Counter((guest,))
            reconciler.guest_until = time.monotonic() + _GUESTS_S
            reconciler.recheck((guest,))

    async def _ask_directly(self, asked: Iterable[Question]) -> dict[str, bool]:
        """Have the machine itself ask; return who answers, by words."""
        each = list(asked)
        answers = await asyncio.gather(*(question.answers_directly() for question in each))
        return {question.who: answer for question, answer in zip(each, answers, strict=True)}

    async def _evidence(
        self, settings: InterfaceSettings, own: str, usable: dict[int, IpAddress], asked: Sequence[PutQuestion],
        answered: Sequence[PutQuestion], direct: dict[str, bool], obstacle: str | None,
    ) -> Evidence:  # fmt: skip
        network = ip_interface(own).network
        version = network.version
        mine = [each.question.who for each in asked if each.flow.version == version]
        way = await forward_path.way_of(settings.name, own)
        if version == 6 and not has_ipv6(settings.name):  # noqa: PLR2004 - IPv6
            obstacle = NO_IPV6
        elif version not in usable:
            obstacle = words.ALL_IN_USE.format(network=network)
        return Evidence(
            settings.name,
            version,
            str(network),
            settings.masquerade,
            default_route=way is None or not way.is_nowhere,
            came_back=[each.question.who for each in answered if each.flow.version == version],
            only_here=[who for who in mine if direct.get(who)],
            silent=[who for who in mine if direct.get(who) is False],
            faults=[each.observed for each in self._reconciler.drift if each.field == f"{FORWARDING}.ipv{version}"],
            obstacle=obstacle,
        )


async def put(opened: Tunnel, asked: Sequence[PutQuestion]) -> list[PutQuestion]:
    """Put all questions, again and again, until one of each IP version was answered."""
    answered: list[PutQuestion] = []
    waiting = asyncio.create_task(_collect(opened, asked, answered))
    try:
        began = time.monotonic()
        for at in _TRIES_S:
            await asyncio.wait([waiting], timeout=max(0.0, began + at - time.monotonic()))
            if waiting.done():
                return answered
            for each in asked:
                await opened.send(await each.question.packet(each.flow))
        await asyncio.wait([waiting], timeout=_WAIT_S)
    finally:
        waiting.cancel()
        await asyncio.wait([waiting])  # or it would look at its socket's number when that is another socket's
    return answered


async def _collect(opened: Tunnel, asked: Sequence[PutQuestion], answered: list[PutQuestion]) -> None:
    """Collect answers until there is one of each IP version."""
    missing = {each.flow.version for each in asked}
    while missing:
        packet = await opened.receive()
        for each in asked:
            said = reply(packet, each.flow)
            if said is not None and each.question.is_answered(said):
                answered.append(each)
                missing.discard(each.flow.version)
                await _end(opened, each, said)


async def _end(opened: Tunnel, asked: PutQuestion, said: FlowReply) -> None:
    """Leave no half-open connection behind."""
    if isinstance(asked.question, PanelQuestion) and said.accepted:
        await opened.send(reset(asked.flow, asked.question.sequence + 1))


def _free(reconciler: InterfaceReconciler, own: str) -> IpAddress | None:
    """Return an address of a pool that no peer has, from its end, where they are given out last."""
    networks = [
        ip_network(each)
        for peer in reconciler.desired.peers.values()
        for each in peer.allowed_ips
        if not each.endswith(("/32", "/128"))
    ]
    for candidate in _from_the_end(own):
        if reconciler.allowed_ips.has(f"{candidate}/{candidate.max_prefixlen}"):
            continue
        if not any(candidate.version == each.version and candidate in each for each in networks):
            return candidate
    return None


def _from_the_end(own: str) -> Iterator[IpAddress]:
    interface = ip_interface(own)
    network = interface.network
    last = int(network.broadcast_address) - 1
    for number in range(last, max(last - _SEARCHED, int(network.network_address)), -1):
        candidate = ip_address(number) if network.version == 4 else ip_address(number.to_bytes(16))  # noqa: PLR2004 - IPv4
        if candidate != interface.ip:
            yield candidate
