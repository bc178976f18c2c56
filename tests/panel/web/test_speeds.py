"""Speeds in pages: seen with whose they are, set, and refused at their fields."""

import httpx
import pytest

from tests.panel.web import sample
from tests.panel.web.conftest import token_of
from wgfleet.panel.api import Panel
from wgfleet.panel.services.fleet import peers


@pytest.fixture(scope="module")
def peer_id(panel: Panel) -> str:
    sample.make(panel, peers=3)
    with panel.store.read() as tx:
        return peers.page(tx, None)[0].id


def post(client: httpx.Client, path: str, **fields: str) -> httpx.Response:
    return client.post(f"{path}/speeds", data={"form_token": token_of(client.get(path).text), **fields})


def test_a_peer_is_held_to_a_speed_of_its_own_or_of_its_config(admin: httpx.Client, peer_id: str) -> None:
    path = f"/peers/{peer_id}/limits"
    page = post(admin, path, download_speed="20mbit", upload_speed="").text
    assert 'value="20 Mbit/s"' in page
    assert "20\N{NO-BREAK SPACE}Mbit/s" in admin.get(f"/peers/{peer_id}").text
    page = post(admin, "/configs/wg0/limits", download_speed="100mbit", upload_speed="5mbit").text
    assert "Nothing is changed yet" in page
    assert "100 Mbit/s each at once" in page
    page = post(admin, "/configs/wg0/limits", download_speed="100mbit", upload_speed="5mbit", agreed_speeds="true").text
    assert "Nothing is changed yet" not in page
    page = admin.get(path).text
    assert "20\N{NO-BREAK SPACE}Mbit/s" in page
    assert "5\N{NO-BREAK SPACE}Mbit/s" in page
    assert page.count('href="/configs/wg0/limits"') == 1, "what the config says is shown as the config's"
    page = post(admin, path, download_speed="", upload_speed="0").text
    assert "100\N{NO-BREAK SPACE}Mbit/s" in page
    assert "no limit" in page
    assert post(admin, "/configs/wg0/limits", download_speed="", upload_speed="").status_code == 200


@pytest.mark.parametrize("speed", ["fast", "20MB", "1kbit", "9" * 500])
@pytest.mark.parametrize("of", ["peer", "config"])
def test_what_is_no_speed_is_refused_at_its_field(admin: httpx.Client, peer_id: str, of: str, speed: str) -> None:
    path = f"/peers/{peer_id}/limits" if of == "peer" else "/configs/wg0/limits"
    answer = post(admin, path, download_speed=speed)
    assert answer.status_code == 422
    assert 'id="download_speed-wrong"' in answer.text
