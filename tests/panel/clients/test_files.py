"""Files of users over the API, with their secrets."""

from io import BytesIO
from zipfile import ZipFile

import httpx
import pytest

from tests.panel.conftest import made
from tests.panel.fleet.test_api import SEED_ENDPOINT_GROUP
from wgfleet.panel.api import Panel
from wgfleet.panel.keypairs import new_key_pair
from wgfleet.panel.services import configs
from wgfleet.panel.services.fleet import assignments, nodes


def serve(panel: Panel, client: httpx.Client, config: str, *names: str) -> None:
    """Assign new nodes, and have each confirm, as its agent would."""
    for number, name in enumerate(names, start=1):
        made(client, "/api/nodes", name=name, endpoint_addresses=[f"192.0.2.{number}"])
        made(client, f"/api/configs/{config}/nodes", node_id=name)
        with panel.store.write() as tx:
            config_row, node = configs.get(tx, config), nodes.get(tx, name)
            assignments.confirmed(tx, config_row.id, node.id, config_row.generation, (), "in sync", held=())


@pytest.mark.usefixtures("wg0")
def test_a_cluster_has_one_file_with_the_domain_and_without_one_the_home_nodes_address(
    panel: Panel, client: httpx.Client
) -> None:
    serve(panel, client, "wg0", "fra1")
    peer = made(client, "/api/configs/wg0/peers", name="anna")
    text = client.get(f"/api/peers/{peer['id']}/config").text
    assert "Endpoint = 192.0.2.1:51820\n" in text
    assert "Address = 10.8.0.2/32, fd00:8::2/128\n" in text
    made(client, "/api/configs/wg0/endpoint-group", domain="vpn.example.com", port=443)
    (only,) = client.get(f"/api/peers/{peer['id']}/configs").json()["items"]
    assert "Endpoint = vpn.example.com:443\n" in only["text"]
    assert only["node_id"] is None
    refused = client.get(f"/api/peers/{peer['id']}/config", params={"node": "fra1"})
    assert refused.status_code == 404
    assert "its one file is for all nodes" in refused.json()["detail"]
    own = made(client, "/api/configs/wg0/peers", name="bert", public_key=new_key_pair()[1])
    assert "REPLACE_THIS" in client.get(f"/api/peers/{own['id']}/config").text


def test_an_independent_config_has_a_file_for_each_node(panel: Panel, client: httpx.Client) -> None:
    made(client, "/api/configs", name="wg1", mode="independent", pools=["10.9.0.0/24"])
    serve(panel, client, "wg1", "fra1", "ams1")
    peer = made(client, "/api/configs/wg1/peers", name="anna")
    files = client.get(f"/api/peers/{peer['id']}/configs").json()["items"]
    assert {file["node_name"] for file in files} == {"fra1", "ams1"}
    lines = [
        {line.partition(" = ")[0]: line.partition(" = ")[2] for line in file["text"].splitlines()} for file in files
    ]
    for name in ("Address", "PublicKey", "Endpoint"):
        assert lines[0][name] != lines[1][name]
    assert lines[0]["PrivateKey"] == lines[1]["PrivateKey"]
    refused = client.get(f"/api/peers/{peer['id']}/config", params={"node": "lon1"})
    assert refused.status_code == 404
    assert "there are files for ams1, fra1" in refused.json()["detail"]


@pytest.mark.usefixtures("wg0")
def test_a_file_and_its_qr_codes_are_for_the_owner_only(client: httpx.Client) -> None:
    made(client, "/api/configs/wg0/endpoint-group", **SEED_ENDPOINT_GROUP)
    peer = made(client, "/api/configs/wg0/peers", name="anna")
    path = f"/api/peers/{peer['id']}"
    file = client.get(f"{path}/config")
    assert file.headers["Content-Type"].startswith("text/plain")
    assert file.headers["Content-Disposition"] == 'attachment; filename="wg0.conf"'
    assert file.headers["Cache-Control"] == "no-store"
    assert "Endpoint = vpn.example.com:51820" in file.text
    files = client.get(f"{path}/configs").json()["items"]
    assert [(each["file_name"], each["text"]) for each in files] == [("wg0.conf", file.text)]
    png, svg = client.get(f"{path}/qr"), client.get(f"{path}/qr?format=svg")
    assert png.content.startswith(b"\x89PNG")
    assert b"<svg" in svg.content
    assert client.get(f"{path}/qr?format=gif").status_code == 422


