"""What is wrong with a form is said once: beside the field, by the name that the page has for it."""

import re

import httpx
import pytest

from tests.panel.web import sample
from tests.panel.web.conftest import submit, token_of
from wgfleet.panel import host_names
from wgfleet.panel.api import Panel
from wgfleet.panel.domain.host_names import Lookup


@pytest.fixture(scope="module", autouse=True)
def _fleet(panel: Panel) -> None:
    sample.make(panel, peers=3)


def test_what_a_service_refuses_is_said_once_beside_its_field(admin: httpx.Client) -> None:
    page = submit(admin, "/new/config", name="wg7", pools="10.8.0.1/24").text
    assert page.count("has host bits set") == 1
    assert 'id="pools-wrong"' in page
    assert "pools[0]" not in page
    assert "That was refused" not in page
    assert "<!--form" not in page


def test_several_wrong_fields_are_named_by_their_labels(admin: httpx.Client) -> None:
    page = submit(admin, "/peers/new", config="wg0", name="x" * 70, keepalive="x").text
    assert "Some fields need another value" in page
    assert '<a href="#keepalive">Keepalive in seconds</a>' in page
    assert '<a href="#name">Name</a>' in page


def test_one_wrong_field_needs_no_summary(admin: httpx.Client) -> None:
    page = submit(admin, "/peers/new", config="wg0", name="anna", keepalive="x").text
    assert 'id="keepalive-wrong"' in page
    assert '<div class="notice bad"' not in page


def test_what_is_about_no_field_of_the_page_is_said_above_them(admin: httpx.Client) -> None:
    page = submit(admin, "/peers/new", config="wg0", name="anna", group="none-such").text
    assert 'id="group-wrong"' in page
    assert page.count("none-such") == 1
    page = submit(admin, "/peers/many/new", config="wg0", count="2", name_prefix="a", first_number="x").text
    assert '<span lang="en" dir="auto">first number:</span>' in page


@pytest.mark.parametrize(
    "path",
    ["/new/node", "/nodes/fra1/edit", "/new/node-group", "/new/user", "/settings/keys/new", "/new/provider/oidc"],
)
def test_what_a_name_may_be_is_said_before_it_is_typed(admin: httpx.Client, path: str) -> None:
    page = admin.get(path).text
    assert 'aria-describedby="name-help"' in page
    assert "Letters of English and digits" in page
    assert 'maxlength="63"' in page


def test_the_first_names_say_what_they_may_be(admin: httpx.Client) -> None:
    page = admin.get("/set-up").text
    assert "up to 15 letters of English" in page
    assert "Up to 64 characters, in any language" in page


def test_a_name_that_is_taken_is_refused_beside_its_field_of_the_first_network(admin: httpx.Client) -> None:
    fields = {"config_name": "wg0", "pools": "10.66.0.0/16", "peer_name": "anna"}
    page = submit(admin, "/set-up", **fields).text
    assert 'id="config_name-wrong"' in page
    assert "name:</span>" not in page


def test_wrong_fields_are_listed_in_the_order_of_the_page(admin: httpx.Client) -> None:
    fields = {"owner": "nobody", "keepalive": "x", "addresses": "x", "new_tags": "a/b"}
    page = submit(admin, "/peers/new", config="wg0", name="anna", **fields).text
    summary = re.search(r'<ul>(<li><a href="#.*?)</ul>', page, re.DOTALL)
    assert summary is not None
    assert re.findall(r'href="#(\w+)"', summary[1]) == ["addresses", "keepalive", "new_tags", "owner"]


def test_a_refusal_runs_as_its_language_does_whatever_it_begins_with(admin: httpx.Client) -> None:
    path, fields = "/new/node", {"name": "n9", "endpoint_addresses": "foo"}
    token = token_of(admin.get(path).text)
    sent = {"form_token": token, **fields}
    persian = admin.post(path, data=sent, headers={"Accept-Language": "fa"}).text
    assert 'id="endpoint_addresses-wrong"><span dir="rtl">' in persian
    assert '<span lang="en" dir="ltr">' in admin.post(path, data=sent).text


def test_a_config_that_was_deleted_meanwhile_is_refused_beside_its_field(admin: httpx.Client) -> None:
    fields = {"config": "gone", "keepalive": "x", "owner": "nobody"}
    page = submit(admin, "/peers/new", name="anna", **fields).text
    for field in fields:
        assert f'id="{field}-wrong"' in page
    many = submit(admin, "/peers/many/new", config="gone", count="2", name_prefix="a").text
    assert 'id="config-wrong"' in many
    assert "That was refused" not in many


def test_a_host_name_is_looked_up_once_for_a_form_with_several_wrong_fields(
    admin: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def resolved(name: str) -> Lookup:
        asked.append(name)
        return Lookup(error="no such name")

    monkeypatch.setattr(host_names, "_resolved", resolved)
    fields = {"name": "fra1", "endpoint_addresses": "203.0.113.77", "agent_host": "slow.example", "group": "nix"}
    page = submit(admin, "/new/node", **fields).text
    assert set(re.findall(r'id="(\w+)-wrong"', page)) == {"name", "group"}
    assert asked == ["slow.example"]
