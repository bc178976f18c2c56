"""The system's tools: what goes in and comes out, and that nothing waits for them once it is cancelled."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from wgfleet.agent.kernel import userspace
from wgfleet.agent.kernel.commands import KernelError, output_of, run
from wgfleet.protocol.ids import InterfaceName


def test_stdin_and_stdout_may_be_larger_than_any_pipe() -> None:
    data = os.urandom(3_000_000)
    assert asyncio.run(run("cat", stdin=data)) == data


def test_a_tool_may_open_its_stdin_by_name() -> None:
    assert asyncio.run(run("cat", "/dev/stdin", stdin=b"configuration")) == b"configuration"


def test_a_failure_tells_what_the_tool_said_without_keys() -> None:
    key = "A" * 43 + "="
    with pytest.raises(KernelError, match=r"`sh -c .*` failed: bad \(key\) here"):
        asyncio.run(run("sh", "-c", f"echo bad {key} here >&2; exit 3"))


@pytest.mark.parametrize("streamed", [False, True])
def test_a_tool_that_is_missing_is_named(*, streamed: bool) -> None:
    async def start() -> None:
        if not streamed:
            await run("wgfleet-no-such-tool")
        async with output_of("wgfleet-no-such-tool"):
            pass

    with pytest.raises(KernelError, match="`wgfleet-no-such-tool` is not installed"):
        asyncio.run(start())


def test_output_comes_in_chunks_and_a_failure_at_the_end() -> None:
    got = bytearray()

    async def read() -> None:
        async with output_of("sh", "-c", "head -c 500000 /dev/zero; exit 4") as chunks:
            async for chunk in chunks:
                got.extend(chunk)

    with pytest.raises(KernelError, match="failed with 4"):
        asyncio.run(read())
    assert len(got) == 500_000


def test_a_cancelled_tool_is_killed_and_not_waited_for() -> None:
    pids = []

    async def cancel() -> None:
        async with output_of("sh", "-c", "echo $$; exec sleep 100") as chunks:
            pids.append(int(await anext(chunks)))
            raise asyncio.CancelledError

    started = time.monotonic()
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(cancel())
    assert time.monotonic() - started < 60, "less than the tool sleeps"
    with pytest.raises(ProcessLookupError):
        os.kill(pids[0], 0)


@pytest.mark.parametrize("turns", range(12))
def test_the_event_loop_can_end_at_any_moment_of_a_tools_life(turns: int) -> None:
    async def again_and_again() -> None:
        while True:
            await run("true", stdin=b"input")

    async def read_again_and_again() -> None:
        while True:
            async with output_of("true") as chunks:
                async for _ in chunks:
                    pass

    async def end() -> None:
        tasks = [asyncio.create_task(work()) for work in (again_and_again, again_and_again, read_again_and_again)]
        for _ in range(turns):
            await asyncio.sleep(0)
        del tasks

    asyncio.run(end())


def test_a_process_that_another_program_started_is_not_taken_for_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "wireguard-go"
    program.write_text("#!/bin/sh\necho name in use; exit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(userspace, "_SOCKETS", tmp_path)
    monkeypatch.setattr(userspace, "_TUN", os.devnull)
    with socket.socket(socket.AF_UNIX) as another:
        another.bind(str(tmp_path / "wg0.sock"))
        another.listen()
        assert userspace.process_of(InterfaceName("wg0")) == os.getpid()
        with pytest.raises(KernelError, match="name in use"):
            asyncio.run(userspace.start(InterfaceName("wg0"), tmp_path))


HANDS_ON = """
import os, socket, sys, time
listening = socket.socket(socket.AF_UNIX)
listening.bind(sys.argv[1])
listening.listen()
if child := os.fork():
    print(child, flush=True)
else:
    os.close(1)
    time.sleep(600)
"""


def test_a_process_that_went_into_the_background_is_found_and_not_the_one_that_began_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sockets").mkdir()
    (tmp_path / "other").symlink_to("sockets")
    monkeypatch.setattr(userspace, "_SOCKETS", tmp_path / "sockets")
    given = str(tmp_path / "other" / "wg0.sock")  # as /var/run is another name of /run
    began = subprocess.run([sys.executable, "-c", HANDS_ON, given], stdout=subprocess.PIPE, text=True, check=True)
    child = int(began.stdout)
    try:
        found = [userspace.process_of(InterfaceName("wg0")) for _ in range(2)]
    finally:
        os.kill(child, signal.SIGKILL)
    assert found == [child, child]


BOX = """\
┌──────────────────────────────────────────────────────┐
│   Running wireguard-go is not required because this  │
│   kernel has first class support for WireGuard. See  │
└──────────────────────────────────────────────────────┘
"""


@pytest.mark.parametrize(
    ("printed", "said"),
    [
        (BOX + "ERROR: (wg0) Failed to create TUN device: device or resource busy\n", "ERROR: (wg0) Failed to create"),
        ("panic: out of memory\n\ngoroutine 1:\n", "panic: out of memory goroutine 1:"),
        (BOX, "(no output)"),
        ("", "(no output)"),
    ],
)
def test_why_wireguard_go_ended_is_said_and_not_what_it_says_of_the_kernel(
    tmp_path: Path, printed: str, said: str
) -> None:
    (tmp_path / "wireguard-go.wg0.log").write_text(printed)
    last = userspace.last_words(InterfaceName("wg0"), tmp_path)
    assert (last.startswith(said), "not required" in last) == (True, False), last
    (tmp_path / "wireguard-go.wg1.log").write_text(printed + "x" * 100_000)
    assert len(userspace.last_words(InterfaceName("wg1"), tmp_path)) <= 400
