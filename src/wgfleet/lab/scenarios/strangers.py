"""`strangers`: idle connections stand at every door while nodes die, for `--minutes`.

`--strangers` of them at the panel's listener and at each agent's, from `SOURCES` addresses; what is closed is opened
again. Meanwhile `--rounds` times the busiest node dies as in `failover`, whose figures and bar these are, and one call
with the admin key is made every `CALL_EVERY_S`: `answer_ms` against `answer_before_ms`, the same calls before anybody
came. `strangers`: how many connections were open at the end, opened, closed by the doors and refused, in all.
`panel_kb`, `panel_files`: resident memory and open files of the panel's processes at the end; `log_kb`: what panel and
agents wrote.
"""

import json
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from wgfleet.lab import fleet, processes
from wgfleet.lab.errors import LabError
from wgfleet.lab.panel_client import PanelClient
from wgfleet.lab.progress import Progress
from wgfleet.lab.scenarios import failover, standings
from wgfleet.lab.scenarios.options import ScenarioOptions
from wgfleet.lab.state import Lab
from wgfleet.lab.topology import ROUTER
from wgfleet.protocol.messages import AGENT_PORT

SOURCES = tuple(f"198.19.200.{number}" for number in range(1, 21))  # of the clients' segment, beyond its clients
CALL_EVERY_S = 0.2
BEFORE_S = 15.0
ANSWER_BAR_MS = 1000.0


def run(lab: Lab, options: ScenarioOptions, progress: Progress) -> dict[str, Any]:
    """Let the strangers come, kill nodes, ask the panel; `ok`: failovers and answers are within their bars."""
    fleet.restart_panel(lab, failover.SHORT_TRIAL)
    rounds: list[failover.Round] = []
    with fleet.client(lab) as panel:
        fleet.wait_connected(panel, lab.nodes)
        standings.wait_all_serving(lab, panel, failover.RETURN_S)
        with progress.step("calls before anybody comes"):
            before = _Caller(lab)
            time.sleep(BEFORE_S)
            answers_before = before.end()
        log = _come(lab, options.strangers)
        begun, meanwhile = time.monotonic(), _Caller(lab)
        for number in range(options.rounds):
            with progress.step(f"round {number + 1} of {options.rounds}"):
                _wait_until(begun + number * options.minutes * 60 / options.rounds)
                standings.wait_all_serving(lab, panel, failover.RETURN_S)
                rounds.append(failover.lose_busiest(lab, panel, options))
                standings.wait_all_serving(lab, panel, failover.RETURN_S)
        _wait_until(begun + options.minutes * 60)
        answers = meanwhile.end()
    figures = failover.summary(rounds)
    return {
        **figures,
        "ok": figures["ok"] and not answers["failed"] and answers["p99"] <= ANSWER_BAR_MS,
        "answer_before_ms": answers_before,
        "answer_ms": answers,
        "strangers": json.loads(log.read_text(encoding="ascii").splitlines()[-1]),
        "minutes": round((time.monotonic() - begun) / 60, 1),
        **_weight(lab),
        "each": rounds,
    }


class _Caller:
    """Makes one call after the other until it is ended, over one connection and now and then a new one."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._took_ms: list[float] = []
        self._failed = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="caller", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._ended.is_set():
            with fleet.client(self._lab) as panel:
                for _ in range(10):
                    self._call(panel)
                    if self._ended.wait(CALL_EVERY_S):
                        return

    def _call(self, panel: PanelClient) -> None:
        begun = time.monotonic()
        try:
            panel.call("GET", f"/api/configs/{fleet.CONFIG}/nodes")
        except LabError:
            self._failed += 1
        else:
            self._took_ms.append((time.monotonic() - begun) * 1000)

    def end(self) -> dict[str, Any]:
        """Stop; return percentiles in ms and how many calls had no answer."""
        self._ended.set()
        self._thread.join()
        took = sorted(self._took_ms)
        if not took:
            raise LabError("the panel answered no call at all")
        found = {f"p{percent}": round(failover.percentile(took, percent), 1) for percent in (50, 99)}
        return {**found, "max": round(took[-1], 1), "calls": len(took) + self._failed, "failed": self._failed}


def _come(lab: Lab, count: int) -> Path:
    """Start the strangers in the router, which is on the way to every door; return the log of their counts."""
    router = lab.host(ROUTER)
    for source in SOURCES:
        router.run("ip", "addr", "replace", f"{source}/32", "dev", "lo")
    doors = [f"{lab.host('panel').address}:{fleet.PANEL_PORT}"]
    doors += [f"{host.address}:{AGENT_PORT}" for host in fleet.hosts(lab, "node")]
    module = "wgfleet.lab.idle_connections"
    log = router.start([sys.executable, "-P", "-m", module, str(count), *SOURCES, "--", *doors], "strangers")
    time.sleep(2.0)  # they are there before anything is measured
    return log


def _wait_until(at: float) -> None:
    time.sleep(max(0.0, at - time.monotonic()))


def _weight(lab: Lab) -> dict[str, Any]:
    """Return what the panel's processes take, and what was logged."""
    pids = lab.host("panel").find("panel") + lab.host("panel").find("wgfleet")
    memory_kb = files = 0
    for pid in set(pids):
        with suppress(OSError):
            status = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
            memory_kb += next((int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")), 0)
            files += len(list(Path(f"/proc/{pid}/fd").iterdir()))
    hosts = [lab.host("panel"), *fleet.hosts(lab, "node")]
    logs = [path for host in hosts for path in (host.directory / "log").glob("*.log") if "ping" not in path.name]
    return {
        "panel_kb": memory_kb,
        "panel_files": files,
        "panel_processes": sum(bool(processes.command_line(pid)) for pid in set(pids)),
        "log_kb": round(sum(path.stat().st_size for path in logs) / 1024),
    }
