"""A real Knot server with one zone, on a port of the loopback: for tests of what goes through RFC 2136."""

import contextlib
import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import dns.exception
import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.rdatatype
import dns.tsig
import dns.update
import dns.xfr
import dns.zone

from tests.markers import require
from wgfleet.lab import nameserver
from wgfleet.panel.dns.providers.rfc2136 import Rfc2136, Rfc2136Options
from wgfleet.testing.dns_provider import TTL_S

ADDRESS = "127.0.0.1"
ZONE = "zone.example"
KEY = "wgfleet-test"
_START_S = 120.0

_ZONE = """
@    300 SOA localhost. hostmaster 1 3600 600 86400 60
@    300 NS  localhost.
"""


@dataclass(frozen=True, slots=True)
class Knot:
    """A server that runs; what is changed here goes past the provider that is tested."""

    port: int
    secret: str
    zone: str = ZONE

    def options(self, **other: object) -> Rfc2136Options:
        given = {
            "server": ADDRESS,
            "port": self.port,
            "key_name": KEY,
            "key_secret": self.secret,
            **other,
        }
        return Rfc2136Options.model_validate({key: value for key, value in given.items() if value is not None})

    def provider(self) -> Rfc2136:
        return Rfc2136(self.zone, self.options())

    def refused(self) -> Rfc2136:
        return Rfc2136(self.zone, self.options(key_name="somebody-else"))

    def unreachable(self) -> Rfc2136:
        return Rfc2136(self.zone, self.options(port=free_port()))

    def plant(self, name: str, type_: str, content: str) -> None:
        final = "." if type_ in {"CNAME", "MX"} else ""
        update = dns.update.UpdateMessage(self.zone)
        update.add(dns.name.from_text(name), TTL_S, type_, content + final)
        self.change(update)

    def remove(self, name: str, *what: str) -> None:
        update = dns.update.UpdateMessage(self.zone)
        update.delete(dns.name.from_text(name), *what)
        self.change(update)

    def change(self, update: dns.update.UpdateMessage) -> None:
        update.use_tsig(self._key)
        assert dns.query.tcp(update, ADDRESS, 60, self.port).rcode() == dns.rcode.NOERROR

    @property
    def _key(self) -> dns.tsig.Key:
        return dns.tsig.Key(KEY, self.secret, "hmac-sha256")

    def records(self, name: str) -> set[tuple[str, str, int]]:
        """What is at exactly a name. The SOA record of the zone is none of it: its serial counts changes."""
        whole = dns.zone.Zone(self.zone)
        query, _ = dns.xfr.make_query(whole, keyring=self._key)
        dns.query.inbound_xfr(ADDRESS, whole, query, self.port, timeout=60)
        node = whole.get_node(dns.name.from_text(name).relativize(whole.origin or dns.name.root))
        return {
            (dns.rdatatype.to_text(rdataset.rdtype), rdata.to_text(whole.origin, relativize=False), rdataset.ttl)
            for rdataset in (node or ())
            if rdataset.rdtype != dns.rdatatype.SOA
            for rdata in rdataset
        }


def free_port() -> int:
    """A port of the loopback that nobody listens on."""
    with socket.socket() as tcp:
        tcp.bind((ADDRESS, 0))
        port: int = tcp.getsockname()[1]
        return port


@contextmanager
def knot(zone: str = ZONE, more: str = "") -> Iterator[Knot]:
    """Start a server, wait until it answers, and end it. `more`: records that the zone has from the beginning."""
    require("servers")
    with tempfile.TemporaryDirectory(prefix="wgfleet-knot-") as folder:
        server = Knot(free_port(), nameserver.new_secret(), zone)
        (Path(folder) / "zone").write_text(_ZONE + more, encoding="ascii")
        settings = Path(folder) / "knot.conf"
        settings.write_text(
            nameserver.settings(
                Path(folder), [f"{ADDRESS}@{server.port}"], server.secret, zone=zone, key=KEY, powerless=["reader"]
            ),
            encoding="ascii",
        )
        with (Path(folder) / "log").open("wb") as log, ended(["knotd", "-c", str(settings)], log.fileno()) as process:
            _wait(server, process, Path(folder) / "log")
            yield server


@contextmanager
def ended(command: list[str], log: int) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server as a child that ends with this process, however that ends."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin"
    process = subprocess.Popen(
        ["setpriv", "--pdeathsig", "KILL", "--", *command],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        env={**os.environ, "PATH": path},
    )
    try:
        yield process
    finally:
        process.kill()  # it keeps nothing that it would have to save
        process.wait()


def _wait(server: Knot, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError, EOFError, dns.exception.DNSException):
            answer = dns.query.udp(dns.message.make_query(server.zone, "SOA"), ADDRESS, 0.2, server.port)
            if answer.answer:
                return
        time.sleep(0.01)
    raise RuntimeError(f"knotd did not start: {log.read_text(encoding='utf-8', errors='replace')}")
