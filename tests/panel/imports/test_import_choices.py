"""An import whose range or port is taken here: the refusal names the way out, and the preview who needs new files."""

from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.imports.samples import Keys
from tests.panel.clients.test_files import serve
from tests.panel.conftest import made
from tests.panel.imports.test_imports import body, done
from wgfleet.imports import sources
from wgfleet.panel.api import Panel


@pytest.fixture
def keys() -> Keys:
    return Keys()


@pytest.fixture
def call(tmp_path: Path, keys: Keys) -> dict[str, Any]:
    server = [f"[Interface]\nPrivateKey = {keys.private('server')}\nListenPort = 51833\nAddress = 10.9.0.1/24"]
    for name, address in (("anna", "10.9.0.7"), ("bert", "10.9.0.8")):
        server.append(f"[Peer]\nPublicKey = {keys.public(name)}\nAllowedIPs = {address}/32")
        (tmp_path / f"{name}.conf").write_text(
            f"[Interface]\nPrivateKey = {keys.private(name)}\nAddress = {address}/32\nDNS = 10.9.0.1\n"
            f"[Peer]\nPublicKey = {keys.public('server')}\nAllowedIPs = 10.9.0.0/24\n"
            "Endpoint = vpn.example.org:51833\n"
        )
    (tmp_path / "office.conf").write_text("\n".join(server) + "\n")
    return body(sources.read("wg-quick", tmp_path / "office.conf"))


def refused(client: httpx.Client, call: dict[str, Any], path: str = "/api/imports/preview") -> dict[str, Any]:
    answer = client.post(path, json=call)
    assert answer.status_code in {409, 422}, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_a_range_that_is_taken_is_said_with_the_way_out(client: httpx.Client, call: dict[str, Any]) -> None:
    made(client, "/api/configs", name="wg0", pools=["10.9.0.0/16"])
    said = refused(client, call)
    assert (said["field"], said["hints"][0]["code"]) == ("pools[0]", "other_pools")
    assert "10.9.0.0/24 overlaps 10.9.0.0/16 of config 'wg0'" in said["detail"]
    assert said["detail"].endswith("repeat with other `pools`")
    assert refused(client, call | {"pools": ["10.9.4.0/24"]})["field"] == "pools[0]"
    assert refused(client, call | {"pools": ["ten"]})["field"] == "pools[0]"


def test_a_port_that_is_taken_is_said_with_the_way_out(client: httpx.Client, call: dict[str, Any]) -> None:
    made(client, "/api/configs", name="wg0", pools=["10.8.0.0/24"], listen_port=51833)
    said = refused(client, call)
    assert (said["field"], said["hints"][0]["code"]) == ("listen_port", "other_port")
    assert done(client, call | {"listen_port": 51834})["created"]


def test_another_range_and_port_are_taken_and_it_is_said_to_whom(
    panel: Panel, client: httpx.Client, call: dict[str, Any]
) -> None:
    wanted = call | {"pools": ["10.77.0.0/24"], "listen_port": 51999}
    preview = done(client, wanted, "/api/imports/preview")
    assert preview["remarks"][:4] == [
        "addresses of 2 peers are in none of 10.77.0.0/24: they get others, and need new files",
        "files that name the server as DNS server, at 10.9.0.1, need a new one, which names 10.77.0.1",
        (
            "files of 2 peers route what they did, and not all of 10.77.0.0/24: change their client_allowed_ips, or "
            "that of the config, before they get new files"
        ),
        (
            "nodes listen on port 51999, where the server had 51833: files that say 51833 need a new one, unless a "
            "router in front of the nodes passes that on"
        ),
    ]
    for peer in preview["peers"]:
        assert peer["remarks"][-1] == "it gets an address in 10.77.0.0/24: give it a new file"
    assert done(client, wanted) == preview
    config = client.get("/api/configs/office").json()
    assert (config["pools"], config["listen_port"], config["server_addresses"]) == (
        ["10.77.0.0/24"],
        51999,
        ["10.77.0.1"],
    )
    serve(panel, client, "office", "fra1")
    for peer in client.get("/api/configs/office/peers").json()["items"]:
        text = client.get(f"/api/peers/{peer['id']}/config").text
        for line in (f"Address = {peer['addresses'][0]}/32", "DNS = 10.77.0.1", "Endpoint = vpn.example.org:51999"):
            assert f"{line}\n" in text
    before = client.get("/api/configs/office").json()
    for again in (wanted, call):
        assert {each["fate"] for each in done(client, again)["peers"]} == {"same"}
    assert client.get("/api/configs/office").json() == before
    other = refused(client, call | {"pools": ["10.78.0.0/24"]}, "/api/imports")
    assert (other["field"], "here already, with 10.77.0.0/24" in other["detail"]) == ("pools", True)
    assert refused(client, call | {"listen_port": 52000}, "/api/imports")["field"] == "listen_port"


def test_a_range_around_that_of_the_source_keeps_all_addresses(client: httpx.Client, call: dict[str, Any]) -> None:
    preview = done(client, call | {"pools": ["10.9.0.0/16"]})
    assert not any("need" in each for each in preview["remarks"] if "route what" not in each)
    assert [peer["addresses"] for peer in preview["peers"]] == [["10.9.0.7"], ["10.9.0.8"]]
    assert client.get("/api/configs/office").json()["server_addresses"] == ["10.9.0.1"]


@pytest.mark.usefixtures("call")
def test_an_address_without_a_network_needs_a_range(client: httpx.Client, tmp_path: Path) -> None:
    place = tmp_path / "office.conf"
    place.write_text(place.read_text().replace("10.9.0.1/24", "10.9.0.1/32"))
    bare = body(sources.read("wg-quick", place))
    assert refused(client, bare)["hints"][0]["code"] == "other_pools"
    assert [peer["addresses"] for peer in done(client, bare | {"pools": ["10.9.0.0/24"]})["peers"]] == [
        ["10.9.0.7"],
        ["10.9.0.8"],
    ]


@pytest.mark.parametrize(("own", "peer"), [("10.9.0.0/31", "10.9.0.1/32"), ("fd00:9::/127", "fd00:9::1/128")])
def test_a_server_of_two_addresses_needs_a_range_and_keeps_its_peer_in_one_around_it(
    client: httpx.Client, tmp_path: Path, keys: Keys, own: str, peer: str
) -> None:
    (tmp_path / "office.conf").write_text(
        f"[Interface]\nPrivateKey = {keys.private('server')}\nListenPort = 51833\nAddress = {own}\n"
        f"[Peer]\n# anna\nPublicKey = {keys.public('anna')}\nAllowedIPs = {peer}\n"
    )
    call = body(sources.read("wg-quick", tmp_path / "office.conf"))
    said = refused(client, call)
    assert (said["field"], said["hints"][0]["code"], f"{own}: " in said["detail"]) == ("pools[0]", "other_pools", True)
    around = own.replace("/31", "/29").replace("/127", "/120")
    (anna,) = done(client, call | {"pools": [around]})["peers"]
    assert (anna["name"], anna["addresses"], anna["remarks"]) == ("anna", [peer.partition("/")[0]], [])
