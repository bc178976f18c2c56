"""The way in at a listening socket that several processes have: each new connection goes to one that has the fewest.

All hear that somebody has come. Who has more connections than another leaves them to that one for a moment; where it
hangs, or is gone, they are taken then all the same.
"""

import asyncio
import socket
from collections.abc import Callable

import structlog

from wgfleet.doors.folding import Folding
from wgfleet.doors.sockets import QUEUE
from wgfleet.panel import clock
from wgfleet.panel.siblings import Siblings

AT_ONCE = 32  # accepted before those that are connected have their turn
LEFT_S = 0.003  # to others: an event loop goes round within this time, unless it is busy
# Taken at a time of what nobody else took: with one alone, a crowd of strangers keeps newcomers waiting for seconds.
LEFT_OVER = 8
OUT_OF_FILES_S = 1.0

log = structlog.get_logger()
_out_of_files: Folding[str] = Folding("")


class Crowd:
    """The connections of this process, at all of its sockets."""

    def __init__(self, siblings: Siblings) -> None:
        self._siblings = siblings
        self._connections = 0
        siblings.crowds.set(siblings.number, 0)  # one that was killed has left its own

    @property
    def is_smallest(self) -> bool:
        """Whether no other process has fewer connections."""
        return self._siblings.crowds.is_smallest(self._siblings.number)

    def entered(self) -> None:
        """Count a connection in."""
        self._change(1)

    def left(self) -> None:
        """Count a connection out."""
        self._change(-1)

    def _change(self, by: int) -> None:
        self._connections += by
        self._siblings.crowds.set(self._siblings.number, self._connections)


class Entrance:
    """Accepts the connections of one socket, from now until it is closed. `visit` makes the protocol of each.

    The protocol counts itself out of the crowd when its connection is lost.
    """

    def __init__(self, listening: socket.socket, visit: Callable[[], asyncio.Protocol], crowd: Crowd) -> None:
        self._listening = listening
        self._visit = visit
        self._crowd = crowd
        self._loop = asyncio.get_running_loop()
        self._later: asyncio.TimerHandle | None = None
        self._begun: set[asyncio.Task[None]] = set()
        listening.setblocking(False)
        listening.listen(QUEUE)
        self._loop.add_reader(listening.fileno(), self._accept)

    def close(self) -> None:
        """Accept nothing more; connections stay."""
        if self._later is not None:
            self._later.cancel()
        if self._listening.fileno() >= 0:
            self._loop.remove_reader(self._listening.fileno())
        self._listening.close()

    def _accept(self) -> None:
        for _ in range(AT_ONCE):
            if not self._crowd.is_smallest:
                self._pause(LEFT_S)
                return
            if not self._accept_one():
                return

    def _accept_one(self) -> bool:
        try:
            connection, _ = self._listening.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return False
        except OSError as error:  # EMFILE, ENFILE, ENOBUFS, ENOMEM: who waits in the queue goes on waiting
            _out_of_files.ended(clock.monotonic())
            if _out_of_files.note("", clock.monotonic()) is not None:
                log.error("door.out_of_files", error=str(error))  # noqa: TRY400 - not a bug
            self._pause(OUT_OF_FILES_S)
            return False
        connection.setblocking(False)
        self._crowd.entered()
        begun = self._loop.create_task(self._begin(connection))
        self._begun.add(begun)
        begun.add_done_callback(self._begun.discard)
        return True

    async def _begin(self, connection: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(self._visit, connection)
        except OSError as error:
            log.debug("door.not_connected", error=str(error))

    def _pause(self, seconds: float) -> None:
        self._loop.remove_reader(self._listening.fileno())
        self._later = self._loop.call_later(seconds, self._go_on)

    def _go_on(self) -> None:
        """Take some that nobody else has taken, and go on."""
        self._later = None
        self._loop.add_reader(self._listening.fileno(), self._accept)
        for _ in range(LEFT_OVER):
            if not self._accept_one():
                return
