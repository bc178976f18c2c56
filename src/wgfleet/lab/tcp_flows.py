"""TCP connections of a user's programs, and the server that they are with: `python -m wgfleet.lab.tcp_flows`.

`serve PORT` answers; `use ADDRESS PORT SECONDS` keeps four connections busy for that long and prints, as JSON, how each
fared: `echo` asks 20 times a second, `idle` every 3 s, `download` only receives, `upload` only sends. A program that
learns that its connection has ended makes a new one at once. It is a program of its own, run in a host.
"""

import json
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field

ECHO_EVERY_S, IDLE_EVERY_S, CHUNK_EVERY_S = 0.05, 3.0, 0.02
CHUNK = b"x" * 1000
_LOOK_S = 0.02
_ACKED = struct.Struct("=Q")
_ACKED_AT = 120  # tcpi_bytes_acked in struct tcp_info (linux/tcp.h)


@dataclass
class Fate:
    """How one program fared; times in s since the epoch. `waits`: from when it wanted something until it got it.

    `ended`: when it learnt that its connection had ended. `waiting_since`: what it waits for at the end.
    """

    waits: list[tuple[float, float]] = field(default_factory=list)
    ended: list[float] = field(default_factory=list)
    waiting_since: float | None = None

    def wants(self) -> None:
        """Begin to wait, if it does not already."""
        if self.waiting_since is None:
            self.waiting_since = time.time()

    def gets(self) -> None:
        """End the wait."""
        if self.waiting_since is not None:
            self.waits.append((self.waiting_since, time.time()))
            self.waiting_since = None


def _ask(connection: socket.socket, every_s: float) -> Iterator[bool]:
    """Ask and wait for the answer, again and again; True where something was got, False: it is wanted now."""
    connection.sendall(b"e")
    while True:
        yield False
        connection.sendall(b"?")
        if not connection.recv(1):
            raise ConnectionResetError
        yield True
        time.sleep(every_s)


def _download(connection: socket.socket) -> Iterator[bool]:
    connection.sendall(b"d")
    while True:
        yield False
        if not connection.recv(len(CHUNK)):
            raise ConnectionResetError
        yield True


def _upload(connection: socket.socket) -> Iterator[bool]:
    connection.sendall(b"u")
    acked = 0
    while True:
        yield False
        with suppress(BlockingIOError):
            connection.send(CHUNK, socket.MSG_DONTWAIT)
        (now,) = _ACKED.unpack_from(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256), _ACKED_AT)
        if now > acked:
            acked = now
            yield True
        time.sleep(CHUNK_EVERY_S)


KINDS: dict[str, Callable[[socket.socket], Iterator[bool]]] = {
    "echo": lambda connection: _ask(connection, ECHO_EVERY_S),
    "idle": lambda connection: _ask(connection, IDLE_EVERY_S),
    "download": _download,
    "upload": _upload,
}


def _use(kind: str, address: str, port: int, fate: Fate) -> None:
    while True:
        fate.wants()
        try:
            with socket.create_connection((address, port)) as connection:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                for got in KINDS[kind](connection):
                    if got:
                        fate.gets()
                    else:
                        fate.wants()
        except OSError:
            fate.ended.append(time.time())


def use(address: str, port: int, seconds: float) -> dict[str, dict[str, object]]:
    """Keep the connections busy for a while; return how each program fared, by kind."""
    fates = {kind: Fate() for kind in KINDS}
    for kind, fate in fates.items():
        threading.Thread(target=_use, args=(kind, address, port, fate), daemon=True).start()
    time.sleep(seconds)
    return {
        kind: {"waits": list(fate.waits), "ended": list(fate.ended), "waiting_since": fate.waiting_since}
        for kind, fate in fates.items()
    }


def _answer(connection: socket.socket) -> None:
    with suppress(OSError), connection:
        kind = connection.recv(1)
        while kind == b"d":
            connection.sendall(CHUNK)
            time.sleep(CHUNK_EVERY_S)
        while data := connection.recv(65536):
            if kind == b"e":
                connection.sendall(data)


def serve(port: int) -> None:
    """Answer all who connect."""
    with socket.create_server(("", port), backlog=256) as listening:
        while True:
            connection, _ = listening.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=_answer, args=(connection,), daemon=True).start()


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(int(sys.argv[2]))
    else:
        sys.stdout.write(json.dumps(use(sys.argv[2], int(sys.argv[3]), float(sys.argv[4]))) + "\n")
