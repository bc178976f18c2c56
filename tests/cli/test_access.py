"""API keys, and people who sign in and out, with commands."""

import re
import tomllib
from pathlib import Path

import httpx
import pyotp
import pytest

from tests.cli.conftest import Run
from tests.panel.conftest import NO_AUTHORITY, made

pytestmark = pytest.mark.slow

WORDS = "four words that nobody says"


def test_a_person_signs_in_with_password_and_code_and_out_again(
    wgfleet: Run, client: httpx.Client, environment: dict[str, str]
) -> None:
    url, own = environment["WGFLEET_URL"], {"WGFLEET_API_KEY": "", "WGFLEET_URL": ""}
    link = made(client, "/api/users", name="anna", role="admin")["link"]
    with httpx.Client(base_url=url, trust_env=False, verify=NO_AUTHORITY) as anna:
        assert anna.post("/api/set-password", json={"link": link, "password": WORDS}).status_code == 200
        token = anna.post("/api/sign-in", json={"name": "anna", "password": WORDS}).json()["token"]
        anna.headers["Authorization"] = f"Bearer {token}"
        secret = anna.post("/api/me/second-factor", json={"password": WORDS}).json()["secret"]
        confirmed = anna.post("/api/me/second-factor/confirm", json={"code": pyotp.TOTP(secret).now()}).json()
    code = confirmed["recovery_codes"][0]
    wrong = wgfleet("login", "--user", "anna", given="no such words at all\n")  # at WGFLEET_URL
    assert "cannot be reached" not in wrong.stderr
    assert (wrong.returncode, wrong.stderr.count("\n")) == (1, 1)
    assert wgfleet("login", url, "--user", "anna", given=f"{WORDS}\n").returncode == 2, "a code is asked for"
    assert wgfleet("login", url, "--user", "anna", given=f"{WORDS}\n{code}\n").returncode == 0
    assert "anna" in wgfleet("user", "list", **own).stdout
    stored = tomllib.loads((Path(environment["HOME"]) / ".config/wgfleet/cli.toml").read_text())["api_key"]
    assert wgfleet("logout", WGFLEET_API_KEY="that of a program").stdout == "anna is signed out\n"
    assert client.get("/api/me", headers={"Authorization": f"Bearer {stored}"}).status_code == 401
    assert "wgfleet login" in wgfleet("logout", **own).stderr


def test_a_password_does_not_travel_in_clear(wgfleet: Run) -> None:
    refused = wgfleet("login", "http://192.0.2.9:1", "--user", "anna", given=f"{WORDS}\n")
    assert refused.returncode == 2
    assert "plain http" in refused.stderr


def test_who_signs_in_for_devices_of_its_own_makes_and_deletes_them(
    wgfleet: Run, client: httpx.Client, environment: dict[str, str], tmp_path: Path
) -> None:
    url, own = environment["WGFLEET_URL"], {"WGFLEET_API_KEY": "", "WGFLEET_URL": ""}
    config = made(client, "/api/configs", name="wg0", pools=["10.8.0.0/24"])
    made(client, f"/api/configs/{config['id']}/endpoint-group", domain="vpn.example.com")
    created = wgfleet("user", "create", "carl", "--role", "self-service", "--config", "wg0", "--devices", "1")
    body = {"link": created.stdout.strip(), "password": WORDS}
    assert client.post("/api/set-password", json=body).status_code == 200
    assert wgfleet("login", url, "--user", "carl", given=f"{WORDS}\n").returncode == 0
    assert wgfleet("device", "create", "phone", **own).returncode == 0
    assert "may have 1" in wgfleet("device", "create", "laptop", **own).stderr
    assert "carl-phone" in wgfleet("device", "list", **own).stdout
    out = tmp_path / "wg0.conf"
    assert wgfleet("device", "file", "carl-phone", "-o", str(out), **own).returncode == 0
    assert (out.stat().st_mode & 0o777, "PrivateKey" in out.read_text()) == (0o600, True)
    assert wgfleet("device", "rotate", "carl-phone", "--yes", **own).returncode == 0
    assert wgfleet("device", "delete", "carl-phone", "--yes", **own).stdout == "carl-phone is deleted\n"
    refused = wgfleet("config", "list", **own)
    assert (refused.returncode, "'read'" in refused.stderr) == (1, True)


