"""A certificate is got from a real ACME server, renewed in time, and what goes wrong is said and tried again."""

import asyncio
import http.server
import json
import re
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from pydantic import ValidationError
from starlette.applications import Starlette

from tests.panel.conftest import one_database
from tests.panel.identity.certificates import self_signed
from tests.panel.thread_server import served
from tests.panel.world import World
from tests.providers.knot import free_port
from tests.providers.pebble import Pebble, pebble
from tests.waiting import eventually
from wgfleet.panel import acme_client, clock, faultpoints
from wgfleet.panel.acme_client import AcmeAccount, AcmeError, RenewalTime
from wgfleet.panel.agents.authority import Authority
from wgfleet.panel.dns.metrics import DnsMetrics
from wgfleet.panel.dns.plugins import DnsPlugins
from wgfleet.panel.dns.publisher import Publisher
from wgfleet.panel.dns.rate_limits import Limiter
from wgfleet.panel.listening import PlainDoor, open_sockets
from wgfleet.panel.plain_door import plain_door
from wgfleet.panel.reconcile.outlook import Outlook
from wgfleet.panel.reconcile.web_certificates import WebCertificateWatch
from wgfleet.panel.server_certificate import ServerCertificate
from wgfleet.panel.services import web_certificates
from wgfleet.panel.services.web_certificates import ShownCertificate
from wgfleet.panel.settings import Listener, Settings
from wgfleet.panel.settings.acme import AcmeSettings
from wgfleet.panel.store import web_certificates as rows
from wgfleet.panel.store.tables import WebCertificate

pytestmark = pytest.mark.servers
NAMES = ["panel.example.test", "www.example.test"]
HOME = "https://panel.example.test/"
AUTHORITY = Authority.create("test", clock.now())


@pytest.fixture(scope="module")
def server() -> Iterator[Pebble]:
    with pebble() as running:
        yield running


def settings_for(directory: str, ca_file: Path, *names: str) -> Settings:
    return Settings(
        acme=AcmeSettings(directory=directory, ca_file=ca_file, terms_agreed=True, names=names or tuple(NAMES))
    )


def look(world: World, settings: Settings) -> None:
    asyncio.run(watch_of(world, settings).look())


def watch_of(world: World, settings: Settings) -> WebCertificateWatch:
    publisher = Publisher(DnsPlugins.installed(settings), Limiter(world.store, world.vault), DnsMetrics())
    return WebCertificateWatch(world.store, world.vault, settings, Outlook(), publisher)


def row(world: World) -> WebCertificate:
    with world.store.read() as tx:
        found = rows.get(tx)
    assert found is not None
    return found


@contextmanager
def answering(world: World, port: int) -> Iterator[int]:
    """Answer at a port what the panel has to answer, with its plain door; give the port of its TLS."""

    def answer(token: str) -> str | None:
        with world.store.read() as tx:
            return web_certificates.answer(tx, token)

    plain = PlainDoor(open_sockets([Listener("http", "127.0.0.1", port)]), plain_door(answer, HOME))
    certificate = ServerCertificate(Settings())
    certificate.issue_from(lambda: AUTHORITY)
    certificate.show_also(lambda: shown(world))
    sockets = open_sockets([Listener("https", "127.0.0.1", 0)])
    with served(Starlette(), sockets, certificate, plain=plain):
        yield sockets[0][0].port


def shown(world: World) -> ShownCertificate | None:
    with world.store.read() as tx:
        return web_certificates.shown(tx, world.vault, NAMES)


def trusted(port: int, name: str, root: str) -> bool:
    """Whether who trusts a CA alone trusts what is shown for a name."""
    context = ssl.create_default_context(cadata=root)
    with socket.create_connection(("127.0.0.1", port), timeout=60) as plain:
        try:
            context.wrap_socket(plain, server_hostname=name).close()
        except ssl.SSLCertVerificationError:
            return False
        return True


def secured(server: http.server.HTTPServer, folder: Path) -> http.server.HTTPServer:
    """Have a server speak TLS, with a certificate of its own in `folder`/ca.pem."""
    certificate, key = self_signed("localhost")
    (folder / "ca.pem").write_text(certificate)
    (folder / "key.pem").write_text(key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "ca.pem", folder / "key.pem")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    return server


