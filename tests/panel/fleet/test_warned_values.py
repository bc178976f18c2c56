"""What is allowed and may be a mistake is said; what was copied with more than the value is taken, or named."""

from typing import Any

import httpx
import pytest

from tests.panel.conftest import made
from wgfleet.panel.domain.fields import pools_warning, private_warning

KEY = "yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk="


@pytest.mark.parametrize(
    ("address", "private"),
    [
        ("10.0.0.5", True), ("172.31.0.9", True), ("192.168.1.5", True), ("100.64.3.4", True), ("fd12::1", True),
        ("fc00::7", True), ("fec0::7", True), ("240.0.0.1", True), ("64:ff9b::c000:221", True),
        ("172.32.0.9", False), ("100.128.0.1", False), ("192.0.2.1", False), ("198.18.0.9", False),
        ("2001:db8::1", False), ("9.9.9.9", False), ("2a00::1", False),
    ],
)  # fmt: skip
def test_of_private_addresses_a_node_is_warned(address: str, private: bool) -> None:
    assert (private_warning(["9.9.9.9", address]) is not None) is private


@pytest.mark.parametrize(
    ("pool", "public"),
    [
        ("8.8.8.0/24", True), ("2a00:1450::/32", True), ("10.8.0.0/16", False), ("fd00:8::/64", False),
        ("100.64.0.0/16", False), ("198.18.0.0/16", False), ("2001:db8:44::/64", False), ("172.0.0.0/8", True),
    ],
)  # fmt: skip
def test_of_pools_of_the_internet_a_config_is_warned(pool: str, public: bool) -> None:
    assert (pools_warning(["10.9.0.0/24", pool]) is not None) is public


def test_warnings_are_in_the_answers_and_witnesses_have_none(client: httpx.Client, wg0: dict[str, Any]) -> None:
    assert wg0["pools_warning"] is None
    config = made(client, "/api/configs", name="wg8", pools=["8.8.8.0/24"])
    assert config["pools_warning"].startswith("8.8.8.0/24: addresses of the internet")
    node = made(client, "/api/nodes", name="home", endpoint_addresses=["192.168.1.5"])
    assert "have it forward the port" in node["private_endpoint_warning"]
    assert node["endpoint_warning"] is None
    witness = made(client, "/api/nodes", name="eye", witness=True, agent_host="10.0.0.5")
    assert witness["private_endpoint_warning"] is None


def test_values_of_peers_are_taken_as_they_were_copied(client: httpx.Client, wg0: dict[str, Any]) -> None:
    peers = f"/api/configs/{wg0['name']}/peers"
    peer = made(client, peers, name="anna", public_key=f"\ufeff{KEY}\n", networks=[" 192.168.7.5"])
    assert (peer["public_key"], peer["networks"]) == (KEY, ["192.168.7.5/32"])
    changed = client.patch(f"/api/peers/{peer['id']}", json={"networks": ["192.168.8.1", "2001:DB8:7::/64"]}).json()
    assert changed["networks"] == ["192.168.8.1/32", "2001:db8:7::/64"]
    for key, reason in (("A" * 43 + "=", "no device can have"), (f"PublicKey = {KEY}", "as `wg genkey` prints it")):
        refused = client.post(peers, json={"name": "bea", "public_key": key})
        assert (refused.status_code, refused.json()["field"]) == (422, "public_key")
        assert reason in refused.json()["detail"]
    taken = client.post(peers, json={"name": "bea", "addresses": [peer["addresses"][0]]})
    assert taken.status_code == 409
    assert "is the address of peer 'anna'" in taken.json()["detail"]
