"""Pages of configs: who serves one and under which name, made and changed with a word at each wrong field."""

import re
from html import unescape

import httpx
import pytest

from tests.panel.web import sample
from tests.panel.web.conftest import Person, submit, token_of
from wgfleet.panel.api import Panel
from wgfleet.panel.services.access.callers import Role

NEW = {"name": "lab", "pools": "10.20.0.0/24\nfd00:20::/64", "mode": "cluster", "client_allowed_ips": "0.0.0.0/0"}


@pytest.fixture(scope="module", autouse=True)
def fleet(panel: Panel) -> None:
    sample.make(panel, peers=6)


def test_the_list_says_how_each_is_served(admin: httpx.Client) -> None:
    page = admin.get("/configs").text
    assert 'href="/configs/wg0"' in page
    assert 'href="/peers?config=wg0"' in page
    assert "down</span> 1" in page


def test_a_config_says_who_serves_it_and_what_else_is_known(admin: httpx.Client) -> None:
    page = unescape(admin.get("/configs/wg0").text)
    assert "no answer at its public endpoint to 3 of 3 who look" in page
    assert "2 of 3 in use" in page
    assert "/peers?config=wg0&node=fra1" in page
    room = admin.get("/configs/wg0/capacity").text
    assert "the others have room for all" in room


def test_a_config_is_made_with_its_name_and_then_changed(admin: httpx.Client) -> None:
    made = submit(admin, "/new/config", **NEW, domain="vpn.example.com", listen_port="51999", masquerade="true")
    assert made.url.path == "/configs/lab"
    assert "vpn.example.com:51999" in made.text
    assert "No node serves it yet" in made.text
    assert "every node has served" not in made.text
    fields = {"listen_port": "51998", "keepalive": "0", "dns": "10.20.0.1", "client_allowed_ips": "10.20.0.0/24"}
    changed = submit(admin, "/configs/lab/edit", **fields, enabled="true", node_ports="udp/53")
    assert changed.url.path == "/configs/lab"
    assert "vpn.example.com:51998" in changed.text
    assert "udp/53" in changed.text
    assert submit(admin, "/configs/lab/delete", typed_name="la").status_code == 422
    assert submit(admin, "/configs/lab/delete", typed_name="lab").url.path == "/configs"


def test_the_address_of_the_nodes_is_chosen_and_changed_while_no_device_is_there(admin: httpx.Client) -> None:
    made = submit(admin, "/new/config", **NEW | {"name": "lab2"}, server_addresses="\u06f1\u06f0.20.0.254")
    assert "10.20.0.254 fd00:20::1" in made.text
    page = admin.get("/configs/lab2/edit").text
    assert 'value="10.20.0.254 fd00:20::1"' in page
    fields = {"client_allowed_ips": "0.0.0.0/0", "enabled": "true"}
    assert "10.20.0.5 fd00:20::1" in submit(admin, "/configs/lab2/edit", **fields, server_addresses="10.20.0.5").text
    refused = submit(admin, "/configs/lab2/edit", **fields, server_addresses="10.21.0.5")
    assert (refused.status_code, 'id="server_addresses-wrong"' in refused.text) == (422, True)
    assert submit(admin, "/configs/lab2/delete", typed_name="lab2").url.path == "/configs"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", "wg0"),
        ("name", "way-too-long-a-name"),
        ("name", "eth0"),
        ("pools", "10.8.0.0/24"),
        ("pools", "10.20.0.0"),
        ("pools", ""),
        ("listen_port", "0"),
        ("listen_port", "51820"),
        ("domain", "not a name"),
        ("domain", "10.20.0.1"),
        ("mtu", "12"),
        ("keepalive", "x"),
        ("dns", "???"),
        ("client_allowed_ips", "everything"),
    ],
)
def test_a_wrong_field_says_what_is_wrong_and_the_others_stay(admin: httpx.Client, field: str, value: str) -> None:
    fields = {**NEW, "listen_port": "51999"} | {field: value}
    answer = submit(admin, "/new/config", **fields)
    assert answer.status_code in {409, 422}
    assert f'id="{field}-wrong"' in answer.text
    assert f'value="{fields["listen_port"]}"' in answer.text


