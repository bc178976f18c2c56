"""Servers in threads of tests, which begin and end as soon as they can.

uvicorn looks ten times a second whether it is to end, and then waits once more: for most tests longer than they take.
"""

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn

_TICK_S = 1.0  # how often uvicorn makes the date of its answers anew
_UNDER_WAY_S = 0.1  # for what is still being answered, as uvicorn gives it
_ROUNDS = 3  # of the loop, in which asyncio takes in who has just come


class HeedfulServer(uvicorn.Server):
    """Hears at once that it is to end."""

    _loop: asyncio.AbstractEventLoop
    _ending: asyncio.Event

    async def main_loop(self) -> None:
        self._loop, self._ending = asyncio.get_running_loop(), asyncio.Event()
        self._running.set()
        while not await self.on_tick(0):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_TICK_S):
                    await self._ending.wait()

    @contextmanager
    def running(self, run: Callable[[], None]) -> Iterator[None]:
        """Have `run`, which serves, run in a thread; end it, and wait for that."""
        self._running = threading.Event()
        thread = threading.Thread(target=run)
        thread.start()
        while not self._running.wait(0.5):
            assert thread.is_alive(), "the server did not start"
        try:
            yield
        finally:
            self.should_exit = True
            self._loop.call_soon_threadsafe(self._ending.set)
            thread.join()


class PromptServer(HeedfulServer):
    """Ends as soon as all is answered, and waits for nobody who only stays connected."""

    @contextmanager
    def served(self, listener: socket.socket | None = None) -> Iterator[int]:
        """Serve in a thread; give the port."""
        sockets = None if listener is None else [listener]
        with self.running(lambda: self.run(sockets)):
            yield int(self.servers[0].sockets[0].getsockname()[1])

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # asyncio loses whom it is just letting in when a server is closed, and what is left would be the collector's,
        # which blames the test that is running when it comes by.
        for server in self.servers:
            for each in server.sockets:
                asyncio.get_running_loop().remove_reader(each.fileno())
        for _ in range(_ROUNDS):
            await asyncio.sleep(0)
        for server in self.servers:
            server.close()
        for each in sockets or []:
            each.close()
        state = self.server_state
        for connection in list(state.connections):
            connection.shutdown()
        until = time.monotonic() + _UNDER_WAY_S
        while (state.tasks or state.connections) and time.monotonic() < until:  # noqa: ASYNC110 - uvicorn tells nobody
            await asyncio.sleep(0.002)
        for connection in list(state.connections):
            connection.transport.abort()
        await asyncio.sleep(0)