def test_what_ends_when_a_user_is_disabled_or_gets_less_is_said_before(
    wgfleet: Run, client: httpx.Client, environment: dict[str, str]
) -> None:
    own = {"WGFLEET_API_KEY": "", "WGFLEET_URL": ""}
    made(client, "/api/configs", name="wg0", pools=["10.8.0.0/24"])
    made(client, "/api/configs/wg0/peers/batch", count=3)
    created = wgfleet("user", "create", "dora", "--role", "operator")
    assert wgfleet("user", "update", "dora", "--disable").returncode == 0, "nothing ends"
    assert wgfleet("user", "update", "dora", "--enable").returncode == 0
    body = {"link": created.stdout.strip(), "password": WORDS}
    assert client.post("/api/set-password", json=body).status_code == 200
    assert wgfleet("login", environment["WGFLEET_URL"], "--user", "dora", given=f"{WORDS}\n").returncode == 0
    assert wgfleet("device", "create", "phone", "--config", "wg0", **own).returncode == 0
    begun = wgfleet("peer", "change", "wg0", "disable", "--all-that-match", "--yes", "--no-wait", **own)
    assert begun.returncode == 0, begun.stderr
    fewer = wgfleet("user", "update", "dora", "--role", "viewer")
    assert (fewer.returncode, "1 operations that the user began stop where" in fewer.stderr) == (2, True), fewer.stderr
    refused = wgfleet("user", "update", "dora", "--disable")
    ends = "1 sign-ins end, 1 devices are switched off, 1 operations that the user began stop"
    assert (refused.returncode, f"Change dora ({ends})?" in refused.stderr) == (2, True), refused.stderr
    shown = client.get("/api/users/dora").json()
    assert (shown["disabled"], shown["role"], shown["sign_ins"]) == (False, "operator", 1)
    assert wgfleet("user", "update", "dora", "--devices", "5").returncode == 0, "nothing ends with more"
    assert wgfleet("user", "update", "dora", "--disable", "--yes").returncode == 0
    assert client.get("/api/users/dora").json()["disabled"] is True


def test_sign_in_providers_are_made_tested_and_deleted(wgfleet: Run) -> None:
    options = ("--issuer", "http://127.0.0.1:9", "--client-id", "panel", "--role", "vpn=operator", "--secret")
    assert wgfleet("provider", "create-oidc", "company", *options, given="a secret\n").returncode == 0
    tested = wgfleet("provider", "test", "company")
    assert (tested.returncode, "127.0.0.1:9" in tested.stderr) == (1, True)
    assert wgfleet("provider", "update", "company", "--disable").returncode == 0
    listed = wgfleet("provider", "list", COLUMNS="100").stdout
    assert re.search(r"^company +oidc +no", listed, re.MULTILINE), listed
    wrong = wgfleet("provider", "create-ldap", "x", "--url", "ldap://id.example", "--base", "dc=x", "--role", "vpn")
    assert (wrong.returncode, "GROUP=ROLE" in wrong.stderr) == (2, True)
    assert wgfleet("provider", "delete", "company", "--yes").stdout == "company is deleted\n"


def test_api_keys_are_made_listed_and_revoked(wgfleet: Run) -> None:
    made_now = wgfleet("key", "create", "ci", "--scope", "read", "--days", "30")
    key = made_now.stdout.strip()
    assert key.startswith("wgf_")
    assert wgfleet("node", "list", WGFLEET_API_KEY=key).returncode == 0
    listed = wgfleet("key", "list", COLUMNS="80").stdout
    assert re.search(r"^ci +read +\d+s +\d+s +20\d\d-", listed, re.MULTILINE)
    kept = wgfleet("key", "delete", "ci")
    assert (kept.returncode, "Revoke ci (read; used " in kept.stderr) == (2, True)
    assert wgfleet("key", "rm", "ci", "--yes").stdout == "ci is revoked\n"
    assert wgfleet("node", "list", WGFLEET_API_KEY=key).returncode == 1
    absent = wgfleet("key", "delete", "ci", "--yes")
    assert (absent.returncode, "`wgfleet key list`" in absent.stderr) == (4, True)


@pytest.mark.parametrize("address", ["203.0.113.1:8443", "panel", "ftp://panel.example.com", "https://", ""])
def test_what_is_no_address_of_a_panel_is_refused_before_a_key_is_asked_for(wgfleet: Run, address: str) -> None:
    refused = wgfleet("login", address, given="")
    assert refused.returncode == 2
    assert "is not an address such as https://panel.example.com:8443" in " ".join(refused.stderr.split())


def test_what_is_no_fingerprint_is_said_to_be_none(wgfleet: Run) -> None:
    refused = wgfleet("login", "https://127.0.0.1:9", "--ca-fingerprint", "sha256:abc", given="")
    assert "'sha256:abc' is no fingerprint" in refused.stderr


def test_a_peer_is_made_for_a_user_given_to_another_and_to_nobody(wgfleet: Run, client: httpx.Client) -> None:
    made(client, "/api/configs", name="wg0", pools=["10.8.0.0/24"])
    for name in ("carl", "dora"):
        made(client, "/api/users", name=name, role="self-service")
    assert re.search(
        r"^owner +carl$", wgfleet("peer", "create", "wg0", "phone", "--owner", "carl").stdout, re.MULTILINE
    )
    shown = wgfleet("peer", "update", "wg0/phone", "--owner", "dora").stdout
    assert re.search(r"^owner +dora$", shown, re.MULTILINE)
    assert re.search(r"not set: .*owner", wgfleet("peer", "update", "wg0/phone", "--owner", "").stdout)
    unknown = wgfleet("peer", "update", "wg0/phone", "--owner", "nobody")
    assert "--owner: there is no user 'nobody'" in unknown.stderr
    many = wgfleet("peer", "create", "wg0", "--count", "2", "--owner", "carl")
    assert (many.returncode, "--count takes --prefix alone" in many.stderr) == (2, True), "it was left out silently"
