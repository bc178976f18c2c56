"""A client's end of a tunnel to an interface of this machine, in this process: a handshake, and IP packets both ways.

What is sent here comes out of the interface as a user's packet does, so the machine treats it as one.
"""

import asyncio
import contextlib
import secrets
import socket
import time

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from wgfleet.protocol.handshake import Ephemeral, initiate, pair, tai64n
from wgfleet.protocol.keys import PrivateKey, PublicKey, raw_to_text
from wgfleet.protocol.transport import TransportSession, begin

_LARGEST = 65535
_TRIES = 3


def new_key() -> PrivateKey:
    """Make a key for one tunnel."""
    return PrivateKey(raw_to_text(X25519PrivateKey.generate().private_bytes_raw()))


class Tunnel:
    """An open tunnel. Close it when done."""

    def __init__(self, connected: socket.socket, session: TransportSession) -> None:
        self._socket = connected
        self._session = session

    async def send(self, packet: bytes) -> None:
        """Send an IP packet."""
        with contextlib.suppress(OSError):  # the interface may be gone: then nothing comes back
            await asyncio.get_running_loop().sock_sendall(self._socket, self._session.seal(packet))

    async def receive(self) -> bytes:
        """Wait for an IP packet."""
        while True:
            packet = self._session.open(await _read(self._socket))
            if packet is not None:
                return packet

    def close(self) -> None:
        """Close it."""
        self._socket.close()


async def _read(connected: socket.socket) -> bytes:
    try:
        return await asyncio.get_running_loop().sock_recv(connected, _LARGEST)
    except OSError:  # what was sent before reached nobody
        await asyncio.sleep(0.01)
        return b""


async def connect(private_key: PrivateKey, public_key: PublicKey, port: int, timeout_s: float) -> Tunnel | None:
    """Shake hands with the interface that listens at `port` of this machine; None where it does not answer."""
    pairing = pair(private_key, public_key)
    connected = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        connected.setblocking(False)
        connected.connect(("127.0.0.1", port))
        for _ in range(_TRIES):
            initiation = initiate(pairing, Ephemeral(), tai64n(time.time_ns()), secrets.randbits(32))
            with contextlib.suppress(TimeoutError, OSError):
                await asyncio.get_running_loop().sock_sendall(connected, initiation.packet)
                async with asyncio.timeout(timeout_s / _TRIES):
                    while True:
                        session = begin(pairing, initiation, await _read(connected))
                        if session is not None:
                            return Tunnel(connected, session)
    except BaseException:
        connected.close()
        raise
    connected.close()
    return None
