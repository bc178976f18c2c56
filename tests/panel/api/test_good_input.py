"""What people rightly give is taken, and kept in one form."""

import httpx
import pytest

from tests.panel.clients.test_files import serve
from tests.panel.conftest import made
from wgfleet.panel.api import Panel
from wgfleet.panel.keypairs import new_key_pair

NAMES = (
    "\u0639\u0644\u06cc\u200c\u0631\u0636\u0627",  # Persian, with a joiner
    "\U0001f468\u200d\U0001f469\u200d\U0001f467 iPad",
    "Anna\u00a0Maria",
    "\u200f\u05d3\u05e0\u05d4",  # begins with a mark of direction
    "\u0410\u043d\u043d\u0430",
    'o\'Brien "x" [1] #2; rm -rf',
)


@pytest.mark.usefixtures("wg0")
def test_peers_are_called_as_people_call_them(client: httpx.Client) -> None:
    for name in NAMES:
        assert made(client, "/api/configs/wg0/peers", name=name)["name"] == name
    made(client, "/api/configs/wg0/endpoint-group", domain="192.0.2.77")
    for peer in client.get("/api/configs/wg0/peers").json()["items"]:
        text = client.get(f"/api/peers/{peer['id']}/config").text
        assert text.startswith(f"# {peer['name']} on wg0\n[Interface]\n")
        assert "Endpoint = 192.0.2.77:51820" in text
    two_ways = made(client, "/api/configs/wg0/peers", name="Zoe\u0308")
    assert two_ways["name"] == "Zo\u00eb"
    found = client.get("/api/configs/wg0/peers", params={"search": "zoe\u0308"}).json()["items"]
    assert [peer["id"] for peer in found] == [two_ways["id"]]


@pytest.mark.usefixtures("wg0")
def test_a_key_is_taken_with_the_end_of_its_line(client: httpx.Client) -> None:
    key = new_key_pair()[1]
    assert made(client, "/api/configs/wg0/peers", name="anna", public_key=f" {key}\r\n")["public_key"] == key


def test_ipv4_alone_may_have_a_small_mtu_and_hundreds_of_networks(client: httpx.Client) -> None:
    networks = [f"10.{i // 256}.{i % 256}.0/24" for i in range(300)]
    config = made(client, "/api/configs", name="wg1", pools=["192.168.9.0/24"], mtu=1200, client_allowed_ips=networks)
    assert (config["mtu"], config["client_allowed_ips"]) == (1200, networks)
    made(client, "/api/configs/wg1/endpoint-group", domain="VPN.stra\u00dfe.example.")
    assert client.get("/api/configs/wg1/endpoint-group").json()["domain"] == "vpn.xn--strae-oqa.example"
    search = client.patch("/api/configs/wg1", json={"dns": ["ad._corp.local"]})
    assert search.json()["dns"] == ["ad._corp.local"]


def test_a_config_called_like_a_device_of_windows_has_a_file_that_can_be_there(
    panel: Panel, client: httpx.Client
) -> None:
    made(client, "/api/configs", name="con", pools=["10.9.0.0/24"])
    serve(panel, client, "con", "fra1")
    peer = made(client, "/api/configs/con/peers", name="anna")
    (file,) = client.get(f"/api/peers/{peer['id']}/configs").json()["items"]
    assert file["file_name"] == "wg-con.conf"


@pytest.mark.usefixtures("wg0")
def test_there_is_a_code_only_where_a_phone_could_use_it(client: httpx.Client) -> None:
    made(client, "/api/configs/wg0/endpoint-group", domain="vpn.example.com")
    own = made(client, "/api/configs/wg0/peers", name="bert", public_key=new_key_pair()[1])
    without_key = client.get(f"/api/peers/{own['id']}/qr")
    assert (without_key.status_code, "private key" in without_key.json()["detail"]) == (409, True)
    anna = made(client, "/api/configs/wg0/peers", name="anna")
    networks = [f"2001:db8:{i:x}::/48" for i in range(1, 200)]
    assert client.patch("/api/configs/wg0", json={"client_allowed_ips": networks}).status_code == 200
    too_long = client.get(f"/api/peers/{anna['id']}/qr")
    assert (too_long.status_code, "too many for a QR code" in too_long.json()["detail"]) == (409, True)
