"""What strangers at the doors cost those who have a key: seconds of a call, memory, log. Prints JSON.

Strangers are connections from 200 addresses of loopback; those that a door closes come again within a second. `idle`
say nothing, `slow` send a header a byte a second. A call is a new connection with a key (at the agent's door: with the
panel's certificate) and one request. `alone` are the same calls with nobody else there; `ratio` is p50 with strangers
to p50 alone, so it can be compared between machines. `bodies`: the longest of short calls while 16 MB arrive.

Usage, from the top of the repository: .venv/bin/python -m bench.doors [--calls 100]
"""

import argparse
import asyncio
import contextlib
import json
import multiprocessing
import os
import re
import select
import signal
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx

from tests.agent import test_listener as agents_door

PROGRAM = str(Path(sys.executable).parent / "wgfleet")
SOURCES = [f"127.0.9.{number}" for number in range(1, 201)]
CROWDS = (300, 1000)
SETTLED_S = 3.0
LISTENERS = 2
HEAD = b"GET /healthz HTTP/1.1\r\nX-Slow: " + b"a" * 1000
HOSTILE = b"[" + b"{}," * 5_500_000 + b"{}]"


def crowd(port: int, count: int, *, slow: bool) -> None:
    """Be strangers until killed."""
    there: list[tuple[socket.socket, int]] = []
    while True:
        for number in range(count - len(there)):
            connection = socket.socket()
            connection.setblocking(False)
            connection.bind((SOURCES[number % len(SOURCES)], 0))
            connection.connect_ex(("127.0.0.1", port))
            there.append((connection, 0))
        time.sleep(1)
        poll = select.poll()
        for connection, _ in there:
            poll.register(connection, select.POLLIN | select.POLLHUP | select.POLLERR)
        gone = {descriptor for descriptor, _ in poll.poll(0)}
        kept = []
        for connection, sent in there:
            if connection.fileno() in gone:
                connection.close()
                continue
            if slow:
                with contextlib.suppress(OSError):
                    connection.send(HEAD[sent : sent + 1])
            kept.append((connection, sent + 1))
        there = kept


@contextlib.contextmanager
def strangers(port: int, count: int, *, slow: bool = False) -> Iterator[None]:
    if not count:
        yield
        return
    process = multiprocessing.get_context("spawn").Process(target=crowd, args=(port, count), kwargs={"slow": slow})
    process.start()
    try:
        yield
    finally:
        process.kill()
        process.join()


def timed(call: Callable[[], bool], calls: int) -> dict[str, float]:
    """Make calls, 20 a second; give their seconds, and how many failed."""
    seconds, failed = [], 0
    for _ in range(calls):
        started = time.perf_counter()
        failed += not call()
        seconds.append(time.perf_counter() - started)
        time.sleep(0.05)
    seconds.sort()
    return {
        "p50_ms": round(statistics.median(seconds) * 1000, 1),
        "p99_ms": round(seconds[int(len(seconds) * 0.99)] * 1000, 1),
        "failed": failed,
    }


