"""An nftables table that lets a WireGuard port send only while somebody keeps it awake. Decides nothing.

The port is in a set with a time-out, and each packet that it sends starts its time again: what WireGuard says keeps it
speaking. Once the time has passed without any, as in a machine that hangs, everything from the port is dropped until it
is put into the set again. `Pulse` sends a packet of that port to this machine itself, so that a WireGuard with nothing
to say goes on speaking; it cannot wake one that is silent.
"""

import asyncio
import contextlib
import os
import re
import socket
import struct
from types import TracebackType
from typing import Self

from wgfleet.agent.kernel import nft_tables
from wgfleet.agent.kernel.commands import KernelError, run
from wgfleet.protocol.ids import InterfaceName

SPEAKS_FOR_S = 2.5
_LOOPBACK = "127.0.0.1"
_ARRIVES_S = 0.2
_LOOK_S = 0.005
_IP = struct.Struct("!BBHHHBBH4s4s")  # RFC 791
_UDP = struct.Struct("!HHHH")
_MARK_BYTES = 8
_PACKETS = re.compile(r"packets (\d+)")


_PREFIX = "wgfleetmute_"
_SPEAKS = "elements = {"  # in what `nft` shows of a table whose port is in the set


def table_of(name: InterfaceName) -> str:
    """Name the table."""
    return _PREFIX + nft_tables.word_of(name)


def rules(name: InterfaceName, port: int) -> str:
    """Render the table."""
    time = f"timeout {round(SPEAKS_FOR_S * 1000)}ms"
    return (
        f"table inet {table_of(name)} {{\n"
        "\tcounter heard {\n\t}\n"
        f"\tchain input {{\n\t\ttype filter hook input priority filter; policy accept;\n"
        f"\t\tudp dport {port} counter name heard\n\t}}\n"
        "\tset speaking {\n\t\ttype inet_service\n\t\tflags dynamic,timeout\n\t}\n"
        "\tchain output {\n\t\ttype filter hook output priority filter; policy accept;\n"
        f"\t\tudp sport {port} udp sport @speaking update @speaking {{ udp sport {time} }} accept\n"
        f"\t\tudp sport {port} drop\n\t}}\n}}\n"
    )


async def speaks(name: InterfaceName, port: int) -> bool | None:
    """Tell whether the port may send; None if there is no table for it."""
    table = table_of(name)
    if table not in await nft_tables.names():
        return None
    found = (await run("nft", "list", "table", "inet", table)).decode()
    if f"udp sport {port} drop" not in found:
        return None
    return _SPEAKS in found


async def heard(name: InterfaceName) -> int:
    """Return how many packets have come to the port, from anybody, since the table was made."""
    found = _PACKETS.search((await run("nft", "list", "counter", "inet", table_of(name), "heard")).decode())
    return int(found[1]) if found else 0


async def arm(name: InterfaceName, port: int) -> None:
    """Make the table, in place of another one; the port may send."""
    table = table_of(name)
    await nft_tables.replace(table, f"{rules(name, port)}{_element(table, port)}")


async def allow(name: InterfaceName, port: int) -> None:
    """Let the port send again."""
    table = table_of(name)
    await run("nft", "-f", "-", stdin=f"flush set inet {table} speaking\n{_element(table, port)}".encode())


async def mute(name: InterfaceName) -> None:
    """Drop what the port sends from now on."""
    await run("nft", "flush", "set", "inet", table_of(name), "speaking")


async def remove(name: InterfaceName) -> None:
    """Remove the table; its absence is no error."""
    await nft_tables.remove(table_of(name))


async def stand_down() -> None:
    """Remove the tables of all ports that may send, so that they go on sending without an agent. Others stay muted."""
    if not nft_tables.available():
        return
    for table in await nft_tables.names():
        if table.startswith(_PREFIX) and _SPEAKS in (await run("nft", "list", "table", "inet", table)).decode():
            await nft_tables.remove(table)


def _element(table: str, port: int) -> str:
    return f"add element inet {table} speaking {{ {port} timeout {round(SPEAKS_FOR_S * 1000)}ms }}\n"


class Pulse:
    """Packets from a port of this machine to itself. Needs CAP_NET_RAW; close it when done."""

    def __init__(self) -> None:
        self._raw = socket.socket(socket.AF_INET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.IPPROTO_RAW)
        self._sink = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._raw.setblocking(False)
        self._sink.setblocking(False)
        self._sink.bind((_LOOPBACK, 0))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._raw.close()
        self._sink.close()

    async def arrives(self, port: int) -> bool:
        """Send a packet from `port`; tell whether it was let through. `KernelError` if that cannot be found out."""
        mark, loop = os.urandom(_MARK_BYTES), asyncio.get_running_loop()
        with contextlib.suppress(BlockingIOError):
            while True:
                self._sink.recv(64)
        try:
            self._raw.sendto(_packet(port, self._sink.getsockname()[1], mark), (_LOOPBACK, 0))
        except PermissionError:  # dropped by our own rule
            return False
        except OSError as error:
            raise KernelError(f"cannot send to {_LOOPBACK}: {error.strerror}") from None
        until = loop.time() + _ARRIVES_S
        while True:
            late = loop.time() > until  # asked before the socket is read, for what came in time counts
            with contextlib.suppress(BlockingIOError):
                while True:
                    if self._sink.recv(64) == mark:
                        return True
            if late:
                return False
            await asyncio.sleep(_LOOK_S)


def _packet(source: int, destination: int, mark: bytes) -> bytes:
    host = socket.inet_aton(_LOOPBACK)
    length = _UDP.size + len(mark)
    # The kernel fills in the checksum of the IP header (raw(7)); 0 is none for UDP (RFC 768).
    header = _IP.pack(0x45, 0, _IP.size + length, 0, 0, 64, socket.IPPROTO_UDP, 0, host, host)
    return header + _UDP.pack(source, destination, length, 0) + mark
