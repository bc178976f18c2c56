"""The page of the audit log: filters in the address, pages by what was shown last, and the file."""

import csv
import io
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from tests.panel.web import sample
from tests.panel.web.conftest import Person, submit
from tests.panel.web.test_peers import following
from wgfleet.panel.api import Panel
from wgfleet.panel.services import audit, configs
from wgfleet.panel.services.access import users
from wgfleet.panel.services.access.callers import Role


@pytest.fixture(scope="module", autouse=True)
def fleet(panel: Panel) -> None:
    sample.make(panel, peers=4)
    with panel.store.write() as tx:
        for number in range(60):
            audit.record(tx, "user:anna", "tried", "thing", f"t{number}", name="=cmd()", until=None, many=[1, 2])


def test_each_entry_is_on_one_page(admin: httpx.Client) -> None:
    first = admin.get("/audit?action=tried").text
    second = admin.get(following(first)).text
    assert (first.count("<bdi>tried</bdi>"), second.count("<bdi>tried</bdi>")) == (50, 10)
    assert "many: 1, 2" in first


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("actor=user:anna", True),
        ("actor=user:nobody", False),
        ("entity_type=thing&entity_id=t3", True),
        ("entity_type=thing&entity_id=none", False),
        ("action=tried&since=TODAY&until=TODAY", True),
        ("action=tried&until=YESTERDAY", False),
        ("action=tried&since=TOMORROW", False),
    ],
)
def test_filters_are_in_the_address(admin: httpx.Client, query: str, found: bool) -> None:
    now = datetime.now(UTC)
    for name, days in (("TODAY", 0), ("YESTERDAY", -1), ("TOMORROW", 1)):
        query = query.replace(name, f"{now + timedelta(days=days):%Y-%m-%d}")
    page = admin.get(f"/audit?{query}").text
    assert ("<bdi>tried</bdi>" in page) is found
    assert ("No entry matches" in page) is not found


@pytest.mark.parametrize("query", ["since=yesterday", "until=0000-00-00", "after=x", "action=%00"])
def test_what_cannot_be_is_refused(admin: httpx.Client, query: str) -> None:
    assert admin.get(f"/audit?{query}").status_code == 422


def test_the_file_has_what_fits_and_no_formula(admin: httpx.Client) -> None:
    answer = admin.get("/audit/export?action=tried")
    assert answer.headers["content-type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert len(rows) == 60
    assert {row["actor"] for row in rows} == {"user:anna"}
    assert not any(cell.startswith("=") for row in rows for cell in row.values())


def test_what_is_done_in_pages_has_the_address_of_who_did_it(admin: httpx.Client, person: Person) -> None:
    carol = person(Role.ADMIN, "carol")
    submit(carol, "/new/tag", name="from-a-page")
    page = admin.get("/audit?actor=user:carol&action=created&address=127.0.0.1").text
    assert "<bdi>127.0.0.1</bdi>" in page
    assert "No entry matches" in admin.get("/audit?actor=user:carol&address=203.0.113.7").text
    assert "<bdi>127.0.0.1</bdi>" in admin.get("/audit?actor=user:carol&address=127.0.0.0/8").text
    assert "No entry matches" in admin.get("/audit?actor=user:carol&address=10.0.0.0/8").text
    assert admin.get("/audit?address=banana").status_code == 422


def test_who_is_limited_has_no_log_of_all(panel: Panel, person: Person) -> None:
    limited = person(Role.OPERATOR, "limited")
    with panel.store.write() as tx:
        user = users.get(tx, "limited")
        user.limit_configs, user.limit_groups = [configs.id_of(tx, "office")], []
    assert 'href="/audit"' not in limited.get("/").text
    assert limited.get("/audit").status_code == 403
