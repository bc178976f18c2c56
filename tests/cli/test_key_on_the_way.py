"""Where the CLI's API key goes: to the panel, and to nobody on the way."""

import http.server
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from wgfleet.cli.client import is_local

PROGRAM = str(Path(sys.executable).parent / "wgfleet")
KEY = "wgf_secret"


@dataclass
class Proxy:
    """A proxy that refuses everything, and what it was asked."""

    url: str = ""
    asked: list[tuple[str, str]] = field(default_factory=list)


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    seen = Proxy()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.asked.append((self.requestline, self.headers.get("Authorization", "")))
            self.send_error(502)

        do_CONNECT = do_GET  # noqa: N815 - the name is http.server's

        def log_message(self, *_: object) -> None:
            return

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        seen.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield seen
        server.shutdown()
        thread.join()


def wgfleet(tmp_path: Path, proxy: Proxy, url: str, **more: str) -> subprocess.CompletedProcess[str]:
    proxies = {f"{kind}_proxy": proxy.url for kind in ("http", "https", "all")}
    environment = {"HOME": str(tmp_path), "WGFLEET_URL": url, "WGFLEET_API_KEY": KEY, **proxies, **more}
    command = [PROGRAM, "node", "list"]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=60, env=environment)


@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "http://localhost:9", "https://127.0.0.1:9", "http://[::1]:9"])
def test_no_proxy_is_asked_for_a_panel_on_this_machine(tmp_path: Path, proxy: Proxy, url: str) -> None:
    assert wgfleet(tmp_path, proxy, url).returncode == 3
    assert proxy.asked == []


def test_a_proxy_may_carry_tls_and_sees_no_key(tmp_path: Path, proxy: Proxy) -> None:
    assert wgfleet(tmp_path, proxy, "https://panel.invalid").returncode == 3
    assert [line.split()[0] for line, _ in proxy.asked] == ["CONNECT"]
    assert KEY not in repr(proxy.asked)


@pytest.mark.parametrize("url", ["http://192.0.2.1:8080", "http://panel.invalid", "HTTP://panel.invalid"])
def test_a_key_does_not_leave_the_machine_in_clear(tmp_path: Path, proxy: Proxy, url: str) -> None:
    refused = wgfleet(tmp_path, proxy, url)
    assert refused.returncode == 2
    assert "WGFLEET_ALLOW_PLAIN_HTTP" in refused.stderr
    assert wgfleet(tmp_path, proxy, "http://panel.invalid", WGFLEET_ALLOW_PLAIN_HTTP="1").returncode == 3
    assert proxy.asked == []


def test_only_loopback_is_this_machine() -> None:
    assert all(map(is_local, ["http://127.8.9.1", "https://[::1]:8443", "http://localhost:8080", "http://a.localhost"]))
    others = ["http://127.0.0.1.example.com", "http://10.0.0.1", "http://localhost.example.com", "http://0.0.0.0", "x"]
    assert not any(map(is_local, others))
