"""The page of a config's name: published or not, changed with a warning, its secrets never shown."""

import httpx
import pytest

from tests.panel.web import sample
from tests.panel.web.conftest import submit
from wgfleet.panel.api import Panel
from wgfleet.panel.dns.publisher import Publisher
from wgfleet.panel.services import configs
from wgfleet.panel.services.fleet import endpoint_groups

PATH = "/configs/wg0/endpoint-group"
NAME = {"domain": "vpn.example.com", "port": "", "ttl": "60", "min_nodes": "1", "auto_migrate": "true"}
DNS = {"dns.provider": "rfc2136", "dns.zone": "example.com", "dns.mode": "dry_run", "dns.drift": "repair"}
OPTIONS = '{"server": "198.41.0.4", "key_name": "k", "key_secret": "c2VjcmV0LW9mLXRoZS1uYW1l"}'


@pytest.fixture(scope="module", autouse=True)
def fleet(panel: Panel) -> None:
    sample.make(panel, peers=2)


@pytest.fixture(autouse=True)
def _no_provider_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Publisher, "refusals", lambda *_: [])


def test_a_name_is_given_published_and_taken_again(admin: httpx.Client) -> None:
    assert "It has no name" in admin.get("/configs/wg0").text
    given = submit(admin, PATH, **NAME, **DNS, **{"dns.options": OPTIONS})
    assert given.url.path == "/configs/wg0", given.text
    assert "vpn.example.com:51820" in given.text
    page = admin.get(PATH).text
    assert "(set)" in page
    assert "c2VjcmV0" not in page
    moved = {**NAME, "domain": "other.example.com"}
    asked = submit(admin, PATH, **moved, **DNS)
    assert "Users would notice" in asked.text
    changed = submit(admin, PATH, **moved, **DNS, agreed="true")
    assert "other.example.com:51820" in changed.text
    assert "4 peers" in admin.get(f"{PATH}/delete").text
    in_german = admin.get(f"{PATH}/delete", headers={"Accept-Language": "de"}).text
    assert "wird von" in in_german or "zurückgezogen" in in_german, "what happens is said in the reader's language"
    assert "work only as long as" not in in_german
    assert submit(admin, f"{PATH}/delete", typed_name="vpn.example.com").status_code == 422
    gone = submit(admin, f"{PATH}/delete", typed_name="other.example.com")
    assert "It has no name" in gone.text


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("domain", "-"),
        ("port", "70000"),
        ("ttl", "2"),
        ("min_nodes", "0"),
        ("dns.options", "[]"),
        ("dns.options", "{"),
        ("dns.options", "[" * 10_000),
        ("dns.provider", "nobody"),
        ("dns.mode", "all"),
        ("dns.record_name", "-"),
    ],
)
def test_a_wrong_field_says_what_is_wrong(admin: httpx.Client, field: str, value: str) -> None:
    answer = submit(admin, PATH, **({**NAME, **DNS, "dns.options": OPTIONS} | {field: value}))
    assert answer.status_code == 422
    assert f'id="{field}-wrong"' in answer.text


def test_a_name_of_one_label_that_an_earlier_release_took_is_named_and_all_else_can_be_changed(
    admin: httpx.Client, panel: Panel
) -> None:
    told = "devices elsewhere cannot look up its name"
    assert submit(admin, PATH, **NAME).url.path == "/configs/wg0"
    assert told not in admin.get("/").text
    with panel.store.write() as tx:
        group = endpoint_groups.get(tx, configs.get(tx, "wg0"))
        group.domain = "vpn"
    assert told in admin.get("/").text
    assert submit(admin, PATH, **{**NAME, "domain": "vpn", "ttl": "90"}).url.path == "/configs/wg0"
    refused = submit(admin, PATH, **{**NAME, "domain": "office"})
    assert "is only the first part of a domain name" in refused.text
