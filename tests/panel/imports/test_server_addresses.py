"""The server's own address stays with the nodes, whichever of its network it is, and what cannot stay is said."""

from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.imports.samples import Keys
from tests.panel.clients.test_files import serve
from tests.panel.imports.test_imports import body, done
from wgfleet.imports import sources
from wgfleet.panel.api import Panel
from wgfleet.panel.services import configs
from wgfleet.panel.services.fleet import desired
from wgfleet.panel.store import assignments


@pytest.fixture
def keys() -> Keys:
    return Keys()


def imported(tmp_path: Path, keys: Keys, addresses: str, **peers: str) -> dict[str, Any]:
    lines = [f"[Interface]\nPrivateKey = {keys.private('server')}\nListenPort = 51833\nAddress = {addresses}"]
    lines += [f"[Peer]\n# {name}\nPublicKey = {keys.public(name)}\nAllowedIPs = {own}" for name, own in peers.items()]
    path = tmp_path / "office.conf"
    path.write_text("\n".join(lines) + "\n")
    return body(sources.read("wg-quick", path))


@pytest.mark.parametrize("own", ["10.9.0.254/24", "10.9.0.5/24", "10.9.0.5/24, fd00:9::a8bb:ccff:fedd:eeff/64"])
def test_nodes_have_the_address_that_the_server_had(
    panel: Panel, client: httpx.Client, tmp_path: Path, keys: Keys, own: str
) -> None:
    wanted = own.split(", ")
    call = imported(tmp_path, keys, own, anna="10.9.0.1/32", bert="10.9.0.7/32")
    preview = done(client, call, "/api/imports/preview")
    assert done(client, call) == preview
    assert not any("DNS" in each for each in preview["remarks"])
    config = client.get("/api/configs/office").json()
    assert config["server_addresses"] == [each.partition("/")[0] for each in wanted]
    rows = {row["name"]: row["addresses"] for row in client.get("/api/configs/office/peers").json()["items"]}
    assert (rows["anna"][0], rows["bert"][0]) == ("10.9.0.1", "10.9.0.7")
    serve(panel, client, "office", "fra1")
    with panel.store.read() as tx:
        row = configs.get(tx, "office")
        [(assignment, _)] = assignments.of_config(tx, row.id)
        assert list(desired.whole(tx, panel.vault, row, assignment).settings.addresses) == wanted
    again = done(client, call)
    assert {each["fate"] for each in again["peers"]} == {"same"}


def test_what_of_it_cannot_stay_is_said(client: httpx.Client, tmp_path: Path, keys: Keys) -> None:
    call = imported(tmp_path, keys, "10.9.0.5/24, 10.9.0.6/24, 10.10.0.0/24", anna="10.9.0.5/32")
    preview = done(client, call, "/api/imports/preview")
    said = [each for each in preview["remarks"] if "DNS server" in each]
    assert [each.split()[3] for each in said] == ["10.9.0.6,", "10.10.0.0,"]
    assert not any("10.10.0.1" in each for each in preview["remarks"])
    assert "10.9.0.5 belongs to the nodes" in preview["peers"][0]["remarks"][0]
    done(client, call)
    assert client.get("/api/configs/office").json()["server_addresses"] == ["10.9.0.5", "10.10.0.1"]


def test_nodes_take_no_address_that_a_peer_has_where_the_servers_is_no_hosts(
    client: httpx.Client, tmp_path: Path, keys: Keys
) -> None:
    call = imported(tmp_path, keys, "10.252.1.0/24", anna="10.252.1.1/32", bert="10.252.1.2/32", carl="10.252.1.4/32")
    preview = done(client, call)
    assert [peer["addresses"] for peer in preview["peers"]] == [["10.252.1.1"], ["10.252.1.2"], ["10.252.1.4"]]
    assert not any(peer["remarks"] for peer in preview["peers"])
    assert client.get("/api/configs/office").json()["server_addresses"] == ["10.252.1.3"]


def test_an_address_that_is_too_far_up_is_said_to_be(client: httpx.Client, tmp_path: Path, keys: Keys) -> None:
    call = imported(tmp_path, keys, "fd00:9::1/64", anna="fd00:9::a8bb:ccff:fedd:eeff/128")
    (peer,) = done(client, call)["peers"]
    assert "too far up in fd00:9::/64" in peer["remarks"][0]


def test_a_peer_with_the_servers_own_key_is_left_out_and_the_others_are_not(
    client: httpx.Client, tmp_path: Path, keys: Keys
) -> None:
    call = imported(tmp_path, keys, "10.9.0.1/24", server="10.9.0.9/32", anna="10.9.0.7/32")
    own, anna = done(client, call)["peers"]
    assert (own["fate"], own["remarks"]) == ("left_out", ["its public key is that of the server itself"])
    assert anna["fate"] == "new"


def test_a_source_without_a_port_is_said_to_have_none(client: httpx.Client, tmp_path: Path, keys: Keys) -> None:
    call = imported(tmp_path, keys, "10.9.0.1/24", anna="10.9.0.7/32")
    del call["interface"]["listen_port"]
    (said,) = [each for each in done(client, call)["remarks"] if "port" in each]
    port = client.get("/api/configs/office").json()["listen_port"]
    assert f"nodes listen on {port}; files that say another need a new one" in said
    assert not any("port" in each for each in done(client, call)["remarks"])
