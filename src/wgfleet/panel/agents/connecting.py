"""The opening of connections to agents where packets get lost: soon another try beside the first, and not TCP's own.

TCP repeats a lost first packet after a second (RFC 6298, 5.7), and for as long clients of a dead node would wait for
the call that gives them another.
"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from typing import Any, TypeVar

import httpcore

from wgfleet.panel import clock

FIRST_S, LATER_S = 0.15, 0.3  # until a second try; after that, until a third
KEPT, KEPT_S = 4, 55  # connections that nobody uses
USUAL = 2.0  # times what a connection took at least: a try that is only under way is not repeated

T = TypeVar("T")


class AgentPool(httpcore.AsyncConnectionPool):
    """Connections to one agent for calls, which come up like that.

    Called without the HTTP client above it (httpx), which of a short call takes a third of the time.
    """

    def __init__(
        self,
        tls: ssl.SSLContext,
        socket_options: Sequence[httpcore.SOCKET_OPTION],
        tries: "ConnectionTries | None" = None,
    ) -> None:
        self._backend = PromptBackend(tries=tries)
        super().__init__(
            ssl_context=tls,
            max_connections=None,
            # One carries calls; more only while calls overlap.
            max_keepalive_connections=KEPT,
            keepalive_expiry=KEPT_S,
            socket_options=socket_options,
            network_backend=self._backend,
        )

    async def aclose(self) -> None:
        """Close all connections, those too that are about to come up."""
        await super().aclose()
        await self._backend.end()


class ConnectionTries:
    """Opens connections to one machine: of a few tries side by side, the first that is answered."""

    def __init__(self) -> None:
        self._least_s = 0.0
        self._ending: set[asyncio.Task[None]] = set()

    async def first(self, open_one: Callable[[], Coroutine[Any, Any, T]], close: Callable[[T], Awaitable[object]]) -> T:
        """Return the first connection of those that `open_one` begins; `close` ends one that is not needed."""

        def begin() -> asyncio.Task[T]:
            return asyncio.create_task(open_one())

        begun = clock.monotonic()
        tries = [begin()]
        try:
            for pause_s in self._pauses():
                done, _ = await asyncio.wait(tries, timeout=pause_s, return_when=asyncio.FIRST_COMPLETED)
                if done:
                    break
                tries.append(begin())
            else:
                done, _ = await asyncio.wait(tries, return_when=asyncio.FIRST_COMPLETED)
            up = next((each for each in done if each.exception() is None), next(iter(done)))
            opened = up.result()
            if up is tries[0]:
                took_s = clock.monotonic() - begun
                self._least_s = min(self._least_s or took_s, took_s)
            tries.remove(up)
            return opened
        finally:
            self._end(tries, close)

    async def end(self) -> None:
        """Wait until all tries that were not needed are closed."""
        await asyncio.gather(*self._ending, return_exceptions=True)

    def _pauses(self) -> tuple[float, ...]:
        usual_s = USUAL * self._least_s
        return max(FIRST_S, usual_s), max(LATER_S, usual_s)

    def _end(self, tries: list[asyncio.Task[T]], close: Callable[[T], Awaitable[object]]) -> None:
        """End what is not needed, in a task of its own: who waits for the connection may be cancelled."""
        if tries:
            for each in tries:
                each.cancel()
            task = asyncio.create_task(_close(tries, close))
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)


class PromptBackend(httpcore.AsyncNetworkBackend):
    """Opens TCP connections for httpcore to one machine so."""

    def __init__(
        self, opener: httpcore.AsyncNetworkBackend | None = None, tries: ConnectionTries | None = None
    ) -> None:
        self._opener = opener or httpcore.AnyIOBackend()
        self._tries = tries or ConnectionTries()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's name
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Do as httpcore's own."""
        options = list(socket_options or ())
        return _Stream(
            await self._tries.first(
                lambda: self._opener.connect_tcp(host, port, timeout, local_address, options),
                lambda stream: stream.aclose(),
            )
        )

    async def end(self) -> None:
        """Wait until all tries that were not needed are closed."""
        await self._tries.end()


class _Stream(httpcore.AsyncNetworkStream):
    """A connection that is closed where its TLS handshake is cancelled; httpcore's own would stay open."""

    def __init__(self, stream: httpcore.AsyncNetworkStream) -> None:
        self._stream = stream
        self.read, self.write, self.aclose = stream.read, stream.write, stream.aclose  # type: ignore[method-assign]
        self.get_extra_info = stream.get_extra_info  # type: ignore[method-assign]

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's name
    ) -> httpcore.AsyncNetworkStream:
        """Shake hands."""
        try:
            return await self._stream.start_tls(ssl_context, server_hostname, timeout)
        except BaseException:
            await self._stream.aclose()
            raise


async def _close(tries: list[asyncio.Task[T]], close: Callable[[T], Awaitable[object]]) -> None:
    for result in await asyncio.gather(*tries, return_exceptions=True):
        if not isinstance(result, BaseException):
            await close(result)
