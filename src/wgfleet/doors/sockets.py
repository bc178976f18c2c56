"""Sockets of listeners: how many may wait in the kernel to be accepted, and what each costs before anybody is known."""

import asyncio
import os
import socket
from asyncio import sslproto

QUEUE = 1024  # a burst of strangers beyond it costs a caller a second, until its first packet is sent again
TLS_BUFFER = 32 * 1024  # two records; asyncio's own are 256 kB, which each connection in a handshake has at once
READ_BUFFER = 16 * 1024  # bytes that are read, and parsed, before others have their turn; asyncio's own is 256 kB


def lengthen_queue(server: asyncio.Server) -> None:
    """Let more connections wait than asyncio's `backlog`, which is also how many it accepts in one go."""
    for listening in server.sockets:
        with socket.socket(fileno=os.dup(listening.fileno())) as same:
            same.listen(QUEUE)


def shrink_tls_buffers() -> None:
    """Let TLS connections that asyncio makes from now on have small buffers."""
    sslproto.SSLProtocol.max_size = TLS_BUFFER


def read_little(transport: asyncio.BaseTransport) -> None:
    """Read little of a connection at a time: what is parsed meanwhile can be thousands of chunks of a byte each."""
    if isinstance(getattr(transport, "max_size", None), int):
        transport.max_size = READ_BUFFER  # type: ignore[attr-defined]  # of asyncio's transports over sockets
