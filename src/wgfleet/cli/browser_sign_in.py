"""Signing in with an OpenID provider, from a command: a browser on this machine goes there, and comes back to us."""

import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import parse_qs, urlsplit

from wgfleet.cli.client import CallFailed, Client
from wgfleet.cli.output import say

PATIENCE_S = 600.0  # as the panel's: a person finds a password and a second factor in that time
READ_S = 5.0  # for a request that has begun
BACK = b"The command goes on, and says whether you are signed in. This page can be closed.\n"


class ReturnListener(HTTPServer):
    """Waits on this machine for a browser that comes back. `answer`: what it brought."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Return)
        self.answer: dict[str, str] = {}

    @property
    def address(self) -> str:
        """Where the browser comes back to."""
        return f"http://127.0.0.1:{self.server_port}/"

    def wait(self, state: str) -> dict[str, str]:
        """Return what the browser brought that began with `state`; others are not heard."""
        end = time.monotonic() + PATIENCE_S
        while (left := end - time.monotonic()) > 0:
            self.timeout = left
            self.handle_request()
            if self.answer.get("state") == state:
                return self.answer
        raise CallFailed("no browser came back; try again")


class _Return(BaseHTTPRequestHandler):
    server: ReturnListener
    timeout = READ_S

    def do_GET(self) -> None:
        brought = parse_qs(urlsplit(self.path).query)
        self.server.answer = {name: values[0] for name, values in brought.items()}
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(BACK)))
        self.end_headers()
        self.wfile.write(BACK)

    def log_message(self, *_: object) -> None:
        """Say nothing: the path has the code."""


def sign_in(client: Client, provider: str) -> str:
    """Return the token of a sign-in, after a person has signed in with a browser on this machine."""
    with ReturnListener() as listener:
        body = {"provider": provider, "redirect_uri": listener.address}
        begun = client.call("POST", "/api/sign-in/oidc/begin", body)
        say(f"open this address in a browser on this machine:\n{begun['url']}", err=True)
        (state,) = parse_qs(urlsplit(begun["url"]).query)["state"]
        brought = listener.wait(state)
    if "code" not in brought:
        raise CallFailed(f"the provider did not sign you in: {brought.get('error', 'it gave no code')}")
    answer = {"browser": begun["browser"]} | {
        name: brought[name] for name in ("state", "code", "iss") if name in brought
    }
    return str(client.call("POST", "/api/sign-in/oidc/finish", answer)["token"])
