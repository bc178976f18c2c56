"""An endpoint group changes by what is given, and its port follows that of its config."""

from typing import Any

import httpx
import pytest

from tests.panel.conftest import made

PATH = "/api/configs/wg0/endpoint-group"


@pytest.mark.usefixtures("wg0")
def test_what_is_not_given_stays(client: httpx.Client) -> None:
    before = made(
        client,
        PATH,
        domain="vpn.example.com",
        min_nodes=2,
        ttl=120,
        floating_addresses=["203.0.113.10"],
        address_provider="l2",
        dns={"provider": "rfc2136", "zone": "example.com", "options": {"server": "127.0.0.1", "key_name": "k",
             "key_secret": "c2VjcmV0c2VjcmV0c2VjcmV0"}},
    )  # fmt: skip
    steps: tuple[tuple[dict[str, Any], dict[str, Any]], ...] = (
        ({"port": 443}, {"port": 443}),
        ({"dns": {"drift": "report"}}, {"dns": before["dns"] | {"drift": "report"}}),
        ({"floating_addresses": []}, {"floating_addresses": []}),
        ({"dns": None}, {"dns": None}),
        ({"port": None}, {"port": 51820}),
    )
    wanted = before
    for changes, result in steps:
        answer = client.patch(PATH, json=changes)
        assert answer.status_code == 200, answer.text
        wanted = wanted | result
        assert answer.json() | {"domain_warning": None} == wanted
    lacking = client.patch(PATH, json={"dns": {"zone": "example.com"}})
    assert (lacking.status_code, lacking.json()["field"]) == (422, "dns.provider")


@pytest.mark.usefixtures("wg0")
def test_a_group_that_is_not_there_cannot_be_changed(client: httpx.Client) -> None:
    assert client.patch(PATH, json={"port": 443}).status_code == 404


def test_the_port_follows_the_configs_unless_it_is_set_apart(client: httpx.Client) -> None:
    made(client, "/api/configs", name="wg0", pools=["10.8.0.0/24"], listen_port=51900)
    assert made(client, PATH, domain="vpn.example.com")["port"] == 51900
    assert client.patch("/api/configs/wg0", json={"listen_port": 51999}).status_code == 200
    assert client.get(PATH).json()["port"] == 51999
    assert client.patch(PATH, json={"port": 443}).json()["port"] == 443
    assert client.patch("/api/configs/wg0", json={"listen_port": 51998}).status_code == 200
    assert client.get(PATH).json()["port"] == 443
