"""What is read of BIRD's control socket, whatever is at its other end. A real BIRD is asked in tests/panel/floating."""

import asyncio
from pathlib import Path

import pytest

from wgfleet.agent.kernel import bird
from wgfleet.agent.kernel.commands import KernelError

GREETING, RESTRICTED = b"0001 BIRD 2.0.12 ready.\n", b"0016 Access restricted\n"
PROTOCOLS = (
    b"2002-Name       Proto      Table      State  Since         Info\n"
    b"1002-device1    Device     ---        up     20:10:28.004  \n"
    b" upstream   BGP        ---        up     20:10:29.100  Established   \n"
    b" other      BGP        ---        start  20:10:28.004  Active        Socket: Connection refused\n"
    b"0000 \n"
)
ROUTES = b"1007-Table master4:\n 203.0.113.10/32      unicast [upstream 20:10:40.000] * (100) [AS64514i]\n0000 \n"


async def _asked(folder: Path, monkeypatch: pytest.MonkeyPatch, answers: list[bytes], address: str) -> str | None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        left = list(answers)
        writer.write(left.pop(0))
        while left and await reader.readline():
            writer.write(left.pop(0))
        writer.close()

    monkeypatch.setattr(bird, "SOCKET", folder / "bird.ctl")
    async with await asyncio.start_unix_server(serve, folder / "bird.ctl"):
        return await bird.claimant(address)


def test_a_router_says_who_else_has_an_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [GREETING, RESTRICTED, PROTOCOLS, ROUTES]
    assert (
        asyncio.run(_asked(tmp_path, monkeypatch, answers, "203.0.113.10")) == "another machine, says BIRD's upstream,"
    )
    (tmp_path / "bird.ctl").unlink(missing_ok=True)
    answers[-1] = b"8001 Network not found\n"
    assert asyncio.run(_asked(tmp_path, monkeypatch, answers, "203.0.113.11")) is None


@pytest.mark.parametrize(
    "answers",
    [
        [b"x" * 300_000],
        [b"0001-" + b"more\n " * 100_000],
        [GREETING, RESTRICTED, b"9001 syntax error\n"],
        [GREETING],
        [b"\xff\xfe\n"],
    ],
)
def test_whatever_answers_in_its_place_is_an_error_and_no_fault_of_the_agent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answers: list[bytes]
) -> None:
    with pytest.raises(KernelError, match="BIRD"):
        asyncio.run(_asked(tmp_path, monkeypatch, answers, "203.0.113.10"))


def test_a_bird_that_is_not_there_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bird, "SOCKET", tmp_path / "bird.ctl")
    with pytest.raises(KernelError, match="BIRD does not answer"):
        asyncio.run(bird.sessions())
