"""Delay of what decides about health while callers flood the API: in one process with the API, and in a process apart.

A panel with 1,000 peers runs on SQLite, first as one process, then as `panel run` does. 16 callers list peers and make
some without a pause. Meanwhile, where the core runs, a task sleeps for 50 ms (`lag_s`: how much longer it took, which
is how late a probe, a heartbeat or a decision is taken up), reads what is watched (`read_s`) and writes (`write_s`),
as each decision does. Prints one JSON object; `ratio`: of the 99th percentiles, one process by two.
"""

import asyncio
import json
import multiprocessing
import os
import signal
import statistics
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import AsyncExitStack
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import httpx
import structlog

from wgfleet.panel.core import run_core
from wgfleet.panel.listening import PanelServer, Sockets, open_sockets
from wgfleet.panel.main import api_of, build
from wgfleet.panel.parts import Parts, opened, prepare
from wgfleet.panel.reconcile.engine.threads import in_thread
from wgfleet.panel.server_certificate import ServerCertificate
from wgfleet.panel.services import audit, configs, health
from wgfleet.panel.services.fleet import peers
from wgfleet.panel.settings import Listener, Settings
from wgfleet.panel.store import Store
from wgfleet.panel.vault import Vault

PEERS, CALLERS, WRITERS, SECONDS, TICK_S = 1000, 14, 2, 20.0, 0.05
FORK = multiprocessing.get_context("fork")
Figures = dict[str, dict[str, float]]


async def sample(store: Store, vault: Vault, results: Connection) -> None:
    """Measure until the process ends; send what was measured whenever asked."""
    found: dict[str, list[float]] = defaultdict(list)

    def read() -> None:
        with store.read() as tx:
            health.watched(tx, vault, lambda _name, _error: None)

    def write() -> None:
        with store.write() as tx:
            audit.record(tx, "bench", "written", "bench", "1")

    async def timed(name: str, work: Callable[[], None]) -> None:
        began = time.monotonic()
        await in_thread(work)
        found[name].append(time.monotonic() - began)

    while True:
        began = time.monotonic()
        await asyncio.sleep(TICK_S)
        found["lag_s"].append(time.monotonic() - began - TICK_S)
        await timed("read_s", read)
        await timed("write_s", write)
        if results.poll():
            results.recv()
            results.send(dict(found))
            found.clear()


def one_process(settings: Settings, sockets: Sockets, results: Connection) -> None:
    app = build(settings)
    panel = app.state.panel
    tasks = []

    async def started() -> None:
        tasks.append(asyncio.create_task(sample(panel.store, panel.vault, results)))

    asyncio.run(PanelServer(app, sockets, ServerCertificate(settings), started, settings.door).serve())


def core(parts: Parts, results: Connection) -> None:
    async def beside(stack: AsyncExitStack) -> None:
        task = asyncio.create_task(sample(mine.store, mine.vault, results))
        stack.callback(task.cancel)

    with opened(parts.settings, parts.vault) as mine:
        asyncio.run(run_core(mine, "bench:1", beside))


def api(parts: Parts, sockets: Sockets) -> None:
    async def started() -> None:
        pass

    os.nice(5)
    with opened(parts.settings, parts.vault) as mine:
        app = api_of(mine, "bench:1")
        asyncio.run(PanelServer(app, sockets, ServerCertificate(mine.settings), started, mine.settings.door).serve())


def flood(url: str, key: str, stop: Event, answers: Any) -> None:
    def call(number: int) -> None:
        with httpx.Client(headers={"x-api-key": key}, timeout=60, trust_env=False) as client:
            while not stop.is_set():
                if number < CALLERS:
                    client.get(f"{url}/api/configs/wg0/peers?limit=500").raise_for_status()
                else:
                    client.post(f"{url}/api/configs/wg0/peers", json={"name": f"w{time.time_ns()}"}).raise_for_status()
                with answers.get_lock():
                    answers.value += 1

    threads = [threading.Thread(target=call, args=(number,), daemon=True) for number in range(CALLERS + WRITERS)]
    for thread in threads:
        thread.start()
    stop.wait()


def figures(results: Connection) -> Figures:
    results.send("ask")
    results.recv()  # what was before does not count
    time.sleep(SECONDS)
    results.send("ask")
    shown = {}
    for name, values in results.recv().items():
        ordered = sorted(values)
        shown[name] = {
            "median": round(statistics.median(ordered), 4),
            "p99": round(ordered[int(len(ordered) * 0.99)], 4),
            "longest": round(ordered[-1], 4),
        }
    return shown


def measured(parts: Parts, key: str, sockets: Sockets, *, apart: bool) -> dict[str, Any]:
    here, there = FORK.Pipe()
    work: list[tuple[Callable[..., None], tuple[Any, ...]]] = (
        [(core, (parts, there)), (api, (parts, sockets))]
        if apart
        else [(one_process, (parts.settings, sockets, there))]
    )
    running = [FORK.Process(target=target, args=arguments) for target, arguments in work]
    for process in running:
        process.start()
    url = str(sockets[0][0])
    while True:
        try:
            if httpx.get(f"{url}/readyz", trust_env=False).is_success:
                break
        except httpx.HTTPError:
            time.sleep(0.1)
    quiet = figures(here)
    stop, answers = FORK.Event(), FORK.Value("q", 0)
    caller = FORK.Process(target=flood, args=(url, key, stop, answers))
    caller.start()
    time.sleep(3)
    before = answers.value
    flooded = figures(here)
    calls_s = round((answers.value - before) / SECONDS, 1)
    stop.set()
    caller.join(10)
    for process in (caller, *running):
        if process.pid and process.is_alive():
            os.kill(process.pid, signal.SIGKILL)
        process.join()
    return {"quiet": quiet, "flooded": flooded, "answers_a_second": calls_s}


def main() -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(data_dir=Path(folder))
        parts, key = prepare(settings)
        if key is None:
            raise RuntimeError("a new panel makes a first key")
        with parts.store.write() as tx:
            config = configs.create(tx, parts.vault, "bench", configs.ConfigSpec("wg0", "cluster", ["10.0.0.0/16"]))
            specs = [peers.PeerSpec(f"p{number}") for number in range(PEERS)]
            peers.create(tx, "bench", config, peers.draft(parts.vault, specs))
        parts.store.close()
        found: dict[str, Any] = {}
        for name, apart in (("one_process", False), ("two_processes", True)):
            sockets = open_sockets([Listener("http", "127.0.0.1", 0)])
            found[name] = measured(parts, key, sockets, apart=apart)
    one, two = found["one_process"]["flooded"], found["two_processes"]["flooded"]
    ratio = {name: round(one[name]["p99"] / two[name]["p99"], 1) for name in one}
    json.dump({**found, "ratio": ratio}, sys.stdout)
    print()


if __name__ == "__main__":
    main()
