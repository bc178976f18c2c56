"""`wgfleet login --provider`: a browser on this machine signs in, and its answer alone counts."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from tests.cli.conftest import PROGRAM, Run
from tests.panel.conftest import made
from tests.panel.identity import oidc_servers
from tests.panel.identity.oidc_servers import signed_in_there

pytestmark = pytest.mark.slow
OWN = {"WGFLEET_API_KEY": "", "WGFLEET_URL": ""}


@contextmanager
def begun(environment: dict[str, str]) -> Iterator[tuple["subprocess.Popen[str]", str, str, str]]:
    """Begin to sign in; give the process, the address for the browser, and the address and state of the way back."""
    command = [str(PROGRAM), "login", environment["WGFLEET_URL"], "--provider", "company"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**environment, **OWN}) as process:
        assert process.stderr is not None
        assert "in a browser" in process.stderr.readline()
        address = process.stderr.readline().strip()
        query = parse_qs(urlsplit(address).query)
        try:
            yield process, address, query["redirect_uri"][0], query["state"][0]
        finally:
            process.kill()


def patient() -> httpx.Client:
    """Be a browser that waits for a command which gets no processor for a while."""
    return httpx.Client(trust_env=False, timeout=120)


def test_a_browser_signs_a_command_in(wgfleet: Run, client: httpx.Client, environment: dict[str, str]) -> None:
    with oidc_servers.honest({"sub": "1", "preferred_username": "anna", "groups": ["vpn"]}) as issuer:
        body = {"oidc": {"issuer": issuer, "client_id": "panel"}, "secret": "any", "roles": {"vpn": "viewer"}}
        made(client, "/api/sign-in-providers", name="company", **body)
        with begun(environment) as (process, address, back, _), patient() as browser:
            assert back.startswith("http://127.0.0.1:")
            for other in ({}, {"state": "another", "code": "x"}):
                browser.get(back, params=other)
            answer = browser.get(back, params=signed_in_there(address, "1"))
            assert "The command goes on" in answer.text
            assert process.wait(60) == 0
        assert "anna is signed out" in wgfleet("logout", **OWN).stdout
        with begun(environment) as (process, _, back, state), patient() as browser:
            browser.get(back, params={"state": state, "error": "access_denied"})
            assert process.wait(60) == 1
            assert process.stderr is not None
            assert "access_denied" in process.stderr.read()
    assert wgfleet("login", environment["WGFLEET_URL"], "--provider", "none", **OWN).returncode == 4
