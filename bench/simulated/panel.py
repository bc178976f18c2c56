"""A real panel as `wgfleet panel run` starts it, in a directory of its own, and calls to its API."""

import contextlib
import http.client
import json
import os
import re
import signal
import ssl
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

PROGRAM = str(Path(sys.executable).parent / "wgfleet")
START_S, END_S, CALL_S = 60.0, 30.0, 120.0
LISTENERS = 2
_LISTENER = re.compile(r"listening on (https?)://127\.0\.0\.1:(\d+)\n")


class PanelProcess:
    """The panel on a database; it may be stopped and started again."""

    def __init__(self, directory: Path, database_url: str) -> None:
        self.data = directory / "data"
        self.log = directory / "panel.log"
        self.port = 0
        self.plain_port = 0
        """Without TLS."""
        self._out = directory / "panel.out"
        self._environment = {**os.environ, "WGFLEET_DATABASE_URL": database_url, "WGFLEET_OWN_ADDRESSES": "127.0.0.1"}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The parent of all its processes."""
        if self._process is None:
            raise RuntimeError("the panel does not run")
        return self._process.pid

    @property
    def key(self) -> str:
        """The first admin key."""
        return (self.data / "first-admin-key").read_text().strip()

    def start(self) -> float:
        """Start it; return after how many s the API answered."""
        began = time.monotonic()
        # Killed with the bench, whatever kills it.
        words = [
            "setpriv",
            "--pdeathsig",
            "TERM",
            PROGRAM,
            "panel",
            "run",
            "--data-dir",
            str(self.data),
            "--no-panel-node",
            "--listen",
            "https://127.0.0.1:0",
            "--listen",
            "http://127.0.0.1:0",
        ]
        with self.log.open("ab") as log, self._out.open("wb") as out:
            self._process = subprocess.Popen(
                words, stdout=out, stderr=log, env=self._environment, start_new_session=True
            )
        while len(found := dict(_LISTENER.findall(self._out.read_text()))) < LISTENERS:
            if self._process.poll() is not None or time.monotonic() - began > START_S:
                raise SystemExit(f"the panel does not start:\n{self.log.read_text()[-3000:]}")
            time.sleep(0.02)
        self.port, self.plain_port = int(found["https"]), int(found["http"])
        Caller(self.port, self.key).get("/api/nodes?limit=1")
        return time.monotonic() - began

    def stop(self) -> None:
        """End it in order; safe to call twice."""
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(END_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None

    def kill(self) -> None:
        """Kill the parent of all its processes, and wait until they have ended with it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


class CallError(Exception):
    """The API answered with a problem."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status

    @property
    def passes(self) -> bool:
        """Whether the same call may succeed in a moment."""
        return self.status == http.client.SERVICE_UNAVAILABLE


class Caller:
    """A client of the API with a key, on one connection over TLS."""

    def __init__(self, port: int, key: str) -> None:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        self._headers = {"x-api-key": key, "content-type": "application/json"}
        self._connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=CALL_S, context=context)
        self._connection.connect()  # before the first call, whose time is measured

    def get(self, path: str) -> Any:
        """Return what is there."""
        return self._call("GET", path)

    def text(self, path: str) -> str:
        """Return what is there, which is no JSON."""
        return self._content("GET", path).decode()

    def post(self, path: str, body: object) -> Any:
        """Make something, and return it."""
        return self._call("POST", path, json.dumps(body).encode())

    def post_until_done(self, path: str, body: object, within_s: float = CALL_S) -> Any:
        """Make something, again and again while the panel says that it cannot at the moment."""
        until = time.monotonic() + within_s
        while True:
            try:
                return self.post(path, body)
            except CallError as error:
                if not error.passes or time.monotonic() > until:
                    raise
            time.sleep(1)

    def close(self) -> None:
        """End the connection."""
        with contextlib.suppress(OSError):
            self._connection.close()

    def _call(self, method: str, path: str, body: bytes | None = None) -> Any:
        content = self._content(method, path, body)
        return json.loads(content) if content else None

    def _content(self, method: str, path: str, body: bytes | None = None) -> bytes:
        self._connection.request(method, path, body, self._headers)
        response = self._connection.getresponse()
        content = response.read()
        if response.status >= http.client.BAD_REQUEST:
            words = content[:500].decode(errors="replace")
            raise CallError(response.status, f"{method} {path}: {response.status} {words}")
        return content
