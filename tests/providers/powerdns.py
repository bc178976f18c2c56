"""A real PowerDNS with one zone, on the loopback: for tests of lexicon, whose provider `powerdns` speaks its API."""

import atexit
import contextlib
import functools
import secrets
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.markers import require
from tests.providers.knot import ADDRESS, ended, free_port
from wgfleet.panel.dns.providers.lexicon import Lexicon, LexiconOptions
from wgfleet.testing.dns_provider import TTL_S

ZONE = "zone.example"
_SCHEMA = Path("/usr/share/pdns-backend-sqlite3/schema/schema.sqlite3.sql")
_START_S = 120.0


@dataclass(frozen=True, slots=True)
class PowerDns:
    """A server that runs; what is changed here goes past lexicon."""

    url: str
    secret: str
    zone: str = ZONE

    def options(self, **settings: str) -> LexiconOptions:
        given = {"pdns_server": self.url, "auth_token": self.secret, **settings}
        return LexiconOptions.model_validate({"provider": "powerdns", "settings": given})

    def provider(self) -> Lexicon:
        return Lexicon(self.zone, self.options())

    def refused(self) -> Lexicon:
        return Lexicon(self.zone, self.options(auth_token=f"not {self.secret}"))

    def unreachable(self) -> Lexicon:
        return Lexicon(self.zone, self.options(pdns_server=f"http://{ADDRESS}:{free_port()}"))

    def plant(self, name: str, type_: str, content: str) -> None:
        final = "." if type_ in {"CNAME", "MX"} else ""
        there = [text for kind, text, _ in self.records(name) if kind == type_]
        self.replace(name, type_, [*there, content + final])

    def replace(self, name: str, type_: str, contents: list[str]) -> None:
        records = [{"content": content, "disabled": False} for content in contents]
        rrset = {"name": f"{name}.", "type": type_, "ttl": TTL_S, "changetype": "REPLACE", "records": records}
        self._call("PATCH", f"/zones/{self.zone}.", {"rrsets": [rrset]})

    def records(self, name: str) -> set[tuple[str, str, int]]:
        return {
            (rrset["type"], record["content"], rrset["ttl"])
            for rrset in self._call("GET", f"/zones/{self.zone}.")["rrsets"]
            if rrset["name"] == f"{name}." and rrset["type"] != "SOA"
            for record in rrset["records"]
        }

    def make_zone(self) -> None:
        zone = {"name": f"{self.zone}.", "kind": "Native", "nameservers": ["localhost."]}
        self._call("POST", "/zones", zone)

    def remove_zone(self) -> None:
        self._call("DELETE", f"/zones/{self.zone}.")

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        response = httpx.request(
            method,
            f"{self.url}/api/v1/servers/localhost{path}",
            json=body,
            headers={"X-API-Key": self.secret},
            trust_env=False,
        )
        response.raise_for_status()
        return response.json() if response.content else None


@contextmanager
def powerdns() -> Iterator[PowerDns]:
    """Give a server with a new zone; all tests share its process, which takes a while to start."""
    require("servers")
    server = _shared()
    server.make_zone()
    try:
        yield server
    finally:
        server.remove_zone()


@functools.cache
def _shared() -> PowerDns:
    stack = contextlib.ExitStack()
    server = stack.enter_context(_started())
    atexit.register(stack.close)
    return server


@contextmanager
def _started() -> Iterator[PowerDns]:
    with tempfile.TemporaryDirectory(prefix="wgfleet-pdns-") as folder:
        api = free_port()
        server = PowerDns(f"http://{ADDRESS}:{api}", secrets.token_urlsafe(24))
        database = Path(folder) / "zones.sqlite"
        with contextlib.closing(sqlite3.connect(database)) as connection:
            connection.executescript(_SCHEMA.read_text(encoding="utf-8"))
        settings = {
            "launch": "gsqlite3",
            "gsqlite3-database": database,
            "gsqlite3-pragma-synchronous": "0",
            "socket-dir": folder,
            "local-address": ADDRESS,
            "local-port": free_port(),
            "api": "yes",
            "api-key": server.secret,
            "webserver-address": ADDRESS,
            "webserver-port": api,
            "daemon": "no",
            "guardian": "no",
            "disable-syslog": "yes",
        }
        (Path(folder) / "pdns.conf").write_text(
            "".join(f"{key}={value}\n" for key, value in settings.items()), encoding="ascii"
        )
        log = Path(folder) / "log"
        with log.open("wb") as output, ended(["pdns_server", f"--config-dir={folder}"], output.fileno()) as process:
            _wait(server, process, log)
            yield server


def _wait(server: PowerDns, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(server.url, timeout=1, trust_env=False).status_code:
                return
        time.sleep(0.02)
    raise RuntimeError(f"pdns_server did not start: {log.read_text(encoding='utf-8', errors='replace')}")
