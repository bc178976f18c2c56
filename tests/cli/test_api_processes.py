"""Several processes that answer the calls of one panel: killed, asked in turn, and held to one limit."""

import http.client
import os
import re
import signal
import socket
import ssl
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psutil
import pytest

from tests.cli.test_panel_processes import Running, running
from tests.waiting import eventually

pytestmark = pytest.mark.slow
PROCESSES = 3


@pytest.fixture(scope="module")
def panel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("WGFLEET_API__PROCESSES", str(PROCESSES))
        with running(tmp_path_factory.mktemp("panel") / "data") as panel:
            panel.until("CA fingerprint")
            eventually(lambda: panel.ready() == {"status": "ok"})
            eventually(lambda: len(apis(panel)) == PROCESSES)
            with ExitStack() as stack:
                one_to_each(panel, stack)
            yield panel


def apis(panel: Running) -> dict[int, psutil.Process]:
    """Return those that answer calls, by their ids."""
    children = psutil.Process(panel.process.pid).children()
    return {child.pid: child for child in children if child.name().startswith("wgfleet-api-")}


class Line:
    """A connection that is kept, and the process at its other end."""

    def __init__(self, panel: Running, stack: ExitStack) -> None:
        address = urlsplit(panel.url).netloc
        self._http = stack.enter_context(closing(http.client.HTTPConnection(address, timeout=60)))
        self._key = (panel.data_dir / "first-admin-key").read_text().strip()
        assert self.status("/healthz") == 200
        port = self._http.sock.getsockname()[1]
        (self.pid,) = [pid for pid, api in apis(panel).items() if port in _ports(api)]

    def close(self) -> None:
        self._http.close()

    def status(self, path: str, method: str = "GET", key: str | None = None, body: str | None = None) -> int:
        headers = {"x-api-key": key or self._key, "content-type": "application/json"}
        self._http.request(method, path, body, headers)
        answer = self._http.getresponse()
        answer.read()
        return answer.status


def _ports(process: psutil.Process) -> set[int]:
    return {each.raddr.port for each in process.net_connections("tcp") if each.raddr}


def one_to_each(panel: Running, stack: ExitStack) -> list[Line]:
    """Connect until each process has taken a connection: one that has just begun takes none yet."""
    found: dict[int, Line] = {}
    while len(found) < PROCESSES:
        line = Line(panel, stack)
        if found.setdefault(line.pid, line) is not line:
            line.close()  # of very many that nobody has a key for, a panel ends those that are idle
        for kept in found.values():  # one that is idle for 5 s is closed, and a busy machine takes that long
            assert kept.status("/healthz") == 200
    return list(found.values())


@pytest.fixture
def lines(panel: Running) -> Iterator[list[Line]]:
    """One line to each process."""
    with ExitStack() as stack:
        yield one_to_each(panel, stack)


def test_connections_that_are_kept_spread_over_the_processes(panel: Running) -> None:
    with ExitStack() as stack:
        counts = Counter(Line(panel, stack).pid for _ in range(4 * PROCESSES))
    assert len(counts) == PROCESSES
    assert max(counts.values()) <= 2 * PROCESSES, "one that is slow to come leaves some of its own to others"


def test_a_key_that_was_revoked_is_refused_by_all_at_once(panel: Running, lines: Sequence[Line]) -> None:
    made = panel.call("POST", "/api/keys", {"name": "short", "scopes": ["read"]})
    assert [line.status("/api/nodes", key=made["key"]) for line in lines] == [200] * PROCESSES
    assert lines[0].status(f"/api/keys/{made['id']}", "DELETE") == 204
    assert [line.status("/api/nodes", key=made["key"]) for line in lines] == [401] * PROCESSES


def test_who_guesses_at_all_of_them_makes_no_more_guesses(panel: Running) -> None:
    body = '{"name": "nobody", "password": "four words of a guess"}'
    found, asked = list[int](), set[int]()
    while len(found) < 14 or len(asked) < PROCESSES:
        with ExitStack() as stack:  # one that is kept may be closed while another process works on a guess
            line = Line(panel, stack)
            found.append(line.status("/api/sign-in", "POST", body=body))
            asked.add(line.pid)
    assert found == [401] * 10 + [429] * (len(found) - 10)


def test_metrics_are_those_of_all_whichever_is_asked(panel: Running, lines: Sequence[Line]) -> None:
    key = (panel.data_dir / "first-admin-key").read_text().strip()
    shown = re.compile(r'wgfleet_http_requests_total\{method="GET",route="/api/backups",status="200"\} (\d+)')

    def counted() -> float:
        text = httpx.get(f"{panel.url}/metrics", headers={"x-api-key": key}, trust_env=False, timeout=60).text
        found = shown.search(text)
        return float(found[1]) if found else 0

    before, found = counted(), []
    for _ in range(4):
        assert [line.status("/api/backups") for line in lines] == [200] * PROCESSES
        found.append(counted())
    assert found == sorted(found), "none goes down"
    eventually(lambda: counted() == before + 4 * PROCESSES)
    os.kill(lines[0].pid, signal.SIGKILL)
    eventually(lambda: len(apis(panel)) == PROCESSES and lines[0].pid not in apis(panel))
    for _ in range(2 * PROCESSES):
        assert counted() >= found[-1], "what one has counted that is gone stays"


def test_a_process_that_is_killed_takes_its_own_connections_with_it_and_no_other(
    panel: Running, lines: Sequence[Line]
) -> None:
    victim, *others = lines
    os.kill(victim.pid, signal.SIGKILL)
    with pytest.raises((http.client.HTTPException, OSError)):
        victim.status("/api/nodes")
    until = time.monotonic() + 1
    while time.monotonic() < until:
        assert [line.status("/api/nodes") for line in others] == [200] * (PROCESSES - 1)
        with ExitStack() as stack:
            assert Line(panel, stack).status("/readyz") == 200
    eventually(lambda: len(apis(panel)) == PROCESSES)


def test_all_show_one_certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WGFLEET_API__PROCESSES", "2")
    with running(tmp_path / "data", "--listen", "https://127.0.0.1:0") as panel:
        panel.until("CA fingerprint")
        secure = next(line.split()[-1] for line in panel.lines if "https://" in line)
        eventually(lambda: len(apis(panel)) == 2)
        unchecked = ssl.create_default_context()
        unchecked.check_hostname, unchecked.verify_mode = False, ssl.CERT_NONE
        shown = set()
        for _ in range(8):
            with (
                socket.create_connection(("127.0.0.1", urlsplit(secure).port or 0)) as plain,
                unchecked.wrap_socket(plain) as line,
            ):
                shown.add(line.getpeercert(binary_form=True))
        assert len(shown) == 1
