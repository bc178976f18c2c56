"""The processes of a panel: killed one by one, and two panels on one data directory or one database."""

import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests import programs
from tests.waiting import eventually
from wgfleet.panel.store.turns import WriterTurns

pytestmark = pytest.mark.slow

# The same program, which takes a process for hung after ten seconds.
SIGN_S, HANGS_AFTER = 0.2, 50
SET = f"from wgfleet.panel import processes; processes.SIGN_S, processes.HANGS_AFTER = {SIGN_S}, {HANGS_AFTER}"
IMPATIENT = [sys.executable, "-c", f"{SET}; from wgfleet.cli import main; main()"]


class Running:
    """A panel's parent, and the way to its API."""

    def __init__(self, data_dir: Path, *arguments: str, url: str | None = None, program: Sequence[str] = ()) -> None:
        self.data_dir = data_dir
        words = ["panel", "run", "--data-dir", str(data_dir), "--no-panel-node", "--listen", "127.0.0.1:0", *arguments]
        environment = {**os.environ, **({"WGFLEET_DATABASE_URL": url} if url else {})}
        ends: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "env": environment}
        self.process = (
            subprocess.Popen([*program, *words], text=True, **ends) if program else programs.Forked(words, **ends)
        )
        self.lines: list[str] = []
        self.url = ""

    def until(self, *words: str) -> str:
        """Read what it prints up to the last of the lines with these words, in any order; return that line."""
        assert self.process.stdout
        missing = set(words)
        for line in self.process.stdout:
            self.lines.append(line.strip())
            if line.startswith("listening on"):
                self.url = line.split()[-1]
            missing -= {text for text in missing if text in line}
            if not missing:
                return line
        pytest.fail(f"it ended without saying {missing}: {self.lines}")

    def ready(self) -> dict[str, Any] | None:
        return self._readiness(httpx.codes.OK)

    def unavailable(self) -> dict[str, Any] | None:
        return self._readiness(httpx.codes.SERVICE_UNAVAILABLE)

    def _readiness(self, status: int) -> dict[str, Any] | None:
        """What `/readyz` says with a status; None: it has another, or is not heard."""
        try:
            answer = httpx.get(f"{self.url}/readyz", timeout=10, trust_env=False)
        except httpx.HTTPError:
            return None
        found: dict[str, Any] = answer.json()
        return found if answer.status_code == status else None

    def call(self, method: str, path: str, body: object = None) -> Any:
        key = (self.data_dir / "first-admin-key").read_text().strip()
        headers = {"authorization": f"Bearer {key}"}
        answer = httpx.request(method, self.url + path, json=body, headers=headers, timeout=60, trust_env=False)
        assert answer.is_success, answer.text
        return answer.json()

    def child(self, name: str) -> psutil.Process | None:
        for child in psutil.Process(self.process.pid).children():
            with suppress(psutil.NoSuchProcess):  # it ended while it was looked at
                if child.name() == f"wgfleet-{name}":
                    return child
        return None


@contextmanager
def running(data_dir: Path, *arguments: str, url: str | None = None, program: Sequence[str] = ()) -> Iterator[Running]:
    panel = Running(data_dir, *arguments, url=url, program=program)
    try:
        yield panel
    finally:
        panel.process.kill()
        panel.process.wait()
        assert panel.process.stdout
        panel.process.stdout.close()


def gone(processes: list[psutil.Process]) -> bool:
    return all(not each.is_running() or each.status() == psutil.STATUS_ZOMBIE for each in processes)


def test_each_process_comes_back_when_it_is_killed_and_all_end_with_the_parent(tmp_path: Path) -> None:
    with running(tmp_path / "data") as panel:
        panel.until("CA fingerprint")
        eventually(lambda: panel.ready() == {"status": "ok"})
        for name in ("core", "api-1"):
            before = eventually(lambda name=name: panel.child(name))  # type: ignore[misc]
            before.kill()
            after = eventually(
                lambda name=name, old=before.pid: (now := panel.child(name)) and now.pid != old and now  # type: ignore[misc]
            )
            assert after.pid != before.pid
            eventually(panel.ready)
        children = psutil.Process(panel.process.pid).children(recursive=True)
        assert len(children) >= 2
        panel.process.send_signal(signal.SIGKILL)
        eventually(lambda: gone(children))


