"""Pages of DNS: what waits and why, a plan that is approved as it was shown, and a look at the provider."""

import httpx
import pytest

from tests.panel.web import sample
from tests.panel.web.conftest import Person, submit, token_of
from wgfleet.panel.api import Panel
from wgfleet.panel.services.access.callers import Role
from wgfleet.panel.services.dns import commands


@pytest.fixture(scope="module", autouse=True)
def fleet(panel: Panel) -> None:
    sample.publish(panel, sample.make(panel, peers=4))


def test_a_name_that_waits_is_in_the_list_with_the_reason(admin: httpx.Client) -> None:
    page = admin.get("/dns").text
    assert "vpn.example.com" in page
    assert "5 of 6 records would be deleted" in page
    assert "vpn.example.com" in admin.get("/dns?state=approval").text
    assert "No name is in this state" in admin.get("/dns?state=failing").text
    assert admin.get("/dns?state=none").status_code == 422


def test_providers_are_listed(admin: httpx.Client) -> None:
    page = admin.get("/dns").text
    assert all(f"<bdi>{name}</bdi>" in page for name in ("cloudflare", "lexicon", "null", "rfc2136"))


def test_a_plan_from_a_fresh_look_changes_nothing(admin: httpx.Client) -> None:
    before = admin.get("/dns/wg0").text
    assert "Plan for vpn.example.com" in admin.get("/dns/wg0/plan").text
    assert admin.get("/dns/wg0").text == before


def test_the_provider_is_asked(admin: httpx.Client) -> None:
    assert "are kept by hand" in submit(admin, "/dns/wg0/check", on="/dns/wg0").text


def test_only_the_plan_that_was_shown_is_approved_and_by_administrators(
    panel: Panel, admin: httpx.Client, person: Person
) -> None:
    assert person(Role.OPERATOR).get("/dns/wg0/approve").status_code == 403
    page = admin.get("/dns/wg0/approve").text
    assert page.count("192.0.2.") == 5, "what is deleted is said"
    token = token_of(page)
    assert admin.post("/dns/wg0/approve", data={"form_token": token, "plan_id": "another"}).status_code == 409
    plan_id = page.partition('name="plan_id" value="')[2].partition('"')[0]
    answer = submit(admin, "/dns/wg0/approve", plan_id=plan_id)
    assert answer.url.path == "/dns/wg0"
    with panel.store.read() as tx:
        assert commands.current(tx, "wg0").approved_plan_id == plan_id


def test_a_name_is_left_as_it_is_and_taken_up_again(admin: httpx.Client) -> None:
    page = admin.get("/dns/wg0/cancel").text
    assert "192.0.2.1" in page, "it is said which addresses stay"
    assert "cancelled" in submit(admin, "/dns/wg0/cancel").text
    assert "dns_retried" in submit(admin, "/dns/wg0/retry", on="/dns/wg0").text


def test_who_reads_changes_nothing(person: Person) -> None:
    viewer = person(Role.VIEWER)
    page = viewer.get("/dns/wg0").text
    assert "/dns/wg0/retry" not in page
    assert viewer.get("/dns/wg0/plan").status_code == 403
    assert viewer.post("/dns/wg0/retry", data={"form_token": token_of(page)}).status_code == 403
