"""A way to a panel that loses what a client sends on its first connections: what packet loss does, but each time."""

import contextlib
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

EVERYTHING = 1 << 30
FIRST = -1  # what is sent before anything is answered: of TLS, the client's first message
_AT_A_TIME = 65536


@dataclass
class Way:
    """Where it begins, how many connections went over it, and their sockets."""

    port: int
    taken: int = 0
    opened: list[socket.socket] = field(default_factory=list)
    carriers: list[threading.Thread] = field(default_factory=list)


@dataclass(frozen=True)
class Loss:
    """How many bytes a connection carries, from the client and from the panel, before it loses everything."""

    sent: int = EVERYTHING
    answered: int = EVERYTHING


@contextmanager
def lossy_way(to_port: int, losses: Sequence[Loss]) -> Iterator[Way]:
    """Lead to a port on this machine. The first connections lose what `losses` says, the others nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        way = Way(listener.getsockname()[1])
        thread = threading.Thread(target=_lead, args=(listener, way, to_port, losses))
        thread.start()
        try:
            yield way
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
            for each in way.opened:
                with contextlib.suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
            for carrier in way.carriers:
                carrier.join()
            for each in way.opened:
                each.close()


def _lead(listener: socket.socket, way: Way, to_port: int, losses: Sequence[Loss]) -> None:
    while True:
        try:
            near, _ = listener.accept()
        except OSError:
            return
        loss = losses[way.taken] if way.taken < len(losses) else Loss()
        way.taken += 1
        far = socket.create_connection(("127.0.0.1", to_port))
        way.opened += [near, far]
        for source, target, most in ((near, far, loss.sent), (far, near, loss.answered)):
            way.carriers.append(threading.Thread(target=_carry, args=(source, target, most)))
            way.carriers[-1].start()


def _carry(source: socket.socket, target: socket.socket, most: int) -> None:
    """Carry bytes until the source ends, which ends the other side too."""
    left = most
    with contextlib.suppress(OSError):
        while data := source.recv(_AT_A_TIME):
            left = len(data) if left == FIRST else left
            if kept := data[:left]:
                target.sendall(kept)
            left -= len(kept)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_RDWR)
