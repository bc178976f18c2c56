"""The clients and the floor of bench/api.py: each client calls a few times, and is answered what was given."""

import asyncio

import pytest

from bench.simulated.clients import LEAST, Client, Refused, echo, figures, timed
from bench.simulated.people import name_of


def test_clients_of_the_bench_call_a_few_times_and_get_their_answers() -> None:
    found: set[bytes] = set()

    async def call(client: Client) -> None:
        found.add(await client.call("GET", "/a"))

    with echo({"/a": b"answer"}) as port:
        taken = asyncio.run(timed(port, "key", call, clients=2, seconds=0))
    assert found == {b"answer"}
    assert len(taken) == 2 * LEAST
    assert taken == sorted(taken)


def test_a_problem_ends_the_run() -> None:
    async def problem(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno")
        writer.close()

    async def run() -> None:
        async with await asyncio.start_server(problem, "127.0.0.1", 0) as server:
            client = await Client.open(server.sockets[0].getsockname()[1], "key")
            try:
                await client.call("GET", "/a")
            finally:
                client.close()

    with pytest.raises(Refused, match="404 no"):
        asyncio.run(run())


def test_figures_are_of_what_calls_took_in_order() -> None:
    assert figures([0.001] * 98 + [0.002, 0.003]) == {"calls": 100, "p50_ms": 1.0, "p99_ms": 3.0, "max_ms": 3.0}


def test_no_two_people_have_one_name() -> None:
    assert len({name_of(number) for number in range(5000)}) == 5000
