"""Digits of Persian and Arabic keyboards in forms: taken in numbers, dates and addresses, and left in words."""

import re
from typing import TYPE_CHECKING

import httpx
import pyotp
import pytest

from tests.panel.web import sample
from tests.panel.web.conftest import PASSWORD, Browser, Person, Visit, submit, token_of
from wgfleet.panel.api import Panel
from wgfleet.panel.services.access.callers import Role
from wgfleet.panel.web.forms import DECIMALS, VALUES
from wgfleet.panel.web.rendering import TEMPLATES

if TYPE_CHECKING:
    from playwright.sync_api import Page

PERSIAN, ARABIC = ({ord(str(number)): zero + number for number in range(10)} for zero in (0x6F0, 0x660))
FRACTION, COMMA = "\N{ARABIC DECIMAL SEPARATOR}", "\N{ARABIC COMMA}"
WORDS = {
    "new_tags", "owner",
    "base", "bind_dn", "ca", "client_id", "color", "config", "config_name", "configs", "dns.options", "dns.zone",
    "link", "name", "name_prefix", "new_password", "node_groups", "nodes", "notes", "password",
    "password_again",
    "peer_name", "public_key", "reachable_configs", "reason", "region", "roles", "scopes", "secret", "site", "table",
    "text", "time_zone",
    "typed_name", "group_attribute", "group_base", "group_filter", "groups_claim", "groups_header", "issuer",
    "name_attribute", "name_claim", "subject_attribute", "url", "user_filter", "user_header",
}  # fmt: skip
HOST = "سرور1.example.com".translate(PERSIAN)
FIELD = re.compile(r'\b(?:text|area|field)\((?:form, )?"([a-z_.]+)"')


@pytest.fixture(scope="module", autouse=True)
def fleet(panel: Panel) -> None:
    sample.make_for_pages(panel)


def test_each_field_of_a_fraction_takes_a_comma() -> None:
    templates = [path.read_text() for path in TEMPLATES.rglob("*.html")]
    lines = [
        line
        for text in templates
        for line in text.splitlines()
        if re.search(r'type="decimal"|"inputmode": "decimal"', line)
    ]
    found = {name for line in lines for name in FIELD.findall(line)}
    assert {"hours", "weight", "relay_hours", "limit_gib"} <= found <= DECIMALS <= VALUES


def test_each_field_is_a_value_or_has_words() -> None:
    found = {name for path in TEMPLATES.rglob("*.html") for name in FIELD.findall(path.read_text())}
    assert len(found) > 60
    assert found - WORDS == VALUES & found
    assert not VALUES & WORDS


@pytest.mark.parametrize("digits", [PERSIAN, ARABIC])
def test_numbers_and_addresses_are_taken_and_names_stay(admin: httpx.Client, digits: dict[int, int]) -> None:
    name = "نود1".translate(digits)
    fields = {"name": "par1", "agent_host": "192.0.2.2".translate(digits), "agent_port": "51999".translate(digits)}
    page = submit(admin, "/nodes/par1/edit", **fields, weight=f"1{FRACTION}5", agreed="true")
    assert page.status_code == 200, page.text
    edit = admin.get("/nodes/par1/edit").text
    assert 'value="51999"' in edit
    assert 'value="1.5"' in edit
    made = submit(
        admin,
        "/new/tag",
        name=name,
        color="#112233",
        dns=f"9.9.9.9{COMMA} 1.1.1.1".translate(digits),
        mtu="1420".translate(digits),
    )
    assert made.status_code == 200, made.text
    assert name in made.text
    assert "9.9.9.9" in admin.get(f"/tags/{name}").text


def test_a_refusal_is_shown_with_the_value_and_a_host_keeps_its_letters(admin: httpx.Client) -> None:
    fields = {"name": "par1", "agent_host": HOST, "agent_port": "70000".translate(PERSIAN), "weight": "1"}
    refused = submit(admin, "/nodes/par1/edit", **fields)
    assert refused.status_code == 422
    assert 'id="agent_port-wrong"' in refused.text
    assert HOST in refused.text


def test_dates_sizes_and_speeds_are_taken(admin: httpx.Client) -> None:
    tag = submit(admin, "/new/tag", name="slow", color="#112233")
    assert tag.status_code == 200
    path = "/tags/slow/limits"
    for field, value in (("total_data", f"2{FRACTION}5 GB"), ("date", "2040-03-31"), ("date", "30d")):
        job = submit(admin, path, field=field, action="restrict", value=value.translate(ARABIC), time_zone="UTC")
        assert job.status_code == 200, (value, re.findall(r'class="[^"]*wrong[^"]*".*', job.text))
    shown = admin.get(path).text
    assert "2040" in shown


def test_the_audit_log_is_searched_by_an_address(admin: httpx.Client) -> None:
    answer = admin.get("/audit", params={"address": "127.0.0.1".translate(PERSIAN)})
    assert answer.status_code == 200
    assert 'value="127.0.0.1"' in answer.text


def test_a_code_lets_in(person: Person, browser: Browser) -> None:
    path = "/profile/second-factor"
    client = person(Role.VIEWER, "emil")
    shown = submit(client, path, password=PASSWORD).text
    secret = re.search(r'id="secret" dir="ltr">(\w+)<', shown)
    assert secret is not None
    code = pyotp.TOTP(secret[1]).now().translate(PERSIAN)
    confirmed = client.post(f"{path}/confirm", data={"form_token": token_of(shown), "code": code})
    recovery = re.findall(r"\b(?:\w{4}-){3}\w{4}\b", confirmed.text)
    assert recovery, "codes are shown once the first one was right"
    stranger = browser()
    asked = submit(stranger, "/login", name="emil", password=PASSWORD).text
    ticket = asked.partition('name="ticket" value="')[2].partition('"')[0]
    fields = {"form_token": token_of(asked), "ticket": ticket, "next": "/", "code": recovery[0].translate(ARABIC)}
    assert stranger.post("/login/code", data=fields).url.path == "/"


def test_a_password_is_what_was_typed(admin: httpx.Client, browser: Browser) -> None:
    link = re.search(r"#(wgl_[^<]+)<", submit(admin, "/new/user", name="dara", role="viewer").text)
    assert link is not None
    password = "چهار کلمه 1234 ساده".translate(PERSIAN)
    submit(browser(), "/set-password", link=link[1], password=password, password_again=password)
    assert submit(browser(), "/login", name="dara", password=password).url.path == "/"
    other = password.translate({typed: digit for digit, typed in PERSIAN.items()})
    assert submit(browser(), "/login", name="dara", password=other).url.path == "/login"


def test_a_browser_lets_them_be_typed_into_fields_of_numbers(visit: Visit) -> None:
    page: Page = visit("/nodes/par1/edit")
    field = page.get_by_label("Port of its agent")
    field.fill("")
    field.focus()
    page.keyboard.insert_text("51899".translate(PERSIAN))
    page.keyboard.press("Enter")
    page.get_by_label("Change it all the same").check()
    page.get_by_role("button", name="Save").click()
    page.wait_for_url("**/nodes/par1")
    page.goto("/nodes/par1/edit")
    assert page.get_by_label("Port of its agent").input_value() == "51899"
