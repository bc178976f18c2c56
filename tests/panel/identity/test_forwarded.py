"""Signing in by the word of a proxy: of one that is trusted, on its own connection, and of nobody else."""

import httpx
import pytest

from tests.panel.test_door import opened_doors
from wgfleet.panel.api import Panel
from wgfleet.panel.settings.door import DoorSettings

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
BODY = {"provider": "proxy"}


def tried(port: int, headers: list[tuple[str, str]], source: str = "127.0.0.2") -> httpx.Response:
    transport = httpx.HTTPTransport(local_address=source)
    with httpx.Client(transport=transport, trust_env=False, timeout=60) as client:
        return client.post(f"http://127.0.0.1:{port}/api/sign-in/forwarded", json=BODY, headers=headers)


def test_a_trusted_proxy_says_who_somebody_is_and_nobody_else_does(panel: Panel) -> None:
    said = [("Remote-User", "anna"), ("Remote-Groups", "staff, vpn")]
    with opened_doors(panel, DoorSettings(trusted_proxies=("127.0.0.2",))) as doors:  # noqa: SIM117 - uses `doors`
        with httpx.Client(trust_env=False, timeout=60, headers={"X-API-Key": doors.key}) as admin:
            url = f"http://127.0.0.1:{doors.plain}/api"
            assert tried(doors.plain, said).status_code == 404, "off unless somebody turns it on"
            headers = {"user_header": "Remote-User", "groups_header": "Remote-Groups"}
            body = {"name": "proxy", "forwarded": headers, "roles": {"vpn": "viewer"}}
            assert admin.post(f"{url}/sign-in-providers", json=body).status_code == 201
            answer = tried(doors.plain, said)
            assert (answer.status_code, answer.json()["user_name"]) == (201, "anna"), answer.text
            token = {"Authorization": f"Bearer {answer.json()['token']}"}
            assert httpx.get(f"{url}/me", headers=token, trust_env=False).json()["scopes"] == ["read"]
            forged: list[tuple[list[tuple[str, str]], str]] = [
                (said, "127.0.0.1"),
                ([*said, ("X-Forwarded-For", "127.0.0.2")], "127.0.0.3"),
                ([*said, ("Remote-User", "root")], "127.0.0.2"),
                ([*said, ("Remote-Groups", "admins")], "127.0.0.2"),
                ([("Remote-User", "")], "127.0.0.2"),
                ([], "127.0.0.2"),
                ([("Remote-User", "bea")], "127.0.0.2"),
            ]
            for headers_sent, source in forged:
                assert tried(doors.plain, headers_sent, source).status_code == 401, headers_sent
            assert [each["name"] for each in admin.get(f"{url}/users").json()["items"]] == ["anna"]


def test_where_no_proxy_is_trusted_no_header_counts(panel: Panel) -> None:
    with opened_doors(panel, DoorSettings()) as doors:
        with httpx.Client(trust_env=False, timeout=60, headers={"X-API-Key": doors.key}) as admin:
            body = {"name": "proxy", "forwarded": {"user_header": "Remote-User"}, "default_role": "admin"}
            assert admin.post(f"http://127.0.0.1:{doors.plain}/api/sign-in-providers", json=body).status_code == 201
        for source in ("127.0.0.1", "127.0.0.2"):
            answer = tried(doors.plain, [("Remote-User", "anna")], source)
            assert (answer.status_code, "trusted_proxies" in answer.json()["detail"]) == (401, True)
