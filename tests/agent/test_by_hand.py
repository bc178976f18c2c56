"""What a person does with curl, and the renewal of the certificate."""

from pathlib import Path

import httpx
import msgspec
import pytest

from tests.agent.authority import Authority
from tests.agent.node import Node
from tests.agent.test_push import applied
from tests.agent.values import peer, public_key, random_key, settings, whole
from tests.waiting import eventually
from wgfleet.protocol.ids import Generation
from wgfleet.protocol.messages import AgentStatus

pytestmark = pytest.mark.lab


def test_reading_shows_no_secrets_but_in_the_config(node: Node) -> None:
    wanted = whole(1, settings(mtu=1400))
    applied(node, wanted)
    secrets = [wanted.settings.private_key, *(str(each.preshared_key) for each in wanted.peers.values())]
    for path in ("", "/dump"):
        text = node.call("GET", f"/v1/wg/wg0{path}").text
        assert all(key in text for key in wanted.peers)
        assert not [secret for secret in secrets if secret in text]
    text = node.call("GET", "/v1/wg/wg0/config").text
    assert all(secret in text for secret in secrets)
    assert "MTU = 1400" in text


def test_a_config_read_and_written_back_changes_nothing(node: Node) -> None:
    applied(node, whole(1))
    text = node.call("GET", "/v1/wg/wg0/config").text
    response = node.call("PUT", "/v1/wg/wg0/config", text.encode())
    assert response.json()["applied"]["changed"] is False
    edited = text.replace("Address = 10.8.0.1/16", "Address = 10.8.0.9/16")
    assert node.call("PUT", "/v1/wg/wg0/config", edited.encode()).json()["applied"]["verified"] is True
    assert "10.8.0.9/16" in node.host.run("ip", "addr", "show", "wg0")


def test_a_wrong_line_of_a_config_is_named(node: Node) -> None:
    applied(node, whole(1))
    text = node.call("GET", "/v1/wg/wg0/config").text
    response = node.call("PUT", "/v1/wg/wg0/config", (text + "PostUp = reboot\n").encode())
    assert response.status_code == 422
    assert response.json()["field"] == f"line {len(text.splitlines()) + 1}, PostUp"


def test_peers_changed_by_hand_last_until_the_next_generation(node: Node) -> None:
    wanted = whole(1)
    applied(node, wanted)
    key = random_key()
    added = node.call("POST", "/v1/wg/wg0/peers", {"public_key": key, "peer": peer(99)})
    assert "next generation" in added.json()["note"]
    assert key in node.host.run("wg", "show", "wg0", "peers")
    node.call("PUT", f"/v1/wg/wg0/peers/{key.replace('+', '%2B')}", peer(98))
    assert "10.8.0.98/32" in node.host.run("wg", "show", "wg0", "allowed-ips")
    first = next(iter(wanted.peers))
    assert node.call("DELETE", f"/v1/wg/wg0/peers/{first.replace('+', '%2B')}").status_code == 200
    assert node.call("DELETE", f"/v1/wg/wg0/peers/{first.replace('+', '%2B')}").status_code == 404
    applied(node, msgspec.structs.replace(wanted, generation=Generation(2)))
    assert set(node.host.run("wg", "show", "wg0", "peers").split()) == set(wanted.peers)


def test_an_interface_is_not_made_its_own_peer(node: Node) -> None:
    wanted = whole(1)
    applied(node, wanted)
    own = public_key(wanted.settings.private_key)
    text = node.call("GET", "/v1/wg/wg0/config").text + f"\n[Peer]\nPublicKey = {own}\nAllowedIPs = 10.8.0.77/32\n"
    for response in (
        node.call("POST", "/v1/wg/wg0/peers", {"public_key": own, "peer": peer(99)}),
        node.call("PUT", f"/v1/wg/wg0/peers/{own.replace('+', '%2B')}", peer(99)),
        node.call("PUT", "/v1/wg/wg0/config", text.encode()),
    ):
        assert (response.status_code, response.json()["field"]) == (422, f"peers.{own}"), response.text
    assert node.call("POST", "/v1/wg/wg0/syncconf").json()["applied"]["verified"] is True


def test_an_interface_is_disabled_enabled_and_synchronised(node: Node) -> None:
    applied(node, whole(1, settings(routes=("10.77.0.0/16",))))
    assert node.call("POST", "/v1/wg/wg0/disable").json()["applied"]["verified"] is True
    assert "10.77.0.0/16" not in node.host.run("ip", "route")
    assert node.call("POST", "/v1/wg/wg0/enable").json()["applied"]["verified"] is True
    assert "10.77.0.0/16" in node.host.run("ip", "route")
    node.host.run("wg", "set", "wg0", "listen-port", "1234")
    assert node.call("POST", "/v1/wg/wg0/syncconf").json()["applied"]["verified"] is True
    assert node.host.run("wg", "show", "wg0", "listen-port").strip() == "51820"


def test_unknown_interfaces_and_paths_are_not_found(node: Node) -> None:
    for method, path in (("GET", "/v1/wg/wg7"), ("POST", "/v1/wg/wg7/enable"), ("GET", "/nothing")):
        response = node.call(method, path)
        assert (response.status_code, response.json()["reason"]) == (404, "not_found")
    assert node.call("POST", "/v1/wg/wg7").status_code == 405


def test_metrics_count_what_is_there(node: Node) -> None:
    applied(node, whole(6))
    text = node.call("GET", "/v1/metrics").text
    assert 'wgfleet_interface_generation{interface="wg0"} 6\n' in text
    assert 'wgfleet_interface_peers{interface="wg0"} 3\n' in text
    assert "# TYPE wgfleet_agent_resident_bytes gauge\n" in text


def test_a_renewed_certificate_serves_new_connections_at_once(node: Node) -> None:
    before = msgspec.json.decode(node.call("GET", "/v1/status").content, type=AgentStatus).certificate_expires_at
    csr = node.call("POST", "/v1/certificate/request").json()["csr"]
    ca = node.authority.pem
    wrong = node.authority.sign(csr, "node-2")
    refused = node.call("PUT", "/v1/certificate", {"certificate": wrong, "ca": ca})
    assert (refused.status_code, refused.json()["field"]) == (422, "certificate")
    renewed = node.authority.sign(csr, node.node_id, days=90)
    assert node.call("PUT", "/v1/certificate", {"certificate": renewed, "ca": ca}).status_code == 204
    with node.client(node.panel) as client:
        status = msgspec.json.decode(node.call("GET", "/v1/status", client=client).content, type=AgentStatus)
        assert status.certificate_expires_at > before + 59 * 86400
    node.stop()
    node.start()
    eventually(lambda: node.call("GET", "/health").status_code == 200)
    assert node.call("PUT", "/v1/certificate", {"certificate": renewed, "ca": ca}).status_code == 422


def test_a_replaced_ca_is_the_only_one_trusted_from_then_on(node: Node, tmp_path: Path) -> None:
    csr = node.call("POST", "/v1/certificate/request").json()["csr"]
    new = Authority(tmp_path / "new-ca", "new")
    body = {"certificate": new.sign(csr, node.node_id), "ca": "no certificate"}
    refused = node.call("PUT", "/v1/certificate", body)
    assert (refused.status_code, refused.json()["field"]) == (422, "ca")
    assert node.call("PUT", "/v1/certificate", body | {"ca": new.pem}).status_code == 204
    with node.client(new.panel(), new) as client:
        assert node.call("GET", "/health", client=client).status_code == 200
    with node.client(node.panel, new) as client, pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
        node.call("GET", "/health", client=client)
