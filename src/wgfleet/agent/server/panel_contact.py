"""The time when this agent last heard from the panel, by what TCP itself has seen.

A write succeeds long after the other side is gone, and a panel may have nothing to ask for minutes. But each heartbeat
of a watch stream is acknowledged by the panel's machine, and the kernel knows when (tcp(7), TCP_INFO).
"""

import asyncio
import socket
import struct
import time

from wgfleet.protocol.messages import HEARTBEAT_S

# struct tcp_info, linux/tcp.h: 8 bytes of states, then words of which these are the 12th and 13th; in ms.
_LAST_DATA_AND_ACK_RECEIVED = struct.Struct("52x2I")
_NEAR_S = 4 * HEARTBEAT_S  # for packets under way and late acknowledgements


class PanelContact:
    """The panel's connections to this agent. Times are in s of the monotonic clock."""

    def __init__(self) -> None:
        self._open: set[asyncio.Transport] = set()
        self._heard_at = float("-inf")

    def admitted(self, transport: asyncio.Transport) -> None:
        """Note a connection that presented the panel's certificate."""
        self._heard_at = time.monotonic()
        self._open = {each for each in self._open if not each.is_closing()}
        self._open.add(transport)

    def is_near(self) -> bool:
        """Whether the panel was heard within the last few heartbeats."""
        return time.monotonic() - self.heard_at() < _NEAR_S

    def heard_at(self) -> float:
        """Return when the panel's machine last sent something on one of the panel's connections."""
        now = time.monotonic()
        for transport in tuple(self._open):
            if transport.is_closing():
                self._open.discard(transport)
                continue
            size = _LAST_DATA_AND_ACK_RECEIVED.size
            try:
                info = transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, size)
            except OSError:
                continue
            silent_ms = min(_LAST_DATA_AND_ACK_RECEIVED.unpack(info))
            self._heard_at = max(self._heard_at, now - silent_ms / 1000)
        return self._heard_at
