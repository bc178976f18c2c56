"""The first page: what is wrong now comes first, and everything leads to where it is dealt with."""

import httpx
import pytest

from tests.panel.web import sample
from tests.panel.web.conftest import Person
from wgfleet.panel.api import Panel
from wgfleet.panel.services import configs
from wgfleet.panel.services.access.callers import Role
from wgfleet.panel.store import assignments
from wgfleet.protocol import forwarding_words as words


@pytest.fixture(scope="module", autouse=True)
def fleet(panel: Panel) -> None:
    sample.make(panel, peers=6)


def test_what_is_wrong_comes_first_and_says_why(admin: httpx.Client) -> None:
    page = admin.get("/").text
    assert page.index("clients get no answer") < page.index("the agent does not answer")
    assert "no answer at its public endpoint to 3 of 3 who look" in page
    assert 'href="/configs/wg0"' in page


def test_a_node_that_lets_nobody_further_is_wrong_though_it_answers(admin: httpx.Client, panel: Panel) -> None:
    assert "get no further" not in admin.get("/").text
    with panel.store.write() as tx:
        row = next(row for row, _ in assignments.of_config(tx, configs.id_of(tx, "wg0")) if row.health == "serving")
        said = [{"version": 4, "state": "failed", "why": "it has no default route"}]
        assignments.applied(tx, row.id, forwarding=said)
    page = admin.get("/").text
    assert "users are connected, and get no further" in page
    assert "it has no default route" in page
    with panel.store.write() as tx:
        assignments.applied(tx, row.id, forwarding=[])


def test_what_agents_say_of_forwarding_is_read_in_ones_language(panel: Panel, person: Person) -> None:
    with panel.store.write() as tx:
        row = assignments.of_config(tx, configs.id_of(tx, "wg0"))[0][0]
        before = row.forwarding
        why = words.NO_DEFAULT_ROUTE_NEAR.format(who=words.PANEL.format(address="192.0.2.7"))
        assignments.applied(tx, row.id, forwarding=[{"version": 4, "state": "failed", "why": why}])
    for language, known in (("de", "keine Standardroute"), ("fa", "مسیر پیش‌فرض")):
        page = person(Role.VIEWER, **{"Accept-Language": language}).get("/").text
        assert known in page
        assert "192.0.2.7" in page
        assert "so users reach only" not in page
        assert "the panel at" not in page
    with panel.store.write() as tx:
        assignments.applied(tx, row.id, forwarding=before)


def test_a_fragment_is_a_part_of_the_page(admin: httpx.Client) -> None:
    whole = admin.get("/").text
    part = admin.get("/", headers={"HX-Request": "true", "HX-Target": "div#now", "HX-Request-Type": "partial"}).text
    assert "<html" not in part
    assert part.count("<section") == whole.count("<section") == 3


def test_who_may_read_sees_it_and_needs_no_more(person: Person) -> None:
    assert person(Role.VIEWER).get("/").status_code == 200


def test_it_comes_in_german(person: Person) -> None:
    page = person(Role.VIEWER, **{"Accept-Language": "de"}).get("/").text
    assert "Was gerade nicht stimmt" in page
    assert "Geräte bekommen keine Antwort" in page
