"""What is behind the plain door: answers for a CA, and the way to https for browsers."""

import asyncio
import http.client
from collections.abc import Iterator
from contextlib import closing
from typing import Any
from urllib.parse import unquote

import pytest
from starlette.applications import Starlette

from tests.panel.thread_server import served
from wgfleet.panel.listening import PlainDoor, open_sockets
from wgfleet.panel.plain_door import plain_door
from wgfleet.panel.request_targets import OriginForm
from wgfleet.panel.server_certificate import ServerCertificate
from wgfleet.panel.settings import Listener, Settings

HOME = "https://panel.example.test/"


@pytest.fixture(scope="module")
def door() -> Iterator[int]:
    """Serve the plain door alone; give its port."""
    sockets = open_sockets([Listener("http", "127.0.0.1", 0)])
    plain = PlainDoor(sockets, plain_door(lambda _: None, HOME))
    with served(Starlette(), (), ServerCertificate(Settings()), plain=plain):
        yield sockets[0][0].port


@pytest.mark.parametrize(
    ("method", "path", "headers", "expected"),
    [
        ("GET", "/", {}, ""),
        ("GET", "//evil.example/", {}, "evil.example/"),
        ("GET", "/peers?search=a%20b&x=%0d%0aa:b", {}, "peers?search=a%20b&x=%0d%0aa:b"),
        ("HEAD", "/nodes/%2e%2e/%C3%A4", {}, "nodes/%2e%2e/%C3%A4"),
        ("GET", "http://example.com/peers?x=1", {}, "peers?x=1"),
        ("GET", "HTTP://[2001:db8::1]:80", {}, ""),
        ("GET", "http://example.com?x=1", {}, "?x=1"),
        ("GET", "https://example.com//api/nodes", {}, 403),
        ("GET", "http://example.com/.well-known/acme-challenge/none-such", {}, 404),
        ("GET", "http://of@example.com/peers", {}, 404),
        ("GET", "ftp://example.com/peers", {}, 404),
        ("OPTIONS", "*", {}, 404),
        ("GET", "/api/nodes", {"authorization": "Bearer wgk_secret"}, 403),
        ("GET", "/nodes", {"x-api-key": "wgf_secret"}, 403),
        ("GET", "/nodes", {"cookie": "of=another; program=here"}, "nodes"),
        ("POST", "/login", {}, 403),
        ("POST", "/api/enroll", {}, 403),
        ("GET", "/api/ca.pem", {}, 403),
        ("GET", "//api/nodes", {}, 403),
        ("GET", "/healthz", {}, 403),
        ("HEAD", "/readyz", {}, 403),
        ("GET", "/metrics", {}, 403),
        ("GET", "/.well-known/acme-challenge/none-such", {}, 404),
        ("GET", f"/.well-known/acme-challenge/{'x' * 5000}", {}, 404),
        ("GET", "/.well-known/acme-challenge/%00", {}, 404),
        ("GET", "/.well-known/acme-challenge/a/b", {}, 403),
        ("GET", "/.well-known/acme-challenge/../../api/nodes", {}, 403),
    ],
)
def test_nothing_else_is_behind_the_plain_door(
    door: int, method: str, path: str, headers: dict[str, str], expected: int | str
) -> None:
    with closing(http.client.HTTPConnection("127.0.0.1", door, timeout=60)) as connection:
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        sent_on = isinstance(expected, str)
        assert answer.status == (308 if sent_on else expected)
        assert answer.getheader("location") == (f"{HOME}{expected}" if sent_on else None)
        told = "Replace the credential" in answer.read().decode()
        assert told is not headers.keys().isdisjoint({"authorization", "x-api-key"})


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/", ""),
        ("/vpn", ""),
        ("/vpn/peers", "peers"),
        ("/peers", "peers"),
        ("/vpn/readyz", 403),
        ("/vpnx", "vpnx"),
        ("/../../etc", 404),
        ("/vpn/../etc", 404),
        ("/%2e%2e/%2E./etc", 404),
        ("/vpn/..%5c..%2Fetc", 404),
        ("/a..b", "a..b"),
    ],
)
def test_a_panel_below_a_path_has_its_pages_there(path: str, expected: int | str) -> None:
    app = plain_door(lambda _: None, "https://example.com/vpn/")
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": unquote(path), "raw_path": path.encode(), "query_string": b""}

    async def asked() -> None:
        await app({**scope, "headers": [], "scheme": "http", "server": ("example.com", 80)}, receive, send)

    asyncio.run(asked())
    location = dict(sent[0]["headers"]).get(b"location", b"").decode()
    assert (location or sent[0]["status"]) == (
        f"https://example.com/vpn/{expected}" if isinstance(expected, str) else expected
    )


def test_the_host_of_a_whole_address_stands_in_for_the_header() -> None:
    seen: list[Any] = []

    async def app(scope: Any, _receive: Any, _send: Any) -> None:
        seen.append((scope["path"], scope["raw_path"], scope["headers"]))

    headers = [(b"host", b"other.example"), (b"accept", b"*/*")]
    scope = {"type": "http", "raw_path": b"http://Panel.Example:8443/a%20b", "path": "?", "headers": headers}
    asyncio.run(OriginForm(app)(scope, None, None))  # type: ignore[arg-type]  # neither is used
    assert seen == [("/a b", b"/a%20b", [(b"host", b"panel.example:8443"), (b"accept", b"*/*")])]
