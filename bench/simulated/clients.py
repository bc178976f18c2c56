"""Clients on kept-alive connections of plain HTTP on loopback, and a server that answers without doing anything."""

import asyncio
import json
import multiprocessing
import os
import signal
import statistics
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from multiprocessing.connection import Connection
from typing import Self

from wgfleet.process import end_with

LEAST = 20
BAD_REQUEST = 400
WARM = 3  # calls of each client that are not counted


class Refused(Exception):
    """The answer was a problem."""


class Client:
    """A connection that is used for one call after another."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, key: str) -> None:
        self._reader, self._writer, self._key = reader, writer, key

    @classmethod
    async def open(cls, port: int, key: str) -> Self:
        """Connect."""
        return cls(*await asyncio.open_connection("127.0.0.1", port, limit=2**24), key)

    async def call(self, method: str, path: str, body: object = None) -> bytes:
        """Return the body of the answer."""
        content = b"" if body is None else json.dumps(body).encode()
        head = (
            f"{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nx-api-key: {self._key}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(content)}\r\n\r\n"
        )
        self._writer.write(head.encode() + content)
        answer = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        size = int(answer.split(b"content-length: ", 1)[1].split(b"\r\n", 1)[0])
        found = await self._reader.readexactly(size)
        if int(answer[9:12]) >= BAD_REQUEST:
            raise Refused(f"{method} {path}: {answer[9:12].decode()} {found[:500].decode(errors='replace')}")
        return found

    def close(self) -> None:
        """End the connection."""
        self._writer.close()


Call = Callable[[Client], Awaitable[object]]


async def timed(port: int, key: str, call: Call, clients: int, seconds: float) -> list[float]:
    """Have clients call without a pause; return what each call took, in s, in order."""
    taken: list[float] = []

    async def work() -> None:
        client = await Client.open(port, key)
        for _ in range(WARM):
            await call(client)
        until = time.monotonic() + seconds
        for number in count():
            began = time.monotonic()
            if number >= LEAST and began > until:
                break
            await call(client)
            taken.append(time.monotonic() - began)
        client.close()

    async with asyncio.TaskGroup() as group:
        for _ in range(clients):
            group.create_task(work())
    return sorted(taken)


def figures(taken: list[float]) -> dict[str, float]:
    """Return median, 99th percentile and longest in ms of what calls took, in order."""
    return {
        "calls": len(taken),
        "p50_ms": round(statistics.median(taken) * 1000, 2),
        "p99_ms": round(taken[int(len(taken) * 0.99)] * 1000, 2),
        "max_ms": round(taken[-1] * 1000, 2),
    }


@contextmanager
def echo(answers: Mapping[str, bytes]) -> Iterator[int]:
    """Serve the same answers from memory, by path; yields the port."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_serve, args=(there, dict(answers)))
    process.start()
    there.close()
    try:
        yield here.recv()
    finally:
        here.close()
        process.join()


class _Answers(asyncio.Protocol):
    def __init__(self, answers: Mapping[bytes, bytes]) -> None:
        self._answers = answers

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - create_server makes nothing else
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        content = self._answers[data.split(b" ", 2)[1]]
        self._transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(content) + content)


def _serve(control: Connection, answers: Mapping[str, bytes]) -> None:
    end_with(os.getppid(), signal.SIGKILL)
    by_path = {path.encode(): content for path, content in answers.items()}

    async def serve() -> None:
        loop, ended = asyncio.get_running_loop(), asyncio.Event()
        server = await loop.create_server(lambda: _Answers(by_path), "127.0.0.1", 0)
        loop.add_reader(control.fileno(), ended.set)
        control.send(server.sockets[0].getsockname()[1])
        await ended.wait()

    asyncio.run(serve())
