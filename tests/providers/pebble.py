"""A real ACME server (Debian's pebble) on the loopback, which refuses one nonce in five, and a resolver of its own."""

import json
import os
import shutil
import ssl
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.markers import require
from tests.panel.identity.certificates import self_signed
from tests.providers.knot import free_port
from tests.waiting import eventually

NONCES_REFUSED = "20"  # per 100


@dataclass(frozen=True)
class Pebble:
    """A server that runs. `asks_port`: where it asks, in place of port 80; every name leads it to 127.0.0.1.

    `ca_file`: of its own https; `root`: the certificate (PEM) of the CA that issues.
    """

    directory: str
    asks_port: int
    ca_file: Path
    root: str


@contextmanager
def pebble(customers: dict[str, str] | None = None, resolver_port: int | None = None) -> Iterator[Pebble]:
    """Run one. `customers`: keys (base64url) by their names, without one of which there is no account.

    `resolver_port`: of a name server on the loopback that it asks in place of its own.
    """
    require("servers")
    place = Path(tempfile.mkdtemp(prefix="pebble-"))
    certificate, key = self_signed("localhost")
    (place / "certificate.pem").write_text(certificate)
    (place / "key.pem").write_text(key)
    listens, managed, asks, resolver = (free_port() for _ in range(4))
    settings = {
        "listenAddress": f"127.0.0.1:{listens}",
        "managementListenAddress": f"127.0.0.1:{managed}",
        "certificate": str(place / "certificate.pem"),
        "privateKey": str(place / "key.pem"),
        "httpPort": asks,
        "tlsPort": free_port(),
        "ocspResponderURL": "",
        "externalAccountBindingRequired": customers is not None,
        "externalAccountMACKeys": customers or {},
    }
    (place / "settings.json").write_text(json.dumps({"pebble": settings}))
    names = ("-dns01", f"127.0.0.1:{resolver}", "-defaultIPv4", "127.0.0.1", "-defaultIPv6", "")
    nothing_else = ("-http01", "", "-https01", "", "-tlsalpn01", "", "-management", f"127.0.0.1:{free_port()}")
    commands = (
        ["pebble-challtestsrv", *names, *nothing_else],
        ["pebble", "-config", str(place / "settings.json"), "-dnsserver", f"127.0.0.1:{resolver_port or resolver}"],
    )
    environment = {**os.environ, "PEBBLE_VA_NOSLEEP": "1", "PEBBLE_WFE_NONCEREJECT": NONCES_REFUSED}
    processes = [
        subprocess.Popen(each, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
        for each in commands
    ]
    try:
        root = eventually(lambda: _fetched(f"https://localhost:{managed}/roots/0", str(place / "certificate.pem")))
        yield Pebble(f"https://localhost:{listens}/dir", asks, place / "certificate.pem", root)
    finally:
        for each in processes:
            each.kill()
            each.wait()
        shutil.rmtree(place)


def _fetched(url: str, ca_file: str) -> str | None:
    try:
        return httpx.get(url, verify=_trusting(ca_file), trust_env=False).text
    except httpx.HTTPError:
        return None


def _trusting(ca_file: str) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=ca_file)