class Panel:
    """`wgfleet panel run` in a directory of its own, without the machine's node."""

    def __init__(self, directory: Path) -> None:
        self.log = directory / "log"
        self._out = directory / "out"
        words = ["panel", "run", "--data-dir", str(directory / "data"), "--no-panel-node"]
        words += ["--listen", "http://127.0.0.1:0", "--listen", "https://127.0.0.1:0"]
        with self.log.open("w") as log, self._out.open("w") as out:
            self._process = subprocess.Popen([PROGRAM, *words], stdout=out, stderr=log, start_new_session=True)
        while len(ports := re.findall(r"listening on https?://127\.0\.0\.1:(\d+)", self._out.read_text())) < LISTENERS:
            if self._process.poll() is not None:
                raise SystemExit(self.log.read_text())
            time.sleep(0.1)
        self.plain, self.secure = map(int, ports)
        made = subprocess.run(
            [PROGRAM, "panel", "admin-key", "bench", "--data-dir", str(directory / "data")],
            check=True, capture_output=True, text=True,
        )  # fmt: skip
        self.key = re.findall(r"wgf_\S+", made.stdout)[0]
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        self._context = context

    def call(self, path: str = "/api/nodes", *, secure: bool = False) -> bool:
        """Ask with the key, over a new connection."""
        url = f"https://127.0.0.1:{self.secure}" if secure else f"http://127.0.0.1:{self.plain}"
        try:
            with httpx.Client(verify=self._context, trust_env=False, timeout=30) as client:
                return client.get(url + path, headers={"X-API-Key": self.key}).status_code == httpx.codes.OK
        except httpx.HTTPError:
            return False

    def memory_mb(self) -> float:
        """Resident memory of all its processes."""
        session, found = self._process.pid, 0
        for status in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                fields = status.read_text().rsplit(")", 1)[1].split()
                found += int(fields[21]) if int(fields[3]) == session else 0
        return round(found * os.sysconf("SC_PAGE_SIZE") / 2**20, 1)

    def close(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        self._process.wait()


def at_the_panel(panel: Panel, calls: int, *, secure: bool) -> dict[str, Any]:
    port = panel.secure if secure else panel.plain
    alone = timed(lambda: panel.call(secure=secure), calls)
    found: dict[str, Any] = {"alone": alone}
    for name, count, slow in [*((f"idle_{count}", count, False) for count in CROWDS), ("slow_300", 300, True)]:
        memory, logged = panel.memory_mb(), panel.log.stat().st_size
        with strangers(port, count, slow=slow):
            time.sleep(SETTLED_S)
            figures = timed(lambda: panel.call(secure=secure), calls)
            found[name] = {
                **figures,
                "ratio": round(figures["p50_ms"] / alone["p50_ms"], 2),
                "more_memory_mb": round(panel.memory_mb() - memory, 1),
                "log_bytes": panel.log.stat().st_size - logged,
            }
    return found


def bodies(panel: Panel) -> dict[str, Any]:
    """Send 16 MB of `[{},{},...]`, without a key and with it."""
    found = {}
    for name, headers in (("without_key", {}), ("with_key", {"X-API-Key": panel.key})):
        over, memory = threading.Event(), panel.memory_mb()
        longest: list[float] = []

        def ask(over: threading.Event = over, longest: list[float] = longest) -> None:
            while not over.wait(0.02):
                started = time.perf_counter()
                panel.call("/healthz")
                longest.append(time.perf_counter() - started)

        thread = threading.Thread(target=ask)
        thread.start()
        time.sleep(1)
        alone, status = max(longest), 0
        longest.clear()
        with httpx.Client(base_url=f"http://127.0.0.1:{panel.plain}", trust_env=False, timeout=60) as client:
            content = {"Content-Type": "application/json", **headers}
            status = client.post("/api/configs/wg0/peers/batch", content=HOSTILE, headers=content).status_code
        over.set()
        thread.join()
        found[name] = {
            "status": status,
            "alone_longest_ms": round(alone * 1000),
            "longest_ms": round(max(longest, default=0) * 1000),
            "more_memory_mb": round(panel.memory_mb() - memory, 1),
        }
    return found


def at_the_agent(directory: Path, calls: int) -> dict[str, Any]:
    """Connect as the panel does, all in one process with the door: the crowd alone is in another."""
    found: dict[str, Any] = {}

    async def measure(street: agents_door.Street) -> None:
        for count in (0, *CROWDS):
            with strangers(street.port, count):
                await asyncio.sleep(SETTLED_S)
                seconds, failed = [], 0
                for _ in range(calls):
                    started = time.perf_counter()
                    failed += await street.call() != b"HELLO"
                    seconds.append(time.perf_counter() - started)
                    await asyncio.sleep(0.05)
            seconds.sort()
            p50, p99 = statistics.median(seconds) * 1000, seconds[int(len(seconds) * 0.99)] * 1000
            name = f"idle_{count}" if count else "alone"
            found[name] = {"p50_ms": round(p50, 1), "p99_ms": round(p99, 1), "failed": failed}
            if count:
                found[name]["ratio"] = round(p50 / found["alone"]["p50_ms"], 2)

    agents_door.on_the_street(measure, directory)
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--calls", type=int, default=100)
    calls = parser.parse_args().calls
    with tempfile.TemporaryDirectory() as place:
        directory = Path(place)
        panel = Panel(directory)
        try:
            figures = {
                "panel_plain": at_the_panel(panel, calls, secure=False),
                "panel_tls": at_the_panel(panel, calls, secure=True),
                "bodies": bodies(panel),
            }
        finally:
            panel.close()
        figures["agent"] = at_the_agent(directory, calls)
    sys.stdout.write(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
