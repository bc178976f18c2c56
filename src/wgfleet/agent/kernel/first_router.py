"""The first router on the machine's way to the internet, as far as it answers: asked by a packet that ends there.

A packet with a hop limit of 1 goes no further than that router, which sends it back as "time exceeded".
"""

import asyncio
import contextlib
import errno
import socket
import struct
import time

from wgfleet.agent.kernel.uplink_mtu import ELSEWHERE

# linux/in.h and in6.h, which Python names in part; linux/errqueue.h: struct sock_extended_err.
_WANT_ERRORS = {4: (socket.IPPROTO_IP, 11), 6: (socket.IPPROTO_IPV6, 25)}
_HOPS = {4: (socket.IPPROTO_IP, socket.IP_TTL), 6: (socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS)}
_ERROR = struct.Struct("=IBBBBII")
_BY_ICMP = {2: 11, 3: 3}  # by origin: the type of "time exceeded"
TRACE_PORT = 33434  # as of traceroute: nobody listens there
_LOOK_S = 0.02


async def answers(version: int, within_s: float) -> bool:
    """Whether it does, within that time."""
    family = socket.AF_INET if version == 4 else socket.AF_INET6  # noqa: PLR2004 - IPv4
    until = time.monotonic() + within_s
    try:
        asked = socket.socket(family, socket.SOCK_DGRAM)
    except OSError:  # a machine without IPv6
        return False
    with asked:
        asked.setblocking(False)
        asked.setsockopt(*_WANT_ERRORS[version], 1)
        asked.setsockopt(*_HOPS[version], 1)
        for _ in range(3):
            try:
                asked.sendto(b"", (ELSEWHERE[version], TRACE_PORT))
            except OSError as error:
                if error.errno != errno.EHOSTUNREACH:  # that is the answer, which came before we asked for it
                    return False
            pause_until = min(until, time.monotonic() + within_s / 3)
            while time.monotonic() < pause_until:
                if _has_expired(asked):
                    return True
                await asyncio.sleep(_LOOK_S)
    return False


def _has_expired(asked: socket.socket) -> bool:
    with contextlib.suppress(OSError):  # nothing there
        _, told, _, _ = asked.recvmsg(512, 512, socket.MSG_ERRQUEUE)
        for _, _, data in told:
            if len(data) >= _ERROR.size:
                _, origin, kind, *_ = _ERROR.unpack_from(data)
                if origin in _BY_ICMP and kind == _BY_ICMP[origin]:
                    return True
    return False
