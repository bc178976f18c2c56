"""What is read of control sockets of routing daemons, whatever is at their other end.

Real ones are asked in tests/lab/test_routing_daemons.py.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from wgfleet.agent.kernel.bird import Bird
from wgfleet.agent.kernel.commands import KernelError
from wgfleet.agent.kernel.control_sockets import AT_ONCE
from wgfleet.agent.kernel.exabgp import Exabgp, ExabgpState
from wgfleet.agent.kernel.frr import Frr
from wgfleet.agent.kernel.routing_daemons import RoutingDaemon, RoutingDaemons

GREETING, RESTRICTED = b"0001 BIRD 2.0.12 ready.\n", b"0016 Access restricted\n"
PROTOCOLS = (
    b"2002-Name       Proto      Table      State  Since         Info\n"
    b"1002-device1    Device     ---        up     20:10:28.004  \n"
    b" upstream   BGP        ---        up     20:10:29.100  Established   \n"
    b" other      BGP        ---        start  20:10:28.004  Active        Socket: Connection refused\n"
    b"0000 \n"
)
ROUTES = b"1007-Table master4:\n 203.0.113.10/32      unicast [upstream 20:10:40.000] * (100) [AS64514i]\n0000 \n"


SUMMARY = b'{"ipv4Unicast": {"peers": {"192.0.2.1": {"state": "Established"}, "192.0.2.2": {"state": "Active"}}}}'
PATHS = (
    b'{"paths": [{"sourced": true, "peer": {}}, {"peer": {"peerId": "192.0.2.1"}}, {"peer": {"peerId": "192.0.2.2"}}]}'
)
TOLD = b'{"paths": [{"sourced": true, "bestpath": {"overall": true}}], "advertisedTo": {"192.0.2.1": {}}}'
END = b"\0\0\0\0"


@pytest.fixture
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for sockets: their paths have 107 characters at most, and a test's own folder has its long name."""
    return tmp_path_factory.mktemp("run")


@contextlib.asynccontextmanager
async def _answering(daemon: RoutingDaemon, answers: list[bytes], end: bytes) -> AsyncIterator[None]:
    """Serve at a daemon's socket, where each connection gets the greeting and then an answer for each command."""
    given = iter(answers)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, StopIteration):
            if end == b"\n":
                writer.write(next(given))
            while await reader.readuntil(end):
                writer.write(next(given))
        writer.close()

    daemon.socket.parent.mkdir(parents=True, exist_ok=True)
    async with await asyncio.start_unix_server(serve, daemon.socket):
        yield


async def _asked(daemon: RoutingDaemon, answers: list[bytes], end: bytes) -> str | None:
    async with _answering(daemon, answers, end):
        return await daemon.claimant("203.0.113.10")


async def _announced(
    daemon: RoutingDaemon, answers: list[bytes], end: bytes, addresses: list[str], sessions: list[str]
) -> set[str]:
    async with _answering(daemon, answers, end):
        return await daemon.announced(addresses, sessions)


async def _unguarded(daemon: RoutingDaemon, answers: list[bytes], end: bytes) -> set[str]:
    async with _answering(daemon, answers, end):
        return await daemon.unguarded(["upstream"])


@pytest.mark.parametrize(("last", "expected"), [(ROUTES, "upstream"), (b"8001 Network not found\n", None)])
def test_bird_says_by_which_session_a_router_told_it(run: Path, last: bytes, expected: str | None) -> None:
    answers = [GREETING, RESTRICTED, PROTOCOLS, last]
    assert asyncio.run(_asked(Bird(run), answers, b"\n")) == expected


@pytest.mark.parametrize(("last", "expected"), [(PATHS, "neighbor 192.0.2.1"), (b"{\n}\n", None)])
def test_frr_says_by_which_neighbor_a_router_told_it(run: Path, last: bytes, expected: str | None) -> None:
    assert asyncio.run(_asked(Frr(run), [SUMMARY + END, last + END], b"\0")) == expected


@pytest.mark.parametrize(
    ("sessions", "refused"),
    [(["upstream"], []), (["upstream6", "upstream"], [b"8003 No\n", b"8003-In two\n8003 lines\n", b"9001 No\n"])],
    ids=["alone", "after another"],
)
def test_bird_is_asked_about_all_addresses_in_one_conversation_and_may_refuse_some(
    run: Path, sessions: list[str], refused: list[bytes]
) -> None:
    asked = ["203.0.113.10", "203.0.113.11", "203.0.113.12"]
    answers = [GREETING, RESTRICTED, *refused, ROUTES, b"8001 Network not found\n", ROUTES]
    assert asyncio.run(_announced(Bird(run), answers, b"\n", asked, sessions)) == {asked[0], asked[2]}


