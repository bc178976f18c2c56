"""The search: pages, nodes, configs and peers by a part of their names, as far as somebody sees them."""

import httpx
import pytest

from tests.panel.web import sample
from tests.panel.web.conftest import Person
from wgfleet.panel.api import Panel
from wgfleet.panel.services import configs
from wgfleet.panel.services.access import users
from wgfleet.panel.services.access.callers import Role

PARTIAL = {"HX-Request": "true", "HX-Target": "div#found", "HX-Request-Type": "partial"}


@pytest.fixture(scope="module", autouse=True)
def fleet(panel: Panel) -> None:
    sample.make(panel, peers=20)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("fra", "/nodes/fra1"),
        ("192.0.2.1", "/nodes/fra1"),
        ("offi", "/configs/office"),
        ("ANNA", "/peers/"),
        ("all sett", "/settings/thresholds"),
        ("dns", "/dns"),
    ],
)
def test_everything_is_found_by_a_part_of_its_name(admin: httpx.Client, text: str, path: str) -> None:
    assert f'<li><a href="{path}' in admin.get("/search", params={"q": text}).text


def test_nothing_is_said_to_be_nothing_and_text_stays_text(admin: httpx.Client) -> None:
    assert "Nothing matches" in admin.get("/search?q=no-such-thing").text
    assert "&lt;b&gt;bold" in admin.get("/search", params={"q": "<b>b"}).text
    assert admin.get("/search?q=%00").status_code == 422


def test_pages_have_the_words_of_the_reader(person: Person) -> None:
    german = person(Role.VIEWER, **{"Accept-Language": "de"})
    assert 'href="/nodes"' in german.get("/search?q=knot").text
    assert '<li><a href="/settings/users"' not in german.get("/search?q=benutz").text, "it is closed to this role"


def test_the_dialog_gets_what_was_found_alone(admin: httpx.Client) -> None:
    part = admin.get("/search?q=user-00", headers=PARTIAL).text
    assert "<html" not in part
    assert "<form" not in part
    assert part.count('<li><a href="/peers/') == 8


def test_who_is_limited_finds_nothing_else(panel: Panel, person: Person) -> None:
    limited = person(Role.OPERATOR, "limited")
    with panel.store.write() as tx:
        user = users.get(tx, "limited")
        user.limit_configs, user.limit_groups = [configs.id_of(tx, "office")], []
    for text in ("user-00", "wg0", "fra1"):
        assert "Nothing matches" in limited.get(f"/search?q={text}").text
    assert "printer" in limited.get("/search?q=print").text


def test_who_has_own_devices_only_has_no_search(person: Person) -> None:
    own = person(Role.SELF_SERVICE)
    assert own.get("/search").status_code == 403
    assert "data-open-search" not in own.get("/").text
