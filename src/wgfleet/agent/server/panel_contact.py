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
# Further on, words of 64 bits: from byte 120 bytes acknowledged, from byte 200 bytes sent, and sent again (Linux 4.19).
_ACKNOWLEDGED, _SENT = struct.Struct("120xQ"), struct.Struct("200x2Q")
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

    def addresses(self) -> frozenset[str]:
        """Return the addresses from which the panel is connected."""
        names = (each.get_extra_info("peername") for each in self._open if not each.is_closing())
        return frozenset(str(name[0]).removeprefix("::ffff:") for name in names if name)

    def sent(self) -> dict[asyncio.Transport, int]:
        """Return how many bytes each of the panel's connections has sent so far."""
        found = {}
        for transport in self._open:
            if (info := _tcp_info(transport, _SENT)) is not None:
                found[transport] = info[0] - info[1]
        return found

    def acknowledged_since(self, sent: object) -> bool:
        """Whether the panel acknowledged something that left after `sent` was read, or made a new connection.

        Only that shows that packets get there: others may still come from there when none does.
        """
        assert isinstance(sent, dict)  # noqa: S101 - what `sent` returned
        for transport in self._open:
            if transport.is_closing():
                continue
            if transport not in sent:
                return True
            if (info := _tcp_info(transport, _ACKNOWLEDGED)) is not None and info[0] > sent[transport]:
                return True
        return False

    def heard_at(self) -> float:
        """Return when the panel's machine last sent something on one of the panel's connections."""
        now = time.monotonic()
        for transport in tuple(self._open):
            if transport.is_closing():
                self._open.discard(transport)
                continue
            if (info := _tcp_info(transport, _LAST_DATA_AND_ACK_RECEIVED)) is not None:
                self._heard_at = max(self._heard_at, now - min(info) / 1000)
        return self._heard_at


def _tcp_info(transport: asyncio.Transport, part: struct.Struct) -> tuple[int, ...] | None:
    """Read a part of struct tcp_info; None where it cannot be had."""
    if transport.is_closing():  # one of TLS that was closed twice can be asked for nothing any more
        return None
    try:
        info = transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, part.size)
        return part.unpack(info)
    except (OSError, struct.error):
        return None
