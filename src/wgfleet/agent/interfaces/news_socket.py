"""The socket over which the nodes of a backbone tell each other where peers are.

It is bound to the WireGuard interface of the backbone, which lets each node use its own address only: the address that
a datagram comes from says which node sent it.
"""

import asyncio
import contextlib
import socket
from collections.abc import Callable
from typing import cast

from wgfleet.agent.kernel.commands import KernelError
from wgfleet.protocol.backbone import NEWS_PORT, Datagram, address, decode, encode, number_of
from wgfleet.protocol.ids import InterfaceName

Heard = Callable[[int, Datagram], None]
_BUFFER = 1 << 21  # bytes: a few thousand peers' news while this agent does something else


class NewsSocket(asyncio.DatagramProtocol):
    """An open socket; `heard` gets what other nodes say, with their numbers."""

    def __init__(self, heard: Heard) -> None:
        self._heard = heard
        self._transport: asyncio.DatagramTransport | None = None

    @classmethod
    async def open(cls, number: int, interface: InterfaceName, heard: Heard) -> "NewsSocket":
        """Open it at this node's address."""
        bound = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        try:
            bound.setblocking(False)
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
            bound.bind((address(number), NEWS_PORT))
        except OSError as error:
            bound.close()
            raise KernelError(f"UDP port {NEWS_PORT} on {interface}: {error.strerror}") from None
        _, made = await asyncio.get_running_loop().create_datagram_endpoint(lambda: cls(heard), sock=bound)
        return made

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep what sends."""
        self._transport = cast("asyncio.DatagramTransport", transport)  # whose class says so from Python 3.12 on

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """Pass on what is of ours."""
        message = decode(data)
        if message is not None and addr[1] == NEWS_PORT:
            self._heard(number_of(addr[0]), message)

    def error_received(self, exc: Exception) -> None:
        """Do nothing: a node that cannot be reached is noticed by its silence."""

    def send(self, number: int, message: Datagram) -> None:
        """Send a message to a node; it may get lost."""
        if self._transport is not None and not self._transport.is_closing():
            with contextlib.suppress(OSError):
                self._transport.sendto(encode(message), (address(number), NEWS_PORT))

    def close(self) -> None:
        """Close it; safe to call twice."""
        if self._transport is not None:
            self._transport.close()
