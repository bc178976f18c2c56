"""A provider, or what stands before it, repeats the credential that it was sent: no error holds it."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from wgfleet.panel.address_providers.plugins import AddressPlugins
from wgfleet.panel.dns.plugins import DnsPlugins
from wgfleet.panel.errors import PermanentError, TransientError
from wgfleet.panel.provider_answers import HIDDEN

TOKEN = "TOPSECRETTOPSECRETTOPSECRET"  # noqa: S105 - of nobody
ADDRESS = "203.0.113.9"


class Echo(BaseHTTPRequestHandler):
    """Refuses all, in each cloud's form, with what it was sent, whole and in part."""

    def _answer(self) -> None:
        sent = self.headers["authorization"]
        said = f"you sent {sent}, which begins with {sent[:20]}"
        errors = [{"code": 1000, "message": said}]
        body = {"success": False, "errors": errors, "id": sent, "message": said, "error": self._error(said)}
        content = json.dumps(body).encode()
        self.send_response(403)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _error(self, said: str) -> object:
        return {"code": said, "message": said} if "floating" in self.path else said

    do_GET = do_POST = do_PUT = _answer  # noqa: N815 - names that the library calls

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Echo) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize("kind", ["hetzner", "digitalocean", "vultr"])
def test_a_cloud_that_repeats_the_token_is_not_repeated(kind: str, url: str) -> None:
    plugins = AddressPlugins.installed()
    provider = plugins.find(kind)(plugins.options(kind, {"token": TOKEN, "api_url": url}))
    with pytest.raises((PermanentError, TransientError)) as said:
        provider.holder(ADDRESS, [])
    provider.close()
    assert HIDDEN in str(said.value)
    assert TOKEN[:8] not in f"{said.value!r}"


def test_cloudflare_that_repeats_the_token_is_not_repeated(url: str) -> None:
    provider = DnsPlugins.installed().open("cloudflare", "a" * 32, {"token": TOKEN, "api_url": url})
    with pytest.raises(PermanentError) as said:
        provider.read("vpn.example.com")
    found = provider.check("vpn.example.com")
    provider.close()
    assert HIDDEN in str(said.value)
    assert TOKEN[:8] not in f"{said.value!r} {found!r}"
