"""Settings of files: of a peer, of its tags, of its config; and networks that files leave out."""

from ipaddress import ip_address, ip_network
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.panel.clients.test_files import serve
from tests.panel.conftest import made, one_database
from wgfleet.panel.api import Panel
from wgfleet.panel.domain.client_settings import without
from wgfleet.panel.keypairs import new_key_pair


def lines(client: httpx.Client, peer: dict[str, Any]) -> dict[str, str]:
    """Return the lines of a peer's file by what they set."""
    text = client.get(f"/api/peers/{peer['id']}/config").text
    return {name: value for name, _, value in (line.partition(" = ") for line in text.splitlines())}


def changed(client: httpx.Client, path: str, **body: object) -> dict[str, Any]:
    answer = client.patch(path, json=body)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def origins(client: httpx.Client, peer: dict[str, Any]) -> dict[str, str]:
    rows = client.get(f"/api/peers/{peer['id']}/details").json()["settings"]
    return {row["name"]: row["origin"] for row in rows}


@pytest.mark.usefixtures("wg0")
def test_the_nearest_of_peer_tag_and_config_wins_and_its_origin_is_shown(panel: Panel, client: httpx.Client) -> None:
    serve(panel, client, "wg0", "fra1")
    made(client, "/api/tags", name="دفتر", mtu=1300, keepalive=10, dns=["9.9.9.9"])
    made(client, "/api/tags", name="alpha", keepalive=11)
    anna = made(client, "/api/configs/wg0/peers", name="anna", mtu=1280, tags=["دفتر", "alpha"], notes="blue phone")
    assert anna["tags"] == ["alpha", "دفتر"]
    said = lines(client, anna)
    assert (said["MTU"], said["PersistentKeepalive"], said["DNS"]) == ("1280", "11", "9.9.9.9")
    found = origins(client, anna)
    assert found["mtu"] == "peer"
    assert found["keepalive"] == "tag 'alpha'"
    assert found["dns"] == "tag 'دفتر'"
    assert found["client_allowed_ips"] == found["endpoint_port"] == "config"
    assert client.get(f"/api/peers/{anna['id']}/details").json()["notes"] == "blue phone"
    changed(client, f"/api/peers/{anna['id']}", mtu=None, dns=[], endpoint_port=443, tags=["دفتر"])
    said = lines(client, anna)
    assert (said["MTU"], said["PersistentKeepalive"], said["Endpoint"]) == ("1300", "10", "192.0.2.1:443")
    assert "DNS" not in said  # an empty list is a setting too
    changed(client, "/api/tags/دفتر", keepalive=None)
    assert lines(client, anna)["PersistentKeepalive"] == "25"
    changed(client, "/api/configs/wg0", keepalive=40)
    assert lines(client, anna)["PersistentKeepalive"] == "40"
    assert client.delete("/api/tags/دفتر").status_code == 204
    assert "MTU" not in lines(client, anna)


@pytest.mark.usefixtures("wg0")
def test_nodes_hear_nothing_of_what_only_files_say(panel: Panel, client: httpx.Client) -> None:
    serve(panel, client, "wg0", "fra1")
    anna = made(client, "/api/configs/wg0/peers", name="anna")
    before = client.get("/api/configs/wg0").json()["generation"]
    made(client, "/api/tags", name="office", mtu=1300)
    changed(client, f"/api/peers/{anna['id']}", mtu=1280, notes="x", tags=["office"])
    assert client.get("/api/configs/wg0").json()["generation"] == before
    changed(client, f"/api/peers/{anna['id']}", mtu=1290, name="anne")
    assert client.get("/api/configs/wg0").json()["generation"] > before
    assert lines(client, anna)["MTU"] == "1290"


@pytest.mark.parametrize(
    ("pools", "excluded", "address", "allowed"),
    [
        (["10.6.0.0/24"], [], "10.6.0.2/32", "0.0.0.0/0, ::/0"),
        (["10.6.0.0/24"], ["::/0"], "10.6.0.2/32", "0.0.0.0/0"),
        (["10.6.0.0/24", "fd00:6::/64"], ["::/0"], "10.6.0.2/32", "0.0.0.0/0"),
        (["10.6.0.0/24", "fd00:6::/64"], ["0.0.0.0/0"], "fd00:6::2/128", "::/0"),
        (["fd00:6::/64"], ["::/0"], "fd00:6::2/128", "0.0.0.0/0, fd00:6::/64"),
    ],
)
def test_a_version_that_is_excluded_as_a_whole_is_nowhere_in_the_file(
    client: httpx.Client, pools: list[str], excluded: list[str], address: str, allowed: str
) -> None:
    made(client, "/api/configs", name="wg6", pools=pools, dns=["9.9.9.9", "2620:fe::fe", "example.com"])
    made(client, "/api/configs/wg6/endpoint-group", domain="vpn.example.com")
    peer = made(client, "/api/configs/wg6/peers", name="anna", excluded_networks=excluded)
    lines = client.get(f"/api/peers/{peer['id']}/config").text.splitlines()
    assert f"Address = {address}" in lines
    assert f"AllowedIPs = {allowed}" in lines
    (dns,) = [line for line in lines if line.startswith("DNS = ")]
    assert ("2620:fe::fe" in dns) is ("::/0" in allowed or "fd00" in allowed)
    assert "example.com" in dns