def suspend_at_rest(panel: Running, core: psutil.Process) -> None:
    """Stop the core between two of its transactions: all others would wait for one that it has begun."""

    def rests() -> bool:
        core.suspend()
        turns = WriterTurns(panel.data_dir / "panel.sqlite")
        if turns.acquire(0.2):
            turns.release()
            return True
        core.resume()
        return False

    eventually(rests)


def test_readiness_says_that_the_core_hangs_and_the_api_goes_on(tmp_path: Path) -> None:
    with running(tmp_path / "data") as panel:
        panel.until("CA fingerprint")
        eventually(panel.ready)
        core = eventually(lambda: panel.child("core"))
        suspend_at_rest(panel, core)
        try:
            answer = eventually(panel.unavailable)
            assert answer["reasons"] == ["no process decides: the panel's core is not heard"]
            assert panel.call("POST", "/api/nodes", {"name": "fra1", "endpoint_addresses": ["192.0.2.1"]})
            assert "wgfleet_nodes 1.0" in httpx.get(
                f"{panel.url}/metrics",
                headers={"x-api-key": (panel.data_dir / "first-admin-key").read_text().strip()},
                trust_env=False,
            ).text  # fmt: skip
        finally:
            core.resume()
        eventually(panel.ready)


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """What a panel that is started now tells systemd."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(str(tmp_path / "notify"))
        heard.settimeout(60)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield heard


@pytest.mark.parametrize("name", ["core", "api-1"])
def test_a_process_that_hangs_is_started_again(tmp_path: Path, systemd: socket.socket, name: str) -> None:
    with running(tmp_path / "data", program=IMPATIENT) as panel:
        panel.until("CA fingerprint")
        # Until then one may not have given its first sign of life, from which on they are counted.
        assert systemd.recv(100) == b"READY=1"
        eventually(panel.ready)
        hung = eventually(lambda: panel.child(name))
        hung.suspend()
        panel.until("process.hangs")
        assert eventually(lambda: (now := panel.child(name)) and now.pid != hung.pid)
        eventually(lambda: panel.ready() == {"status": "ok"})


def test_a_pause_of_the_whole_panel_kills_none_of_it(tmp_path: Path) -> None:
    with running(tmp_path / "data", program=IMPATIENT) as panel:
        panel.until("CA fingerprint")
        eventually(panel.ready)
        parent = psutil.Process(panel.process.pid)
        before = parent.children()
        for process in (*before, parent):
            process.suspend()
        time.sleep((HANGS_AFTER + 2) * SIGN_S)
        # The parent first, which then looks before the others have said anything.
        parent.resume()
        time.sleep(5 * SIGN_S)
        for process in before:
            process.resume()
        eventually(panel.ready)
        assert parent.children() == before


def test_systemd_hears_when_all_processes_work_and_that_they_do(
    tmp_path: Path, systemd: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "6000000")
    with running(tmp_path / "data") as panel:
        while (heard := systemd.recv(100)) == b"WATCHDOG=1":
            continue
        assert heard == b"READY=1"
        panel.until("CA fingerprint")
        eventually(lambda: panel.ready() == {"status": "ok"})
        assert systemd.recv(100) == b"WATCHDOG=1"
        panel.process.send_signal(signal.SIGTERM)
        while (heard := systemd.recv(100)) == b"WATCHDOG=1":
            continue
        assert heard == b"STOPPING=1"


def test_a_signal_ends_all_of_it_in_order(tmp_path: Path) -> None:
    with running(tmp_path / "data") as panel:
        panel.until("CA fingerprint")
        children = psutil.Process(panel.process.pid).children(recursive=True)
        panel.process.send_signal(signal.SIGTERM)
        assert panel.process.wait(60) == 0
        assert gone(children)
        assert list((panel.data_dir / "panel.sqlite-exchange").iterdir()) == []


def test_a_second_panel_on_a_data_directory_says_whose_it_is_or_waits_for_its_end(tmp_path: Path) -> None:
    with running(tmp_path / "data") as first:
        first.until("CA fingerprint")
        with running(tmp_path / "data") as second:
            line = second.until("error:")
            assert f"another panel (process {first.process.pid}) runs on {tmp_path}/data" in line
            assert "--standby" in line
            assert second.process.wait(60) == 1
        with running(tmp_path / "data", "--standby") as third:
            third.until("waiting for its end")
            first.process.kill()
            third.until("CA fingerprint")
            eventually(third.ready)


def test_of_two_panels_on_one_database_one_decides_and_the_other_takes_over(
    tmp_path: Path, postgresql_url: str
) -> None:
    with running(tmp_path / "one", url=postgresql_url) as first:
        first.until("CA fingerprint")
        eventually(first.ready)
        (tmp_path / "two").mkdir(mode=0o700)
        for name in ("master.key", "first-admin-key"):
            shutil.copy2(tmp_path / "one" / name, tmp_path / "two" / name)
        with running(tmp_path / "two", url=postgresql_url) as second:
            second.until("core.waits", "CA fingerprint")
            assert eventually(second.ready) == {"status": "ok", "standby": True}
            eventually(lambda: first.ready() == {"status": "ok"})
            # Its API serves, and what is written there reaches the core that decides.
            config = second.call("POST", "/api/configs", {"name": "wg0", "pools": ["10.8.0.0/24"]})
            assert first.call("GET", f"/api/configs/{config['id']}")["name"] == "wg0"
            first.process.send_signal(signal.SIGKILL)
            eventually(lambda: second.ready() == {"status": "ok"})
            second.until("core.decides")


def test_a_core_that_hangs_is_replaced_and_decides_nothing_when_it_wakes_up(
    tmp_path: Path, postgresql_url: str
) -> None:
    with running(tmp_path / "one", url=postgresql_url) as first:
        first.until("CA fingerprint")
        eventually(first.ready)
        (tmp_path / "two").mkdir(mode=0o700)
        shutil.copy2(tmp_path / "one" / "master.key", tmp_path / "two" / "master.key")
        with running(tmp_path / "two", url=postgresql_url) as second:
            second.until("core.waits")
            core = eventually(lambda: first.child("core"))
            core.suspend()
            second.until("core.decides")
            core.resume()
            first.until("lease.lost")
            first.until("core.waits")


def test_a_superseded_panel_says_so_and_goes_on_while_it_runs_when_its_database_is_to_count(tmp_path: Path) -> None:
    data = tmp_path / "data"

    def wgfleet(*words: str, url: str = "") -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "WGFLEET_URL": url, "WGFLEET_API_KEY": "none"}
        return programs.run(*words, environment=environment)

    with running(data) as panel:
        panel.until("CA fingerprint")
        eventually(panel.ready)
        assert wgfleet("status", url=panel.url).stdout == "the panel is ok\n"
    with closing(sqlite3.connect(data / "panel.sqlite")) as database, database:
        database.execute("UPDATE incarnations SET refused = 'nodes obey another'")
    with running(data) as panel:
        panel.until("CA fingerprint")
        core = eventually(lambda: panel.child("core"))
        eventually(lambda: "nodes obey another" in wgfleet("status", url=panel.url).stdout)
        status = wgfleet("status", url=panel.url)
        assert status.returncode == 1
        assert "run `wgfleet panel restored` where this panel runs" in status.stdout
        assert wgfleet("panel", "restored", "--data-dir", str(data)).returncode == 0
        eventually(lambda: panel.ready() == {"status": "ok"})
        assert wgfleet("status", "--json", url=panel.url).stdout == '{\n  "status": "ok"\n}\n'
        assert core.is_running()
    assert wgfleet("status", url="http://127.0.0.1:9").returncode == 3
