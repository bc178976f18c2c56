"""A panel that runs gets its certificate, shows it to browsers, and says what keeps it from that."""

import os
from pathlib import Path

import httpx
import pytest

from tests.cli.test_panel_processes import Running, running
from tests.panel.conftest import made
from tests.panel.web_certificates.test_watch import trusted
from tests.providers.pebble import pebble
from tests.waiting import eventually
from wgfleet.panel import clock
from wgfleet.panel.agents.authority import Authority
from wgfleet.panel.api import Panel
from wgfleet.panel.server_certificate import ServerCertificate
from wgfleet.panel.services import web_certificates
from wgfleet.panel.services.web_certificates import ShownCertificate
from wgfleet.panel.settings import Settings
from wgfleet.panel.vault import Vault

pytestmark = pytest.mark.servers
NAME = "panel.example.test"
DIRECTORY = "https://ca.example.test/dir"


def decided(panel: Running) -> dict[str, object] | None:
    seen = panel.call("GET", "/api/web-certificate")
    return seen if seen["error"] is not None or seen["expires_at"] is not None else None


@pytest.mark.slow
def test_a_panel_shows_browsers_a_certificate_that_they_accept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pebble() as ca:
        settings = {
            "DIRECTORY": ca.directory,
            "CA_FILE": str(ca.ca_file),
            "TERMS_AGREED": "true",
            "NAMES": NAME,
            "LISTEN": f"127.0.0.1:{ca.asks_port}",
        }
        for key, value in settings.items():
            monkeypatch.setitem(os.environ, f"WGFLEET_ACME__{key}", value)
        monkeypatch.setitem(os.environ, "WGFLEET_PUBLIC_URL", f"https://{NAME}:8443")
        with running(tmp_path / "data", "--listen", "https://127.0.0.1:0") as panel:
            panel.until("CA fingerprint")
            first, second = (line.split()[-1] for line in panel.lines if line.startswith("listening on"))
            panel.url, port = first, int(second.rpartition(":")[2])
            seen = eventually(lambda: decided(panel), 120)
            assert seen["error"] is None
            eventually(lambda: trusted(port, NAME, ca.root))
            assert not trusted(port, "localhost", ca.root)
            seen = panel.call("GET", "/api/web-certificate")
            assert (seen["names"], seen["error"]) == ([NAME], None)
            panel.call("POST", "/api/nodes", {"name": "fra1", "endpoint_addresses": ["192.0.2.1"]})
            command = panel.call("POST", "/api/nodes/fra1/join-token")["command"]
            assert f"--panel https://{NAME}:8443" in command
            assert "--ca-fingerprint" not in command
            plain = httpx.get(f"http://127.0.0.1:{ca.asks_port}/nodes", trust_env=False, follow_redirects=False)
            assert (plain.status_code, plain.headers["location"]) == (308, f"https://{NAME}:8443/nodes")


def test_the_join_command_names_the_fingerprint_until_the_certificate_is_there(
    panel: Panel, client: httpx.Client
) -> None:
    made(client, "/api/nodes", name="fra1", endpoint_addresses=["192.0.2.1"])
    assert client.get("/api/web-certificate").json()["directory"] is None
    retried = client.post("/api/web-certificate/retry")
    assert retried.status_code == 409
    with panel.store.write() as tx:
        web_certificates.next_need(tx, panel.vault, DIRECTORY, [NAME], "key")
        web_certificates.failed(tx, "panel.example.test: no answer at port 80", 0.5)
    ready = client.get("/readyz").json()
    assert "no certificate that browsers accept" in ready["warnings"][0]
    assert NAME not in str(ready), "strangers hear it"
    assert client.post("/api/web-certificate/retry").status_code == 200
    with panel.store.write() as tx:
        assert web_certificates.is_due(tx, DIRECTORY, [NAME])
        web_certificates.keep(tx, panel.vault, ShownCertificate(frozenset({NAME}), "chain", "key", 4e9))
        assert not web_certificates.is_due(tx, DIRECTORY, [NAME])
        assert web_certificates.is_due(tx, "https://other.example/dir", [NAME])
        assert web_certificates.covers(tx, NAME)
        assert web_certificates.covers(tx, "Panel.Example.test")
        assert not web_certificates.covers(tx, "")
        assert not web_certificates.covers(tx, "192.0.2.1")


def test_a_certificate_that_cannot_be_read_any_more_keeps_no_panel_from_starting(panel: Panel) -> None:
    with panel.store.write() as tx:
        web_certificates.next_need(tx, panel.vault, DIRECTORY, [NAME], "key")
        web_certificates.keep(tx, panel.vault, ShownCertificate(frozenset({NAME}), "no chain", "no key", 4e9))
    with panel.store.write() as tx:
        other = Vault([b"another master key of 32 bytes.."])
        assert web_certificates.next_need(tx, other, DIRECTORY, [NAME], "another key").account_key == "another key"
    certificate = ServerCertificate(Settings())
    certificate.issue_from(lambda: Authority.create("test", clock.now()))
    for vault in (panel.vault, other):

        def read(vault: Vault = vault) -> ShownCertificate | None:
            with panel.store.read() as tx:
                return web_certificates.shown(tx, vault, [NAME])

        certificate.show_also(read)
        assert certificate.public_names == frozenset()
