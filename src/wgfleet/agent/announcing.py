"""`wgfleet agent announce`: the process that exabgp runs to announce the floating addresses of this machine.

It tells exabgp to announce what is on the loopback link, of the networks that it was given, and to withdraw what is
there no more, as soon as the kernel says so: an address that its agent does not renew is withdrawn with the kernel. It
needs no privileges. The agent asks at its socket what exabgp does.
"""

import asyncio
import contextlib
import socket
from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address
from pathlib import Path

import msgspec
import structlog

from wgfleet.agent.kernel import changes, host_addresses
from wgfleet.agent.kernel.commands import KernelError
from wgfleet.agent.kernel.exabgp import ExabgpState
from wgfleet.agent.kernel.exabgp_pipes import ExabgpPipes
from wgfleet.agent.kernel.routing_daemons import LINK
from wgfleet.agent.running import log_to_standard_error, until_first
from wgfleet.protocol.addresses import host_network

_EVERY_S = 1.0  # also without a change: exabgp forgets, as when its settings are read again
_SOCKET_MODE = 0o660  # for the group of exabgp, which the agent's unit has
Networks = Sequence[IPv4Network | IPv6Network]
_log = structlog.get_logger()


def announce(networks: Networks, path: Path) -> None:
    """Announce until exabgp ends; raise OSError if the socket cannot be made."""
    log_to_standard_error()  # to standard error: what goes to standard output are commands for exabgp
    asyncio.run(_run(networks, path))


async def _run(networks: Networks, path: Path) -> None:
    pipes = ExabgpPipes()
    announcer = _Announcer(pipes, networks)
    with _listener(path) as listener:
        server = await asyncio.start_unix_server(announcer.tell, sock=listener)
        async with server:
            await until_first(pipes.read(), announcer.run())


def _listener(path: Path) -> socket.socket:
    with contextlib.suppress(FileNotFoundError):
        path.unlink()  # of one that was killed
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    listener.bind(str(path))
    path.chmod(_SOCKET_MODE)
    return listener


class _Announcer:
    """What exabgp is to announce, and what it does."""

    def __init__(self, pipes: ExabgpPipes, networks: Networks) -> None:
        self._pipes = pipes
        self._networks = networks
        self._looking: asyncio.Task[ExabgpState] | None = None
        self._said: str | None = None

    async def run(self) -> None:
        """Keep exabgp's announcements equal to what is on the loopback link."""
        changed = asyncio.Event()
        with contextlib.closing(changes.open_addresses()) as events:

            def note() -> None:
                events.drain()
                changed.set()

            asyncio.get_running_loop().add_reader(events.events, note)
            while True:
                changed.clear()
                await self._converge()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_EVERY_S):
                        await changed.wait()

    async def _converge(self) -> None:
        try:
            wanted = {each for each in await host_addresses.alone_on(LINK) if self._is_ours(each)}
            state = await self._pipes.state()
            announced = {each for each in state.announced if self._is_ours(each)}
            # Withdrawals first: another machine may have the address by now.
            for word, addresses in (("withdraw", announced - wanted), ("announce", wanted - announced)):
                for address in sorted(addresses):
                    await self._pipes.ask(f"{word} route {host_network(address)} next-hop self")
                    _log.info("floating_address.told_to_exabgp", word=word, address=address)
            said = None
        except KernelError as error:
            said = str(error)
        if said != self._said:
            self._said = said
            if said is not None:
                _log.error("floating_address.not_told_to_exabgp", reason=said)

    async def _look(self) -> ExabgpState:
        try:
            return await self._pipes.state()
        except KernelError as error:
            return ExabgpState(fault=str(error))

    def _is_ours(self, address: str) -> bool:
        value = ip_address(address)
        return any(value in network for network in self._networks)

    async def tell(self, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Tell a program that connects what exabgp says now. Those that ask at the same time get the same answer."""
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look())
        with contextlib.suppress(OSError):
            writer.write(msgspec.json.encode(await asyncio.shield(self._looking)) + b"\n")
            await writer.drain()
            writer.close()
