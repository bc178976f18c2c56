"""What is set of asyncio's sockets holds: the queue in the kernel, and the buffers of TLS."""

import asyncio
import contextlib
import socket
from asyncio import sslproto

import pytest

from wgfleet.doors.sockets import TLS_BUFFER, lengthen_queue, shrink_tls_buffers


def test_more_connections_wait_than_are_accepted_in_one_go() -> None:
    async def waiting() -> int:
        server = await asyncio.get_running_loop().create_server(asyncio.Protocol, "127.0.0.1", 0, backlog=2)
        lengthen_queue(server)
        opened = 0
        with contextlib.ExitStack() as stack:
            for _ in range(100):  # this loop does not run meanwhile: nobody accepts
                client = stack.enter_context(socket.socket())
                client.settimeout(0.5)
                client.connect(server.sockets[0].getsockname())
                opened += 1
        server.close()
        return opened

    assert asyncio.run(waiting()) == 100


def test_tls_connections_get_small_buffers(monkeypatch: pytest.MonkeyPatch) -> None:
    # Of asyncio itself, whose attribute could be gone; not its own value, since other tests shrink the buffers too.
    monkeypatch.setattr(sslproto.SSLProtocol, "max_size", 8 * TLS_BUFFER)
    shrink_tls_buffers()
    assert sslproto.SSLProtocol.max_size == TLS_BUFFER
