"""The page of usage: all periods of a time, the same numbers in chart and table, and only what somebody sees."""

import re

import httpx
import pytest

from tests.panel.web import sample
from tests.panel.web.conftest import Person
from wgfleet.panel.api import Panel
from wgfleet.panel.services import configs
from wgfleet.panel.services.access import users
from wgfleet.panel.services.access.callers import Role


@pytest.fixture(scope="module", autouse=True)
def fleet(panel: Panel) -> None:
    sample.use(panel, sample.make(panel, peers=6))


@pytest.mark.parametrize(("span", "periods"), [("day", 24), ("week", 168), ("month", 31), ("year", 12)])
def test_every_period_has_its_row(admin: httpx.Client, span: str, periods: int) -> None:
    page = admin.get(f"/usage?span={span}").text
    at = [int(each) for each in re.findall(r'data-at="(\d+)"', page)]
    assert len(at) == periods
    assert at == sorted(set(at), reverse=True)
    assert len(re.findall(r'data-value="[\d.e+-]+"', page)) == 2 * periods


def test_what_was_used_is_in_the_sums(admin: httpx.Client) -> None:
    page = admin.get("/usage").text
    assert "3\u00a0MiB" in page
    assert "30\u00a0MiB" in page
    assert "<bdi>wg0</bdi>" in page
    assert "<bdi>fra1</bdi>" in page


@pytest.mark.parametrize("query", ["config=none", "node=none", "peer=none", "span=ever", "config=%00"])
def test_what_does_not_exist_is_said(admin: httpx.Client, query: str) -> None:
    assert admin.get(f"/usage?{query}").status_code in {404, 422}


def test_who_is_limited_sees_what_was_used_there(panel: Panel, person: Person) -> None:
    limited = person(Role.OPERATOR, "limited")
    with panel.store.write() as tx:
        user = users.get(tx, "limited")
        user.limit_configs, user.limit_groups = [configs.id_of(tx, "office")], []
    assert "30\u00a0MiB" not in limited.get("/usage").text
    assert limited.get("/usage?config=wg0").status_code == 404
    assert limited.get("/usage?config=office").status_code == 200


def test_only_pages_with_a_chart_load_what_draws_it(admin: httpx.Client) -> None:
    assert "/static/chart." not in admin.get("/").text