@pytest.mark.usefixtures("wg0")
def test_files_leave_out_excluded_networks_but_never_the_pools(panel: Panel, client: httpx.Client) -> None:
    serve(panel, client, "wg0", "fra1")
    changed(client, "/api/configs/wg0", excluded_networks=["10.0.0.0/8", "192.168.0.0/16"])
    anna = made(client, "/api/configs/wg0/peers", name="anna", client_allowed_ips=["0.0.0.0/0"])
    allowed = [ip_network(each) for each in lines(client, anna)["AllowedIPs"].split(", ")]

    def inside(address: str) -> bool:
        return any(ip_address(address) in network for network in allowed)

    assert inside("10.8.0.1")
    assert inside("10.8.0.255")
    assert inside("9.255.255.255")
    assert inside("11.0.0.0")
    assert not inside("10.9.0.0")
    assert not inside("10.7.255.255")
    assert not inside("192.168.1.1")
    changed(client, f"/api/peers/{anna['id']}", excluded_networks=[])
    assert lines(client, anna)["AllowedIPs"] == "0.0.0.0/0"


@one_database
@pytest.mark.usefixtures("wg0")
@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"client_allowed_ips": []}, "client_allowed_ips"),
        ({"client_allowed_ips": ["10.0.0.0/33"]}, "client_allowed_ips[0]"),
        ({"client_allowed_ips": ["10.0.0.0/8", "::ffff:10.9.0.0/112"]}, "client_allowed_ips[1]"),
        ({"excluded_networks": ["192.168.0.1/16"]}, "excluded_networks[0]"),
        ({"dns": ["9.9.9.9", "no name"]}, "dns[1]"),
        ({"mtu": 1000}, "mtu"),  # its pools are IPv6 too
        ({"mtu": 100}, "mtu"),
        ({"keepalive": 70000}, "keepalive"),
        ({"endpoint_port": 0}, "endpoint_port"),
        ({"notes": "a\x07b"}, "notes"),
        ({"notes": "n" * 5000}, "notes"),
        ({"tags": ["nowhere"]}, "tags[0]"),
    ],
    ids=str,
)
def test_a_wrong_setting_is_named(client: httpx.Client, body: dict[str, object], field: str) -> None:
    peer = made(client, "/api/configs/wg0/peers", name="anna")
    for answer in (
        client.post("/api/configs/wg0/peers", json={"name": "bert", **body}),
        client.patch(f"/api/peers/{peer['id']}", json=body),
        client.post("/api/configs/wg0/peers/batch", json={"peers": [{"name": "bert", **body}]}),
    ):
        assert answer.status_code == 422, answer.text
        assert answer.json()["errors"][0]["field"].removeprefix("peers[0].") == field
    assert [each["name"] for each in client.get("/api/configs/wg0/peers").json()["items"]] == ["anna"]


@pytest.mark.usefixtures("wg0")
def test_many_peers_have_details_of_their_own(panel: Panel, client: httpx.Client) -> None:
    serve(panel, client, "wg0", "fra1")
    made(client, "/api/tags", name="office")
    peers = [
        {"name": f"p{i}", "mtu": 1300 + i, "tags": ["office"] if i % 2 else [], "public_key": new_key_pair()[1]}
        for i in range(6)
    ]
    items = made(client, "/api/configs/wg0/peers/batch", peers=peers)["items"]
    assert [item["tags"] for item in items] == [[], ["office"]] * 3
    assert [lines(client, item)["MTU"] for item in items] == [str(1300 + i) for i in range(6)]