def test_nodes_of_an_independent_config_have_names_below_its_domain(admin: httpx.Client) -> None:
    wanted = {**NEW, "name": "lab3", "mode": "independent", "pools": "10.30.0.0/24", "listen_port": "51997"}
    refused = submit(admin, "/new/config", **wanted, domain="192.0.2.1")
    assert 'id="domain-wrong"' in refused.text
    answer = submit(admin, "/new/config", **wanted, domain="vpn3.example.com")
    assert "that of the node, below vpn3.example.com" in answer.text
    assert submit(admin, "/configs/lab3/delete", typed_name="lab3").url.path == "/configs"


def test_what_users_would_notice_is_said_before_it_is_done(admin: httpx.Client) -> None:
    fields = {"listen_port": "52000", "client_allowed_ips": "0.0.0.0/0 ::/0", "masquerade": "true"}
    asked = submit(admin, "/configs/wg0/edit", **fields, client_to_client="true", enabled="true")
    assert "8 peers of" in asked.text
    assert 'name="agreed"' in asked.text
    assert "<dd>51820</dd>" in admin.get("/configs/wg0").text
    done = submit(admin, "/configs/wg0/edit", **fields, client_to_client="true", enabled="true", agreed="true")
    assert "<dd>52000</dd>" in done.text


def test_pools_are_added_and_who_notices_is_said_before(admin: httpx.Client) -> None:
    page = admin.get("/configs/wg0/edit").text
    fields = {"pools": "10.8.0.0/16\nfd00:8::/64", "client_allowed_ips": "0.0.0.0/0 ::/0", "masquerade": "true"}
    fields |= {"client_to_client": "true", "enabled": "true"}
    assert re.search(r'<textarea[^>]*name="pools"[^>]*>\s*10\.8\.0\.0/16</textarea>', page)
    asked = submit(admin, "/configs/wg0/edit", **fields)
    assert "fd00:8::/64" in asked.text
    assert 'name="agreed"' in asked.text
    assert submit(admin, "/configs/wg0/edit", **fields, agreed="true").status_code == 200
    assert "10.8.0.0/16 fd00:8::/64" in admin.get("/configs/wg0").text
    refused = submit(admin, "/configs/wg0/edit", **{**fields, "pools": "10.8.0.0/16\nnonsense"}, agreed="true")
    assert refused.status_code == 422
    assert 'id="pools-wrong"' in refused.text


def test_a_config_that_is_served_is_not_deleted(admin: httpx.Client) -> None:
    page = unescape(admin.get("/configs/wg0/delete").text)
    assert "is still assigned to" in page
    assert "'wg0' is deleted with 8 peers" in page
    assert submit(admin, "/configs/wg0/delete", typed_name="wg0").status_code == 409


def test_automation_is_paused_and_resumed(admin: httpx.Client) -> None:
    assert "Automation is paused" in submit(admin, "/configs/wg0/automation", on="/configs/wg0", paused="true").text
    assert "paused" in admin.get("/configs").text
    resumed = submit(admin, "/configs/wg0/automation", on="/configs/wg0", paused="false").text
    assert "Automation is paused" not in resumed


def test_who_only_reads_sees_no_form(person: Person) -> None:
    viewer = person(Role.VIEWER)
    page = viewer.get("/configs/wg0").text
    for path in ("/configs/wg0/edit", "/configs/wg0/delete", "/new/config", "/configs/wg0/nodes/new"):
        assert f'"{path}"' not in page + viewer.get("/configs").text
        assert viewer.get(path).status_code == 403
    assert viewer.post("/configs/wg0/automation", data={"form_token": token_of(page)}).status_code == 403
