"""Own devices: users make, rotate and delete them, up to a number, and see nobody else's."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.panel.access.people import new_user, signed_in
from tests.panel.conftest import made
from wgfleet.panel.api import Panel
from wgfleet.panel.services.fleet import peers


@pytest.fixture
def anna(client: httpx.Client, wg0: dict[str, Any]) -> dict[str, str]:
    """Somebody who signs in for her own devices, of which she may have two."""
    made(client, f"/api/configs/{wg0['id']}/endpoint-group", domain="vpn.example.com")
    new_user(client, "anna", "self-service", device_limit=2)
    return signed_in(client)


def device(client: httpx.Client, me: dict[str, str], **body: Any) -> httpx.Response:
    return client.post("/api/me/devices", json={"name": "phone"} | body, headers=me)


def test_a_user_makes_rotates_and_deletes_devices_of_its_own(client: httpx.Client, anna: dict[str, str]) -> None:
    mine = device(client, anna).json()
    assert (mine["name"], mine["owner_id"]) == ("anna-phone", client.get("/api/users/anna").json()["id"])
    file = client.get(f"/api/me/devices/{mine['id']}/config", headers=anna)
    assert "PrivateKey" in file.text
    assert client.get(f"/api/me/devices/{mine['id']}/qr", headers=anna).headers["content-type"] == "image/png"
    rotated = client.post(f"/api/me/devices/{mine['id']}/rotate", json={}, headers=anna).json()
    assert rotated["public_key"] != mine["public_key"]
    assert client.get(f"/api/me/devices/{mine['id']}/config", headers=anna).text != file.text
    assert [each["id"] for each in client.get("/api/me/devices", headers=anna).json()["items"]] == [mine["id"]]
    assert client.delete(f"/api/me/devices/{mine['id']}", headers=anna).status_code == 204
    assert client.get(f"/api/me/devices/{mine['id']}", headers=anna).status_code == 404
    actions = [each["action"] for each in client.get("/api/audit-logs").json()["items"] if each["actor"] == "user:anna"]
    assert actions == ["deleted", "read_config", "updated", "read_config", "read_config", "created", "signed_in", "set"]


@pytest.mark.parametrize("kept", ["switched off", "restricted", "job", "speed"])
def test_nobody_is_rid_of_limits_by_making_a_device_anew(
    client: httpx.Client, panel: Panel, anna: dict[str, str], kept: str
) -> None:
    mine = device(client, anna).json()["id"]
    path = f"/api/peers/{mine}"
    if kept == "switched off":
        assert client.patch(path, json={"enabled": False}).is_success
    elif kept == "speed":
        assert client.patch(path, json={"download_speed": 1_000_000}).is_success
    elif kept == "job":
        limit = {"field": "total_data", "operator": "lgt", "value": 10**9, "action": "restrict"}
        made(client, f"{path}/jobs", **limit)
    else:
        with panel.store.write() as tx:
            peers.get(tx, mine).restricted_at = 1.0
    refused = client.delete(f"/api/me/devices/{mine}", headers=anna)
    assert refused.status_code == 403
    assert "ask an administrator" in refused.json()["detail"]
    assert client.delete(path).is_success


def test_one_that_a_tag_limits_is_not_the_users_to_delete(client: httpx.Client, anna: dict[str, str]) -> None:
    mine = device(client, anna).json()["id"]
    rules = made(client, "/api/rule-sets", name="guests", rules=[{"allow": False, "place": "users"}])["id"]
    made(client, "/api/tags", name="slow", download_speed=1_000_000)
    made(client, "/api/tags", name="guest", rule_set=rules)
    made(client, "/api/tags", name="trial")
    made(client, "/api/tags/trial/jobs", field="total_data", value=10**9)
    for tag in ("slow", "guest", "trial"):
        client.patch(f"/api/peers/{mine}", json={"tags": [tag]})
        refused = client.delete(f"/api/me/devices/{mine}", headers=anna)
        assert (refused.status_code, "ask an administrator" in refused.json()["detail"]) == (403, True), tag
    made(client, "/api/tags", name="office", mtu=1380)
    client.patch(f"/api/peers/{mine}", json={"tags": ["office"]})
    assert client.delete(f"/api/me/devices/{mine}", headers=anna).status_code == 204


def test_there_are_as_many_as_an_administrator_allows(client: httpx.Client, anna: dict[str, str]) -> None:
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda n: device(client, anna, name=f"d{n}").status_code, range(4)))
    assert sorted(answers) == [201, 201, 409, 409]
    allowed = client.get("/api/me/device-allowance", headers=anna).json()
    assert (allowed["devices"], allowed["most"], [each["name"] for each in allowed["configs"]]) == (2, 2, ["wg0"])
    client.patch("/api/users/anna", json={"device_limit": None})
    assert device(client, anna, name="more").status_code == 201
    client.patch("/api/users/anna", json={"device_limit": 0})
    assert "ask an administrator" in device(client, anna, name="yet more").json()["detail"]


def test_nobody_sees_or_touches_the_devices_of_another(client: httpx.Client, anna: dict[str, str]) -> None:
    new_user(client, "bea", "self-service")
    bea = signed_in(client, "bea")
    mine = device(client, anna).json()["id"]
    others = made(client, "/api/configs/wg0/peers", name="nobodys")["id"]
    for peer in (mine, others, "none"):
        calls = [("GET", ""), ("GET", "/config"), ("GET", "/qr"), ("POST", "/rotate"), ("DELETE", "")]
        for method, more in calls:
            answer = client.request(
                method, f"/api/me/devices/{peer}{more}", headers=bea, json={} if method == "POST" else None
            )
            assert answer.status_code == 404, f"{method} {more}: {answer.text}"
    assert client.get("/api/me/devices", headers=bea).json()["items"] == []
    assert client.get(f"/api/peers/{mine}", headers=anna).status_code == 403
    assert device(client, {"Authorization": client.headers["Authorization"]}).status_code == 403


def test_devices_are_made_in_configs_within_the_limit(client: httpx.Client, anna: dict[str, str]) -> None:
    made(client, "/api/configs", name="wg1", pools=["10.9.0.0/24"])
    answer = device(client, anna)
    assert (answer.status_code, "wg0, wg1" in answer.json()["detail"]) == (422, True), answer.text
    assert device(client, anna, config="wg1").status_code == 201
    client.patch("/api/users/anna", json={"configs": ["wg0"]})
    assert device(client, anna, config="wg1", name="tablet").status_code == 404
    assert device(client, anna, name="tablet").status_code == 201


def test_a_disabled_users_devices_are_off_and_a_deleted_ones_go_with_it(
    client: httpx.Client, anna: dict[str, str]
) -> None:
    mine = device(client, anna).json()["id"]
    client.patch("/api/users/anna", json={"disabled": True})
    assert client.get(f"/api/peers/{mine}").json()["enabled"] is False
    client.patch("/api/users/anna", json={"disabled": False})
    anna = signed_in(client)
    assert client.post(f"/api/me/devices/{mine}/rotate", json={}, headers=anna).status_code == 403
    answer = client.delete("/api/users/anna")
    assert (answer.status_code, "devices=delete" in answer.json()["detail"]) == (409, True)
    assert client.delete("/api/users/anna", params={"devices": "delete"}).status_code == 204
    assert client.get(f"/api/peers/{mine}").status_code == 404


def test_who_gives_a_peer_an_owner_may_read_its_file_too(client: httpx.Client, anna: dict[str, str]) -> None:
    peer = made(client, "/api/configs/wg0/peers", name="laptop", owner="anna")
    assert client.get(f"/api/me/devices/{peer['id']}", headers=anna).status_code == 200
    assert client.patch(f"/api/peers/{peer['id']}", json={"owner": None}).json()["owner_id"] is None
    assert client.get(f"/api/me/devices/{peer['id']}", headers=anna).status_code == 404
    writer = made(client, "/api/keys", name="w", scopes=["read", "write"])["key"]
    me = {"Authorization": f"Bearer {writer}"}
    for method, path, body in (
        ("PATCH", f"/api/peers/{peer['id']}", {"owner": "anna"}),
        ("POST", "/api/configs/wg0/peers", {"name": "x", "owner": "anna"}),
        ("POST", "/api/configs/wg0/peers/batch", {"peers": [{"name": "x", "owner": "anna"}]}),
    ):
        answer = client.request(method, path, json=body, headers=me)
        assert (answer.status_code, "'secrets'" in answer.json()["detail"]) == (403, True), answer.text
