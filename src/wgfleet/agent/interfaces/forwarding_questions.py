"""Questions that a packet of a user's address carries out of the tunnel: whom, how, and what counts as an answer.

Each goes by UDP or TCP, since firewalls let pings through that let nothing else. Each can be put by the machine itself
as well: who answers neither says nothing about forwarding.
"""

import asyncio
import contextlib
import secrets
import socket
from collections.abc import Iterable
from ipaddress import ip_address, ip_interface, ip_network
from typing import Protocol
from urllib.parse import urlsplit

from wgfleet.agent.kernel import first_router
from wgfleet.agent.kernel.nftables import OWN_LINK
from wgfleet.agent.kernel.uplink_mtu import ELSEWHERE
from wgfleet.probing.prober import Prober
from wgfleet.protocol import forwarding_words as words
from wgfleet.protocol.addresses import split_endpoint
from wgfleet.protocol.desired import InterfaceSettings
from wgfleet.protocol.handshake import Initiation, Pairing, read_answer
from wgfleet.protocol.keys import public_key_of
from wgfleet.protocol.messages import ProbeTarget
from wgfleet.protocol.packets import TCP, UDP, Flow, FlowReply, IpAddress, datagram, syn

_TO_ROUTER_HOPS = 2  # this machine takes one
_NODES = 3  # asked of those that there are
_ANSWER_S = 1.0
_LOOK_UP_S = 2.0


class Question(Protocol):
    """What is asked of `target`. `who`: its words in a sentence."""

    who: str
    target: IpAddress
    port: int
    protocol: int

    async def packet(self, flow: Flow) -> bytes:
        """Form the packet of one try."""
        ...

    def is_answered(self, reply: FlowReply) -> bool:
        """Whether that is an answer, and not of somebody in between."""
        ...

    async def answers_directly(self) -> bool:
        """Whether the machine itself gets an answer."""
        ...


class NodeQuestion:
    """A handshake with another node: it answers who has the probe key."""

    protocol = UDP

    def __init__(self, prober: Prober, target: ProbeTarget) -> None:
        address, self.port = split_endpoint(target.endpoint)
        self.target = ip_address(address)
        self.who = words.NODE.format(endpoint=target.endpoint)
        self._prober = prober
        self._probe = target
        self._asked: list[tuple[Pairing, Initiation]] = []

    async def packet(self, flow: Flow) -> bytes:
        """Form an initiation."""
        pairing, initiation = await self._prober.form(self._probe)
        self._asked.append((pairing, initiation))
        return datagram(flow, initiation.packet)

    def is_answered(self, reply: FlowReply) -> bool:
        """Whether it is of the node's key."""
        return any(read_answer(pairing, initiation, reply.payload) for pairing, initiation in self._asked)

    async def answers_directly(self) -> bool:
        """Probe it as always."""
        return (await self._prober.probe(self._probe, _ANSWER_S)).answer is not None


class PanelQuestion:
    """A connection to the panel, which begins; that it is refused may come from any firewall."""

    protocol = TCP

    def __init__(self, address: str, port: int) -> None:
        self.target, self.port = ip_address(address), port
        self.who = words.PANEL.format(address=address)
        self.sequence = secrets.randbits(31)

    async def packet(self, flow: Flow) -> bytes:
        """Form the first packet of a connection."""
        return syn(flow, self.sequence)

    def is_answered(self, reply: FlowReply) -> bool:
        """Whether its machine accepted."""
        return reply.accepted

    async def answers_directly(self) -> bool:
        """Connect, and leave."""
        try:
            async with asyncio.timeout(_ANSWER_S):
                _, writer = await asyncio.open_connection(str(self.target), self.port)
        except OSError:  # a time-out among them
            return False
        writer.close()
        return True


class RouterQuestion:
    """A packet to somewhere in the internet that ends at the first router, which says so. It goes no further."""

    protocol = UDP
    port = first_router.TRACE_PORT
    who = words.ROUTER

    def __init__(self, version: int) -> None:
        self.target = ip_address(ELSEWHERE[version])

    async def packet(self, flow: Flow) -> bytes:
        """Form a packet for two routers, of which this machine is one."""
        return datagram(flow, b"", _TO_ROUTER_HOPS)

    def is_answered(self, reply: FlowReply) -> bool:
        """Whether a router sent it back."""
        return reply.expired

    async def answers_directly(self) -> bool:
        """Ask it from here."""
        return await first_router.answers(self.target.version, _ANSWER_S)


async def questions(settings: InterfaceSettings, prober: Prober, panel: str) -> list[Question]:
    """Return what there is to ask; `panel` is its URL. Nobody whom users may not reach, nor this machine itself."""
    asked: list[Question] = []
    for one in (settings.mute, settings.floating):
        if one is not None and one.witnesses and not asked:
            own = public_key_of(settings.private_key)
            asked += [NodeQuestion(prober, ProbeTarget(each, own, one.probe_key)) for each in one.witnesses]
    asked = [each for each in asked if _may_ask(settings, each.target)]
    asked = [each for version in (4, 6) for each in [one for one in asked if one.target.version == version][:_NODES]]
    url = urlsplit(panel)
    for address in await _addresses(url.hostname):
        question = PanelQuestion(address, url.port or (443 if url.scheme == "https" else 80))
        if _may_ask(settings, question.target):
            asked.append(question)
    asked += [each for each in map(RouterQuestion, (4, 6)) if _may_ask(settings, each.target)]
    return asked


async def _addresses(host: str | None) -> Iterable[str]:
    if not host:
        return ()
    try:
        async with asyncio.timeout(_LOOK_UP_S):
            found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:  # unknown, or nobody says in time
        return ()
    return dict.fromkeys(str(each[4][0]) for each in found)


def _may_ask(settings: InterfaceSettings, address: IpAddress) -> bool:
    """Whether users may reach an address by way of this machine."""
    denied = () if settings.reach is None else settings.reach.denied_networks
    networks = [*OWN_LINK, *denied, *settings.routes]
    networks += [str(ip_interface(each).network) for each in settings.addresses]
    if any(address.version == each.version and address in each for each in map(ip_network, networks)):
        return False
    return not address.is_loopback and _is_elsewhere(address)


def _is_elsewhere(address: IpAddress) -> bool:
    """Whether the machine has a way to an address, and not the address itself: it would send from there to there."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6  # noqa: PLR2004 - IPv4
    with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as asked:
        asked.connect((str(address), 9))
        return bool(asked.getsockname()[0] != str(address))
    return False