@pytest.mark.usefixtures("wg0")
def test_peers_are_listed_by_tag(client: httpx.Client) -> None:
    office = made(client, "/api/tags", name="office", color="#3AF")
    assert office["color"] == "#33aaff"
    made(client, "/api/configs", name="wg1", mode="cluster", pools=["10.9.0.0/24"])
    here = [made(client, "/api/configs/wg0/peers", name=name) for name in ("anna", "bert", "carl")]
    there = made(client, "/api/configs/wg1/peers", name="anna")
    ids = [here[0]["id"], here[2]["id"], there["id"]]
    assert client.post("/api/tags/office/peers", json={"add": ids}).json() == {"added": 3}
    assert client.post("/api/tags/office/peers", json={"add": ids[:1]}).json() == {"added": 0}
    assert client.get("/api/tags/office").json()["peers"] == 3

    def listed(**query: Any) -> list[str]:
        answer = client.get("/api/configs/wg0/peers", params={"tag": "office", **query})
        return [each["name"] for each in answer.json()["items"]]

    assert listed() == ["anna", "carl"]
    assert listed(limit=1) == ["anna"]
    first = client.get("/api/configs/wg0/peers", params={"tag": "office", "limit": 1}).json()
    assert listed(after=first["next"]) == ["carl"]
    assert listed(search="car") == ["carl"]
    assert client.post("/api/tags/office/peers", json={"remove": ids[:2]}).status_code == 200
    assert listed() == []
    unknown = client.post("/api/tags/office/peers", json={"add": [ids[0], "f" * 32]})
    assert (unknown.status_code, unknown.json()["errors"][0]["field"]) == (422, "add[1]")
    assert listed() == []  # all or none
    assert client.get("/api/configs/wg0/peers", params={"tag": "nowhere"}).status_code == 404


@pytest.mark.usefixtures("wg0")
def test_a_tag_has_one_name_and_a_peer_not_too_many_tags(client: httpx.Client) -> None:
    made(client, "/api/tags", name="é")
    assert client.post("/api/tags", json={"name": "e\u0301"}).status_code == 409
    assert client.get("/api/tags/e\u0301").json()["name"] == "é"
    for name in ("a/b", "a\nb", "", "f" * 32, ".", ".."):
        assert client.post("/api/tags", json={"name": name}).status_code == 422
    peer = made(client, "/api/configs/wg0/peers", name="anna")
    for number in range(33):
        made(client, "/api/tags", name=f"t{number}")
    changed(client, f"/api/peers/{peer['id']}", tags=[f"t{number}" for number in range(32)])
    assert client.patch(f"/api/peers/{peer['id']}", json={"tags": ["t0"] * 33}).status_code == 422
    refused = client.post("/api/tags/t32/peers", json={"add": [peer["id"]]})
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "add[0]")
    assert client.delete(f"/api/peers/{peer['id']}").status_code == 204
    assert client.get("/api/tags/t0").json()["peers"] == 0


SMALL = st.builds(
    lambda low, length: f"10.0.{low & ((0xFF << (8 - length)) & 0xFF)}.0/{16 + length}",
    st.integers(0, 255),
    st.integers(0, 8),
)
NETWORKS = st.lists(SMALL, max_size=8)


@given(NETWORKS.filter(bool), NETWORKS, NETWORKS)
def test_what_is_left_is_what_was_allowed_and_not_excluded_and_what_is_kept(
    allowed: list[str], excluded: list[str], kept: list[str]
) -> None:
    def parts(networks: list[str] | tuple[str, ...]) -> set[int]:
        """Return the third byte of each address that networks have: none of them is smaller."""
        return {
            int(subnet.network_address) >> 8 for each in networks for subnet in ip_network(each).subnets(new_prefix=24)
        }

    left = without(allowed, excluded, kept)
    wanted = (parts(allowed) - parts(excluded)) | (parts(allowed) & parts(kept)) if excluded else parts(allowed)
    assert parts(left) == wanted
    if excluded:
        assert sum(ip_network(each).num_addresses for each in left) == len(wanted) * 256  # none twice


def test_several_hundred_networks_of_both_kinds_are_left_out() -> None:
    excluded = [f"10.{i}.{j}.0/24" for i in range(16) for j in range(0, 256, 16)] + ["fd00::/8", "2001:db8::/32"]
    left = [ip_network(each) for each in without(["0.0.0.0/0", "::/0"], excluded)]
    networks = [ip_network(each) for each in excluded]
    assert not any(each.overlaps(gone) for each in left for gone in networks if each.version == gone.version)
    assert sum(each.num_addresses for each in left if each.version == 4) == 2**32 - 256 * 256
    assert without(["10.0.0.0/24"], ["10.0.0.0/16"]) == ()
