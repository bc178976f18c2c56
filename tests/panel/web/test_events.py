"""The page of events: one timeline, filtered by its address, of what its reader may see."""

import re

import httpx
import pytest

from tests.panel.web import sample
from tests.panel.web.conftest import Person, submit
from tests.panel.world import World
from wgfleet.panel.api import Panel
from wgfleet.panel.domain.health.votes import Health
from wgfleet.panel.services import configs
from wgfleet.panel.services.access import users
from wgfleet.panel.services.access.callers import Role
from wgfleet.panel.services.fleet import nodes
from wgfleet.panel.web import languages


@pytest.fixture(scope="module", autouse=True)
def world(panel: Panel) -> World:
    made = sample.make(panel, peers=12)
    with panel.store.read() as tx:
        wg0, par = configs.get(tx, "wg0"), nodes.get(tx, "par1")
    made.judged(wg0, par, Health.DOWN)
    made.judged(wg0, par, Health.RECOVERING)
    return made


DOWN, CREATED, SERVES = "clients got no answer any more", "it was created", "the node began to serve"


@pytest.mark.parametrize(
    ("query", "there", "absent"),
    [
        ("", [DOWN, CREATED, SERVES], []),
        ("?kind=failovers", [DOWN], [CREATED, SERVES]),
        ("?kind=moves", [SERVES], [DOWN, CREATED]),
        ("?kind=changes&config=&node=", [CREATED], [DOWN, SERVES]),
        ("?kind=names", ["No event matches"], [DOWN]),
        ("?config=wg0", [DOWN, CREATED, SERVES], [">office<"]),
        ("?config=office", [CREATED, SERVES], [DOWN, ">par1<"]),
        ("?node=fra1", [SERVES, CREATED], [DOWN, ">par1<"]),
        ("?node=par1&config=wg0", [DOWN, SERVES], [">fra1<", CREATED]),
        ("?node=par1&config=office", ["No event matches"], [DOWN]),
    ],
)
def test_what_is_chosen_is_in_the_address(admin: httpx.Client, query: str, there: list[str], absent: list[str]) -> None:
    page = admin.get(f"/events{query}").text.partition('<div id="results">')[2]
    assert [text for text in there if text not in page] == []
    assert [text for text in absent if text in page] == []


@pytest.mark.parametrize("language", ["de", "fa"])
def test_more_is_in_the_readers_language(admin: httpx.Client, language: str) -> None:
    translate = languages.translations(language).gettext
    page = admin.get("/events?kind=failovers", headers={"Accept-Language": language}).text
    more = re.findall(r"<dl class=\"facts\">.*?</dl>", page)
    assert more
    for english in ("serving", "down"):
        assert any(f">{translate(english)}<" in each for each in more), english
        assert not any(f">{english}<" in each for each in more), english


def test_pages_go_on_where_the_last_ended(admin: httpx.Client) -> None:
    for _ in range(30):
        submit(admin, "/nodes/par1/cordon", on="/peers/new")
        submit(admin, "/nodes/par1/uncordon", on="/peers/new")
    page = admin.get("/events?kind=moves&node=par1").text
    assert page.count("it was cordoned") + page.count("it was uncordoned") == 50
    number = page.partition("after=")[2].partition('"')[0]
    second = admin.get(f"/events?kind=moves&node=par1&after={number}").text
    assert second.count("it was cordoned") + second.count("it was uncordoned") == 10
    assert SERVES in second
    assert 'rel="next"' not in second


def test_who_is_limited_sees_what_is_within(panel: Panel, person: Person) -> None:
    limited = person(Role.VIEWER, "limited")
    with panel.store.write() as tx:
        user = users.get(tx, "limited")
        user.limit_configs, user.limit_groups = [configs.id_of(tx, "office")], []
    page = limited.get("/events").text
    assert ">office<" in page
    assert "wg0" not in page
    assert limited.get("/events?config=wg0").status_code == 404
    assert limited.get("/events?node=par1").status_code == 404
