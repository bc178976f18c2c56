"""Sockets of listeners: how many may wait in the kernel to be accepted, and what each costs before anybody is known."""

import asyncio
import os
import socket
from asyncio import sslproto

QUEUE = 1024  # a burst of strangers beyond it costs a caller a second, until its first packet is sent again
TLS_BUFFER = 32 * 1024  # two records; asyncio's own are 256 kB, which each connection in a handshake has at once


def lengthen_queue(server: asyncio.Server) -> None:
    """Let more connections wait than asyncio's `backlog`, which is also how many it accepts in one go."""
    for listening in server.sockets:
        with socket.socket(fileno=os.dup(listening.fileno())) as same:
            same.listen(QUEUE)


def shrink_tls_buffers() -> None:
    """Let TLS connections that asyncio makes from now on have small buffers."""
    sslproto.SSLProtocol.max_size = TLS_BUFFER
