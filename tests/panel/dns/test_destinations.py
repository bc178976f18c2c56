"""What a DNS provider may connect to: nothing inside the panel's machine or network, unless the settings allow it."""

import ipaddress
import socket
import threading
from collections.abc import Iterator
from typing import Any, cast

import httpx
import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from wgfleet.doors.folding import Folding
from wgfleet.panel import clock, destinations
from wgfleet.panel.destinations import Destinations
from wgfleet.panel.dns.plugins import DnsPlugins
from wgfleet.panel.errors import Invalid, PermanentError
from wgfleet.panel.settings import Settings
from wgfleet.panel.settings.dns import DnsSettings

INSIDE = [
    *("127.0.0.1", "127.1", "localhost", "a.localhost", "::1", "::ffff:127.0.0.1", "0.0.0.0", "::"),
    *("169.254.169.254", "fe80::1", "fd00:ec2::254", "168.63.129.16", "100.100.100.200", "64:ff9b::a9fe:a9fe"),
    *("10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1", "fd00::1", "224.0.0.1", "2002:7f00:1::"),
]
NOTHING = Destinations()


def bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


@pytest.mark.parametrize("host", INSIDE)
def test_what_is_inside_is_refused_as_an_option_of_any_provider(host: str) -> None:
    plugins = DnsPlugins.installed(Settings())
    url = f"http://{bracketed(host)}:8080/latest/meta-data/?x="
    lexicon: list[tuple[str, str, str]] = [
        ("powerdns", "pdns_server", url),
        ("directadmin", "endpoint", url),
        ("infoblox", "ib_host", bracketed(host)),
        ("plesk", "plesk_server", url),
    ]
    cases: list[tuple[str, dict[str, Any]]] = [
        ("rfc2136", {"server": host}),
        ("cloudflare", {"token": "x", "api_url": url.removesuffix("?x=")}),
        *(("lexicon", {"provider": provider, "settings": {key: value}}) for provider, key, value in lexicon),
    ]
    for name, options in cases:
        with pytest.raises(Invalid, match="not on the internet") as refused:
            plugins.open(name, "a" * 32 if name == "cloudflare" else "example.com", options)
        assert (refused.value.field or "").startswith("dns.options.")
        assert host not in str(refused.value)


@pytest.mark.parametrize("settings", [{"auth_service_account_info": "file::/etc/shadow"}])
def test_no_option_has_the_panel_read_a_file(settings: dict[str, str]) -> None:
    options = {"provider": "googleclouddns", "settings": settings}
    with pytest.raises(Invalid, match="names a file"):
        NOTHING.check_options(options, "dns.options")
    with pytest.raises(Invalid, match="names a file"):
        NOTHING.check_options({"provider": "localzone", "settings": {"filename": "/etc/hosts"}}, "dns.options")


@pytest.mark.parametrize("text", ["1\0002", "a\0.example.com", "\0", "http://a\0b.example.com/", "1\ud8002"])
def test_a_text_that_no_server_takes_is_refused_by_its_field(text: str) -> None:
    for options in ({"server": text}, {"settings": {"endpoint": text}}, {"secret": text}, {"servers": ["ok", text]}):
        with pytest.raises(Invalid, match="must be Unicode text without NUL") as refused:
            NOTHING.check_options(options, "dns.options")
        assert (refused.value.field or "").startswith("dns.options.")


@pytest.fixture
def inside() -> Iterator[int]:
    """Listen on a port of loopback, which must never be reached."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]
        server.settimeout(0.05)
        with pytest.raises(TimeoutError):
            server.accept()


@pytest.mark.parametrize(
    ("name", "zone", "options"),
    [
        ("rfc2136", "example.com", {"server": "rebinds.example.com"}),
        ("cloudflare", "a" * 32, {"token": "x", "api_url": "http://rebinds.example.com"}),
        ("lexicon", "example.com", {
            "provider": "powerdns",
            "settings": {"auth_token": "t", "pdns_server": "http://rebinds.example.com", "pdns_server_id": "localhost"},
        }),
    ],
)  # fmt: skip
def test_a_name_that_stands_for_something_inside_is_refused_when_it_is_connected_to(
    monkeypatch: pytest.MonkeyPatch, inside: int, name: str, zone: str, options: dict[str, Any]
) -> None:
    """The name may be looked up again for each connection, and somebody else answers."""
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", inside))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_arguments, **_named: found)
    monkeypatch.setattr(destinations, "_resolved", lambda _name: set())
    provider = DnsPlugins.installed(Settings()).open(name, zone, options)
    with pytest.raises(PermanentError, match="not on the internet") as refused:
        provider.read("vpn.example.com")
    assert "127.0.0.1" not in str(refused.value)


def test_a_redirect_leads_nowhere_either(inside: int) -> None:
    """Whatever a library follows, it makes a connection."""
    with pytest.raises(PermanentError), Destinations.of(["127.0.0.2"]).enforced():
        httpx.get(f"http://127.0.0.1:{inside}", trust_env=False)


def test_only_the_plugin_is_held_to_it(inside: int) -> None:
    with NOTHING.enforced():
        for family, address in ((socket.AF_UNIX, "/run/docker.sock"), (socket.AF_INET, ("127.0.0.1", inside))):
            with socket.socket(family, socket.SOCK_DGRAM) as plain, pytest.raises(PermissionError):
                plain.connect(cast("Any", address))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as plain, pytest.raises(PermissionError):
            plain.sendto(b"x", ("127.0.0.1", inside))
        others: list[bool] = []
        thread = threading.Thread(target=lambda: others.append(destinations._enforced.get() is None))  # noqa: SLF001 - shows what a thread of somebody else has
        thread.start()
        thread.join()
        assert others == [True]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as plain:
        plain.connect(("127.0.0.1", inside))


def test_an_address_that_is_refused_again_and_again_is_a_line_and_a_count(
    inside: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(destinations, "_refusals", Folding("various addresses"))
    monkeypatch.setattr(clock, "monotonic", lambda: now)
    with capture_logs() as lines, NOTHING.enforced():
        for wait in (*[0.0] * 60, 61.0):
            now += wait
            with socket.socket() as plain, pytest.raises(PermissionError):
                plain.connect(("127.0.0.1", inside))
    told = [(line["event"], line["address"], line.get("count")) for line in lines]
    once = ("plugin.refused", "127.0.0.1", None)
    assert told == [once, ("plugin.refused_again", "127.0.0.1", 59), once]


def test_the_settings_allow_servers_inside() -> None:
    limits = Destinations.of(["10.1.0.0/16", "192.168.7.53", "ns1.example.internal"])
    limits.check_options({"server": "10.1.2.3"}, "dns.options")
    limits.check_options({"server": "ns1.example.internal"}, "dns.options")
    assert limits.allows(ipaddress.ip_address("192.168.7.53"))
    assert not limits.allows(ipaddress.ip_address("192.168.7.54"))
    assert limits.allows(ipaddress.ip_address("9.9.9.9"))


def test_the_panels_own_token_publishes_below_its_domains_only() -> None:
    settings = Settings(dns=DnsSettings(cloudflare_token=SecretStr("t"), cloudflare_domains=("vpn.example.com",)))
    plugins = DnsPlugins.installed(settings)
    for name in ("vpn.example.com", "a.vpn.example.com"):
        plugins.check_name("cloudflare", {}, name, "domain")
    for name in ("www.example.com", "notvpn.example.com", "example.com"):
        with pytest.raises(Invalid, match=r"not below vpn\.example\.com"):
            plugins.check_name("cloudflare", {}, name, "domain")
        plugins.check_name("cloudflare", {"token": "own"}, name, "domain")
