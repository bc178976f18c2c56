"""Batches of rtnetlink(7) requests, where pyroute2's one at a time (about 1 ms each) would be too slow.

Forms messages, sends them in batches and matches the kernel's replies. Knows only the layout of routes and rules.
"""

import asyncio
import os
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass

NEW_ROUTE, DELETE_ROUTE, GET_ROUTE, NEW_RULE, DELETE_RULE, GET_RULE = 24, 25, 26, 32, 33, 34
REQUEST, ACK, REPLACE, EXCLUSIVE, CREATE = 0x1, 0x4, 0x100, 0x200, 0x400
_HEADER = struct.Struct("IHHII")  # length, type, flags, sequence, port: netlink(7)
_ATTRIBUTE = struct.Struct("HH")
_ERROR, _DONE, _ERRNO = 2, 3, struct.Struct("i")
_DUMP = 0x300  # NLM_F_ROOT and NLM_F_MATCH
_SOL_NETLINK, _STRICT = 270, 12  # NETLINK_GET_STRICT_CHK: dumps are filtered
_BATCH = 64  # as many replies fit the receive buffer of every kernel


@dataclass(frozen=True, slots=True)
class Request:
    """One message: its type, flags besides `REQUEST`, and the fixed part with the attributes."""

    kind: int
    flags: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class Reply:
    """The kernel's reply: `error` is an errno (0: done), `payload` is what was asked for."""

    error: int
    payload: bytes = b""


def attribute(kind: int, value: bytes) -> bytes:
    """Form an attribute, padded to 4 bytes."""
    padding = bytes(-len(value) % 4)
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), kind) + value + padding


def attributes(data: bytes) -> dict[int, bytes]:
    """Parse consecutive attributes; a truncated one is left out."""
    found, at = {}, 0
    while at + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, at)
        if length < _ATTRIBUTE.size:
            break
        found[kind] = data[at + _ATTRIBUTE.size : at + length]
        at += (length + 3) & ~3
    return found


async def exchange(requests: Sequence[Request]) -> list[Reply]:
    """Send requests, each of which must have exactly one reply (an `ACK`, or what a lookup finds), in their order."""
    replies: dict[int, Reply] = {}
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE) as kernel:
        kernel.bind((0, 0))
        for start in range(0, len(requests), _BATCH):
            batch = requests[start : start + _BATCH]
            kernel.send(b"".join(_message(start + i, each) for i, each in enumerate(batch)))
            # The kernel has handled all of it before `send` returned, so nothing here waits.
            while len(replies) < start + len(batch):
                _read(kernel.recv(1 << 16, socket.MSG_DONTWAIT), replies)
            await asyncio.sleep(0)
    return [replies[i] for i in range(len(requests))]


async def dump(kind: int, payload: bytes) -> list[bytes]:
    """Return all that there is of a kind, filtered by the kernel as `payload` says; raise OSError where it cannot."""
    found: list[bytes] = []
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE) as kernel:
        kernel.bind((0, 0))
        kernel.setsockopt(_SOL_NETLINK, _STRICT, 1)
        kernel.send(_message(1, Request(kind, _DUMP, payload)))
        while True:  # the kernel writes the next part while one is read, so nothing here waits
            data = kernel.recv(1 << 16, socket.MSG_DONTWAIT)
            at = 0
            while at + _HEADER.size <= len(data):
                length, what, *_ = _HEADER.unpack_from(data, at)
                if what in {_DONE, _ERROR}:
                    code = -_ERRNO.unpack_from(data, at + _HEADER.size)[0]
                    if code:
                        raise OSError(code, os.strerror(code))
                    return found
                found.append(data[at + _HEADER.size : at + length])
                at += (length + 3) & ~3
            await asyncio.sleep(0)


def _message(sequence: int, request: Request) -> bytes:
    size = _HEADER.size + len(request.payload)
    return _HEADER.pack(size, request.kind, REQUEST | request.flags, sequence, 0) + request.payload


def _read(data: bytes, replies: dict[int, Reply]) -> None:
    at = 0
    while at + _HEADER.size <= len(data):
        length, kind, _, sequence, _ = _HEADER.unpack_from(data, at)
        payload = data[at + _HEADER.size : at + length]
        if kind == _ERROR:
            replies[sequence] = Reply(-_ERRNO.unpack_from(payload)[0])
        else:
            replies[sequence] = Reply(0, payload)
        at += (length + 3) & ~3


def reason(reply: Reply) -> str:
    """Describe the error."""
    return os.strerror(reply.error)
