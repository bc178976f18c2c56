"""What is behind the plain door: answers for a CA, and the way to https for browsers."""

import asyncio
import http.client
from collections.abc import Iterator
from contextlib import closing

import httpx
import pytest
from starlette.applications import Starlette

from tests.panel.thread_server import served
from wgfleet.panel.listening import PlainDoor, open_sockets
from wgfleet.panel.plain_door import plain_door
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
        ("GET", "/api/nodes", {"authorization": "Bearer wgk_secret"}, 403),
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


@pytest.mark.parametrize(
    ("path", "expected"),
    [("/", ""), ("/vpn", ""), ("/vpn/peers", "peers"), ("/peers", "peers"), ("/vpn/readyz", 403), ("/vpnx", "vpnx")],
)
def test_a_panel_below_a_path_has_its_pages_there(path: str, expected: int | str) -> None:
    app = plain_door(lambda _: None, "https://example.com/vpn/")

    async def get() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://example.com") as client:
            return await client.get(path)

    answer = asyncio.run(get())
    assert answer.headers.get("location", answer.status_code) == (
        f"https://example.com/vpn/{expected}" if isinstance(expected, str) else expected
    )
