"""The bundle of a peer over the API."""

import io
import tarfile
from typing import Any

import httpx
import pytest

from tests.panel.conftest import made


@pytest.fixture
def anna(client: httpx.Client, wg0: dict[str, Any]) -> dict[str, Any]:
    made(client, f"/api/configs/{wg0['id']}/endpoint-group", domain="vpn.example.com")
    return made(client, f"/api/configs/{wg0['id']}/peers", name="anna")


def test_a_bundle_has_the_peers_own_file_in_it_and_is_the_same_each_time(
    client: httpx.Client, anna: dict[str, Any]
) -> None:
    path = f"/api/peers/{anna['id']}"
    answer = client.get(f"{path}/bundle")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/gzip"
    assert answer.headers["Content-Disposition"] == 'attachment; filename="wg0.tar.gz"'
    assert answer.headers["Cache-Control"] == "no-store"
    with tarfile.open(fileobj=io.BytesIO(answer.content), mode="r:gz") as tar:
        packed = tar.extractfile("wg0/wg0.conf")
        assert packed is not None
        assert packed.read().decode() == client.get(f"{path}/config").text
    assert client.get(f"{path}/bundle").content == answer.content
    assert client.get("/api/audit-logs?entity_type=peer").json()["items"][0]["action"] == "read_config"


def test_a_bundle_asks_for_the_scope_of_secrets(client: httpx.Client, anna: dict[str, Any]) -> None:
    key = made(client, "/api/keys", name="ci", scopes=["read", "write"])["key"]
    answer = client.get(f"/api/peers/{anna['id']}/bundle", headers={"Authorization": f"Bearer {key}"})
    assert answer.status_code == 403
    assert "secrets" in answer.json()["detail"]