@contextmanager
def serving(server: http.server.HTTPServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@one_database
def test_a_ca_that_knows_its_customers_is_shown_which_one_asks(world: World) -> None:
    key_id, key = "kid-1", "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"
    with pebble({key_id: key}) as ca, answering(world, ca.asks_port):
        for given, refusal in (
            ({}, "set acme.eab_key_id and acme.eab_hmac_key"),
            ({"eab_key_id": "kid-2", "eab_hmac_key": key}, "the CA refused"),
            ({"eab_key_id": key_id, "eab_hmac_key": key[::-1]}, "the CA refused"),
            ({"eab_key_id": key_id, "eab_hmac_key": key}, None),
        ):
            acme = {"directory": ca.directory, "ca_file": ca.ca_file, "terms_agreed": True, "names": NAMES}
            look(world, Settings(acme=AcmeSettings.model_validate(acme | given)))
            found = row(world)
            assert (refusal or "") in (found.error or ""), found.error
            assert (found.chain is None) is (refusal is not None)
            assert key not in str(found.error)
            with world.store.write() as tx:
                web_certificates.try_now(tx, "test")


@one_database
def test_a_certificate_is_got_and_another_when_two_thirds_of_its_life_are_over(
    world: World, server: Pebble, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_for(server.directory, server.ca_file)
    with answering(world, server.asks_port) as secure:
        look(world, settings)
        first = row(world)
        assert first.chain
        assert first.error is None
        leaf = x509.load_pem_x509_certificate(first.chain.encode())
        named = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert set(named.get_values_for_type(x509.DNSName)) == set(NAMES)
        eventually(lambda: trusted(secure, NAMES[0], server.root), 60)
        assert trusted(secure, NAMES[1].upper(), server.root)
        assert trusted(secure, "localhost", AUTHORITY.certificate_pem), "other names are our own CA's, as before"
        assert not trusted(secure, "localhost", server.root)
        look(world, settings)
        assert row(world).chain == first.chain, "there is nothing to do yet"
        assert first.obtained_at is not None
        assert first.expires_at is not None
        later = first.obtained_at + (first.expires_at - first.obtained_at) * 0.7
        monkeypatch.setattr(clock, "now", lambda: later)
        look(world, settings)
        assert row(world).chain != first.chain
        monkeypatch.undo()
        look(world, settings_for(server.directory, server.ca_file, "other.example.test"))
        assert row(world).names == ["other.example.test"]
        with world.store.read() as tx:
            assert web_certificates.shown(tx, world.vault, NAMES) is None
            shown = web_certificates.shown(tx, world.vault, ["other.example.test", "more.example.test"])
            assert shown is not None
            assert shown.names == {"other.example.test"}
            assert rows.answer(tx, "any") is None


def test_a_certificate_that_the_ca_would_have_replaced_is_replaced_before_its_time(
    world: World, server: Pebble, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_for(server.directory, server.ca_file)
    watch = watch_of(world, settings)
    now, asked = clock.now(), []

    def told(_: AcmeAccount, chain: str) -> RenewalTime:
        asked.append(chain)
        if len(asked) == 1:
            raise AcmeError("not now")
        return RenewalTime(now + 7 * 3600, now + 7 * 3600 + 1)

    monkeypatch.setattr("wgfleet.panel.acme_client.ask_when_to_renew", told)
    chains = []
    with answering(world, server.asks_port):
        for hours in (0, 0, 1, 6.1, 6.2, 7.1):
            monkeypatch.setattr(clock, "now", lambda after=hours: now + after * 3600)
            asyncio.run(watch.look())
            chains.append(row(world).chain)
    assert asked == [chains[0]] * 2, "once, and again after six hours"
    assert chains[:5] == [chains[0]] * 5
    assert chains[5] != chains[0]


@pytest.mark.parametrize("says", [True, False])
def test_a_ca_says_when_it_would_have_a_certificate_replaced(tmp_path: Path, says: bool) -> None:
    window = {"suggestedWindow": {"start": "2026-01-02T04:00:00Z", "end": "2026-01-02T04:00:00Z"}}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            url = f"https://{self.headers['host']}"
            directory = {name: f"{url}/{name}" for name in ("newNonce", "newAccount", "newOrder")}
            more = {"renewalInfo": f"{url}/renewal"} if says else {}
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("retry-after", "3600")
            self.end_headers()
            self.wfile.write(json.dumps(window if "/renewal/" in self.path else directory | more).encode())

        def log_message(self, *_: object) -> None:
            pass

    server = secured(http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler), tmp_path)
    with serving(server):
        directory = f"https://localhost:{server.server_port}/dir"
        account = AcmeAccount(directory, acme_client.new_key(), ca_file=tmp_path / "ca.pem")
        found = acme_client.ask_when_to_renew(account, AUTHORITY.issue_panel_client(clock.now()).certificate)
    assert found.wanted_at == (datetime(2026, 1, 2, 4, tzinfo=UTC).timestamp() if says else None)
    assert found.ask_at - clock.now() == pytest.approx(3600 if says else 6 * 3600, abs=120)


def test_a_ca_that_gets_no_answer_is_asked_again_later_and_now_if_somebody_wants_that(
    world: World, server: Pebble
) -> None:
    settings = settings_for(server.directory, server.ca_file)
    look(world, settings)
    failed = row(world)
    assert failed.chain is None
    assert failed.error is not None
    assert NAMES[0] in failed.error or NAMES[1] in failed.error
    assert failed.next_at > clock.now() + web_certificates.FIRST_DELAY_S / 3
    with answering(world, server.asks_port):
        look(world, settings)
        assert row(world).chain is None, "it waits"
        with world.store.write() as tx:
            assert web_certificates.try_now(tx, "test")
        look(world, settings)
        assert row(world).chain
        with world.store.write() as tx:
            assert not web_certificates.try_now(tx, "test")


@one_database
def test_a_panel_that_dies_on_the_way_goes_on_by_the_same_account(
    world: World, server: Pebble, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_for(server.directory, server.ca_file)
    with answering(world, server.asks_port):
        keys = set()
        for point in ("web_certificate.answered", "web_certificate.obtained"):

            def die(reached: str, point: str = point) -> None:
                if reached == point:
                    raise KeyboardInterrupt

            monkeypatch.setattr(faultpoints, "reached", die)
            with pytest.raises(KeyboardInterrupt):
                look(world, settings)
            assert (row(world).chain, row(world).error) == (None, None)
            keys.add(row(world).account_key_sealed)
        monkeypatch.undo()
        look(world, settings)
        assert row(world).chain
        assert keys == {row(world).account_key_sealed}


@pytest.mark.parametrize("answer", [b"", b"{}", b"<html>", b'{"newNonce": 7}', b"\xff\xfe", b'{"newAccount": "x:y"}'])
@one_database
def test_a_ca_that_answers_with_nonsense_is_said_and_costs_nothing_else(
    world: World, tmp_path: Path, answer: bytes
) -> None:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.end_headers()
            self.wfile.write(answer)

        do_HEAD = do_GET  # noqa: N815 - the name that the library calls
        do_POST = do_GET  # noqa: N815 - as above

        def log_message(self, *_: object) -> None:
            pass

    nonsense = secured(http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler), tmp_path)
    with serving(nonsense):
        look(world, settings_for(f"https://localhost:{nonsense.server_port}/dir", tmp_path / "ca.pem"))
    assert (row(world).error or "").startswith("the CA")


def test_a_ca_that_is_not_there_or_not_trusted_is_said(world: World, server: Pebble, tmp_path: Path) -> None:
    (tmp_path / "other.pem").write_text(self_signed("localhost")[0])
    for directory, ca_file in (
        (f"https://localhost:{free_port()}/dir", server.ca_file),
        (server.directory.replace("localhost", "127.0.0.1"), tmp_path / "other.pem"),
    ):
        look(world, settings_for(directory, ca_file))
        assert (row(world).error or "").startswith("the CA cannot be reached")


@one_database
def test_a_panel_that_fails_on_it_does_not_ask_the_ca_again_at_once(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []

    def failing(*_: object) -> None:
        asked.append(None)
        raise OSError("the disk is full")

    monkeypatch.setattr("wgfleet.panel.acme_client.get_certificate", failing)
    (tmp_path / "ca.pem").write_text("")
    settings = settings_for("https://ca.example.test/directory", tmp_path / "ca.pem")
    with pytest.raises(OSError, match="disk"):
        look(world, settings)
    look(world, settings)
    assert len(asked) == 1
    assert "OSError" in (row(world).error or "")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"acme": {"directory": "letsencrypt"}}, "terms_agreed = true"),
        ({"acme": {"directory": "letsencrypt", "terms_agreed": True}}, "acme.names"),
        ({"acme": {"directory": "http://ca.example", "terms_agreed": True}}, "directory"),
        ({"acme": {"directory": "letsencrypt", "terms_agreed": True}, "public_url": "https://192.0.2.1"}, "acme.names"),
        ({"acme": {"directory": "letsencrypt", "terms_agreed": True, "listen": "https://0.0.0.0:80"}}, "plain http"),
        ({"acme": {"directory": "letsencrypt", "terms_agreed": True, "names": "192.0.2.1"}}, "names"),
        ({"acme": {"directory": "letsencrypt", "terms_agreed": True, "dns_zone": "example.org"}}, "dns_provider"),
        ({"acme": {"directory": "letsencrypt", "terms_agreed": True, "dns_options": "token"}}, "not JSON"),
        ({"acme": {"directory": "letsencrypt", "terms_agreed": True, "dns_options": "[7]"}}, "not an object"),
        ({"tls": {"plain_listen": "0.0.0.0:80"}}, "use acme.listen"),
        ({"tls": {"plain_listen": "0.0.0.0:80", "certificate_file": __file__, "key_file": __file__}}, "public_url"),
    ],
)
def test_settings_that_no_ca_could_work_with_are_refused_with_the_way_out(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(message)):
        Settings(**given)


def test_the_name_is_that_of_the_public_address() -> None:
    acme = AcmeSettings(directory="letsencrypt", terms_agreed=True)
    settings = Settings(acme=acme, public_url="https://panel.example.org:8443/base")
    assert settings.acme_names() == ("panel.example.org",)
    assert settings.acme.directory == "https://acme-v02.api.letsencrypt.org/directory"