@pytest.mark.usefixtures("wg0")
def test_a_config_without_endpoint_says_what_a_file_lacks(client: httpx.Client) -> None:
    peer = made(client, "/api/configs/wg0/peers", name="anna")
    answer = client.get(f"/api/peers/{peer['id']}/config")
    assert answer.status_code == 409
    assert "assign a node" in answer.json()["detail"]


def test_the_call_that_makes_an_endpoint_works_where_there_is_none(client: httpx.Client) -> None:
    made(client, "/api/configs", name="wg0", pools=["10.8.0.0/24"])
    peer = made(client, "/api/configs/wg0/peers", name="anna")
    path = "/api/configs/wg0/endpoint-group"
    for refused in (
        client.get(f"/api/peers/{peer['id']}/config"),
        client.patch(path, json={"domain": "vpn.example.com"}),
    ):
        assert f"(POST {path})" in refused.json()["detail"], refused.text
    made(client, path, domain="vpn.example.com")
    assert client.get(f"/api/peers/{peer['id']}/config").status_code == 200


def test_nodes_whose_names_begin_alike_have_files_of_their_own(panel: Panel, client: httpx.Client) -> None:
    made(client, "/api/configs", name="wg7", mode="independent", pools=["10.7.0.0/16"])
    serve(panel, client, "wg7", "frankfurt-main-1", "frankfurt-main-2", "ber1")
    peer = made(client, "/api/configs/wg7/peers", name="anna")
    files = [each["file_name"] for each in client.get(f"/api/peers/{peer['id']}/configs").json()["items"]]
    assert len(set(files)) == 3
    assert "wg7-ber1.conf" in files
    assert all(len(name.removesuffix(".conf")) <= 15 for name in files)


@pytest.mark.parametrize("template", [None, "{config}-{peer}"])
def test_all_files_of_a_peer_come_in_one_zip(panel: Panel, client: httpx.Client, template: str | None) -> None:
    made(client, "/api/configs", name="wg7", mode="independent", pools=["10.7.0.0/16"], file_names=template)
    serve(panel, client, "wg7", "fra1", "ber1")
    peer = made(client, "/api/configs/wg7/peers", name="anna")
    texts = [each["text"] for each in client.get(f"/api/peers/{peer['id']}/configs").json()["items"]]
    answer = client.get(f"/api/peers/{peer['id']}/configs/zip")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-disposition"] == 'attachment; filename="anna-files.zip"'
    with ZipFile(BytesIO(answer.content)) as packed:
        names = packed.namelist()
        assert [packed.read(name).decode() for name in names] == texts
    assert len(set(names)) == 2
    if template is None:
        assert set(names) == {"wg7-fra1.conf", "wg7-ber1.conf"}
    else:
        assert all(name.startswith("wg7-anna") for name in names)


@pytest.mark.usefixtures("wg0")
def test_a_routers_own_file_leaves_out_the_networks_behind_it(panel: Panel, client: httpx.Client) -> None:
    serve(panel, client, "wg0", "fra1")
    allowed = ["10.8.0.0/16", "192.168.7.0/24", "192.168.7.128/25", "192.168.0.0/16", "fd07::/64"]
    assert client.patch("/api/configs/wg0", json={"client_allowed_ips": allowed}).is_success
    office = made(client, "/api/configs/wg0/peers", name="office", networks=["192.168.7.0/24", "fd07::/64"])
    other = made(client, "/api/configs/wg0/peers", name="anna")

    def allowed_ips(peer: dict[str, str]) -> str:
        text = client.get(f"/api/peers/{peer['id']}/config").text
        return next(line for line in text.splitlines() if line.startswith("AllowedIPs"))

    around = ["0.0/22", "4.0/23", "6.0/24", "8.0/21", "16.0/20", "32.0/19", "64.0/18", "128.0/17"]
    assert allowed_ips(office) == f"AllowedIPs = 10.8.0.0/16, {', '.join(f'192.168.{each}' for each in around)}"
    assert allowed_ips(other) == f"AllowedIPs = {', '.join(allowed)}"
    assert client.patch("/api/configs/wg0", json={"client_allowed_ips": ["192.168.7.0/24"]}).is_success
    assert allowed_ips(office) == "AllowedIPs = 10.8.0.0/24, fd00:8::/64", "there has to be something in it"
    assert client.patch("/api/configs/wg0", json={"client_allowed_ips": ["192.168.6.0/23", "::/0"]}).is_success
    assert allowed_ips(office) == "AllowedIPs = 192.168.6.0/24, ::/0", "all of a version stays whole"
