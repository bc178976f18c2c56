"""What comes before the body of a page: `HEAD`, and the header that has browsers come by https alone."""

import dataclasses
from pathlib import Path

import httpx
import pytest

from tests.panel.test_door import opened_doors_again
from tests.panel.web.conftest import Browser
from wgfleet.panel.api import Panel, create_app
from wgfleet.panel.settings import Settings
from wgfleet.panel.settings.acme import AcmeSettings
from wgfleet.panel.settings.door import DoorSettings
from wgfleet.panel.settings.tls import TlsSettings
from wgfleet.panel.web import assets, install
from wgfleet.panel.web.strict_transport import HALF_A_YEAR, HEADER, StrictTransport

HERE = "https://vpn.example.com"
FILES = {"tls": TlsSettings(certificate_file=Path(__file__), key_file=Path(__file__))}
ACME = {"acme": AcmeSettings(directory="https://ca.example.com/", terms_agreed=True)}


@pytest.mark.parametrize(
    "path", ["/", "/peers", "/login", "/live", "/static/{}", "/favicon.ico", "/no-such-page", "/logout"]
)
def test_head_is_answered_as_get_without_a_body(admin: httpx.Client, path: str) -> None:
    path = path.format(assets.names()["site.css"])
    head = admin.head(path, follow_redirects=False)
    with admin.stream("GET", path, follow_redirects=False) as get:
        assert (head.status_code, head.content) == (get.status_code, b"")
        for name in ("content-type", "content-length", "cache-control", "location", "content-security-policy"):
            assert head.headers.get(name) == get.headers.get(name), name
    assert admin.get("/favicon.ico").status_code == 204, "the connection is as it was"


def test_head_of_a_stranger_leads_to_the_page_that_signs_in(browser: Browser) -> None:
    answer = browser().head("/peers", follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/login?next=%2Fpeers")


@pytest.mark.parametrize(
    ("settings", "scheme", "host", "said"),
    [
        ({"public_url": HERE, **FILES}, "https", "vpn.example.com", True),
        ({"public_url": f"{HERE}:8443/vpn", **FILES}, "https", "VPN.example.com:8443", True),
        ({"public_url": HERE, **ACME}, "https", "vpn.example.com", True),
        ({"public_url": HERE, **FILES}, "http", "vpn.example.com", False),
        ({"public_url": HERE, **FILES}, "https", "10.0.0.1:8443", False),
        ({"public_url": HERE, **FILES}, "https", "inside.example.com", False),
        ({"public_url": HERE, **FILES}, "https", "[", False),
        ({"public_url": HERE, **FILES}, "https", "", False),
        ({"public_url": HERE}, "https", "vpn.example.com", False),  # of the panel's own CA
        ({"public_url": "http://vpn.example.com", **FILES}, "https", "vpn.example.com", False),
        (FILES, "https", "vpn.example.com", False),
    ],
)
def test_browsers_are_to_come_by_https_alone_where_the_certificate_is_one_they_accept(
    tmp_path: Path, settings: dict[str, object], scheme: str, host: str, *, said: bool
) -> None:
    strict = StrictTransport(Settings.model_validate({"data_dir": tmp_path, **settings}))
    scope = {"type": "http", "scheme": scheme, "headers": [(b"host", host.encode())]}
    assert strict.value(scope) == (HALF_A_YEAR if said else None)


def test_a_proxy_that_is_trusted_and_was_reached_by_https_has_a_certificate(panel: Panel) -> None:
    settings = Settings(data_dir=panel.settings.data_dir, public_url=HERE)
    other = dataclasses.replace(panel, settings=settings)
    app = create_app(other)
    install(app, other)
    found = []
    for trusted, scheme in ((("127.0.0.1",), "https"), (("127.0.0.1",), "http"), ((), "https")):
        with opened_doors_again(other, DoorSettings(trusted_proxies=trusted), app) as doors:
            sent = {"X-Forwarded-Proto": scheme, "Host": "vpn.example.com"}
            answer = httpx.get(f"http://127.0.0.1:{doors.plain}/login", headers=sent, trust_env=False)
        found.append(answer.headers.get(HEADER))
    assert found == [HALF_A_YEAR, None, None]