def test_many_addresses_are_asked_about_in_several_conversations(run: Path) -> None:
    asked = [f"203.0.113.{i}" for i in range(AT_ONCE + 2)]
    answers = [GREETING, RESTRICTED, *[ROUTES] * AT_ONCE, GREETING, RESTRICTED, b"8001 Network not found\n", ROUTES]
    assert asyncio.run(_announced(Bird(run), answers, b"\n", asked, ["upstream"])) == {*asked} - {asked[-2]}
    answers = [TOLD + END] * (AT_ONCE + 1) + [b"{\n}\n" + END]
    assert asyncio.run(_announced(Frr(run), answers, b"\0", asked, ["192.0.2.1"])) == {*asked[:-1]}


def test_bird_without_bfd_and_one_whose_neighbor_has_none(run: Path) -> None:
    neighbor = (
        b"1002-upstream   BGP        ---        up     20:10:29.100  Established   \n     Neighbor address: %s\n0000 \n"
    )
    up = (
        b"1020-bfd1:\n IP address                Interface  State      Since         Interval  Timeout\n"
        b" 192.0.2.1                 eth0       Up         20:10:29.100    0.150    0.600\n"
        b" 192.0.2.2                 eth0       Down       20:10:29.100    0.150    0.000\n0000 \n"
    )
    for bfd, address, expected in (
        (b"9001 There is no BFD protocol running\n", b"192.0.2.1", {"upstream"}),
        (up, b"192.0.2.1", set()),
        (up, b"192.0.2.2", {"upstream"}),
        (up, b"192.0.2.3", {"upstream"}),
    ):
        assert asyncio.run(_unguarded(Bird(run), [GREETING, RESTRICTED, bfd, neighbor % address], b"\n")) == expected


def test_exabgp_is_asked_once_about_all_addresses(run: Path) -> None:
    told = {"203.0.113.10": ("192.0.2.1",), "203.0.113.11": ("192.0.2.9",), "2001:db8::10": ("192.0.2.2", "192.0.2.1")}
    answers = [msgspec.json.encode(ExabgpState(announced=told)) + b"\n"]
    asked = [*told, "203.0.113.12"]
    found = asyncio.run(_announced(Exabgp(run), answers, b"\n", asked, ["192.0.2.1"]))
    assert found == {"203.0.113.10", "2001:db8::10"}


@pytest.mark.parametrize(
    ("daemon", "end", "answers"),
    [
        (Bird, b"\n", [b"x" * 300_000]),
        (Bird, b"\n", [b"0001-" + b"more\n " * 100_000]),
        (Bird, b"\n", [GREETING, RESTRICTED, b"9001 syntax error\n"]),
        (Bird, b"\n", [GREETING]),
        (Bird, b"\n", [b"\xff\xfe\n"]),
        (Frr, b"\0", [b"x" * 1_200_000]),
        (Frr, b"\0", [b"% Unknown command\n\0\0\0\2"]),
        (Frr, b"\0", [b"[]" + END]),
        (Frr, b"\0", [b"{" + END]),
        (Frr, b"\0", [b"{"]),
        (Exabgp, b"\n", [b"x" * 300_000]),
        (Exabgp, b"\n", [b'{"sessions": 7}\n']),
        (Exabgp, b"\n", [b'{"fault": "exabgp does not answer its process"}\n']),
        (Exabgp, b"\n", [b"{}"]),
    ],
)
def test_whatever_answers_in_its_place_is_an_error_and_no_fault_of_the_agent(
    run: Path, daemon: type[Bird | Frr | Exabgp], end: bytes, answers: list[bytes]
) -> None:
    found = daemon(run)
    with pytest.raises(KernelError, match=found.name):
        asyncio.run(_asked(found, answers, end))


@pytest.mark.parametrize("daemon", [Bird, Frr, Exabgp])
def test_one_that_is_not_there_is_an_error(run: Path, daemon: type[Bird | Frr | Exabgp]) -> None:
    found = daemon(run)
    with pytest.raises(KernelError, match=f"{found.name} does not answer"):
        asyncio.run(found.sessions())


def test_where_none_is_there_all_are_named(run: Path) -> None:
    with pytest.raises(KernelError, match=r"bird\.ctl \(BIRD\), .*bgpd\.vty \(FRR\), .*wgfleet\.sock \(exabgp\)"):
        asyncio.run(RoutingDaemons(run).claimant("203.0.113.10"))
