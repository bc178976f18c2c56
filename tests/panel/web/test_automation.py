"""What is done without a person: paused by administrators alone, and the failover that waits for their approval."""

import httpx
import pytest

from tests.panel.web import sample
from tests.panel.web.conftest import Person, submit, token_of
from wgfleet.panel.api import Panel
from wgfleet.panel.services import freezes
from wgfleet.panel.services.access.callers import Role
from wgfleet.panel.services.fleet import nodes


@pytest.fixture(scope="module", autouse=True)
def fleet(panel: Panel) -> None:
    sample.make(panel, peers=3)


@pytest.fixture
def freeze_id(panel: Panel) -> str:
    with panel.store.write() as tx:
        freezes.begin(tx, "2 of 3 nodes fell silent at once", [nodes.get(tx, name).id for name in ("fra1", "par1")])
        tx.flush()
        frozen = freezes.current(tx)
        assert frozen is not None
        return frozen.id


def test_a_failover_that_waits_is_found_looked_at_and_approved(admin: httpx.Client, freeze_id: str) -> None:
    assert 'href="/failover"' in admin.get("/").text
    assert 'href="/failover"' in admin.get("/configs/wg0").text
    page = admin.get("/failover").text
    assert "2 of 3 nodes fell silent at once" in page
    assert 'href="/nodes/fra1"' in page
    assert 'href="/nodes/ams1"' not in page
    assert submit(admin, "/failover", freeze="another").status_code == 409
    assert "Approved by" in submit(admin, "/failover", freeze=freeze_id).text


@pytest.mark.parametrize("role", [Role.VIEWER, Role.OPERATOR])
def test_who_is_no_administrator_sees_it_and_approves_nothing(person: Person, role: Role, freeze_id: str) -> None:
    client = person(role)
    page = client.get("/failover")
    assert page.status_code == 200
    assert freeze_id not in page.text
    token = token_of(client.get("/").text)
    assert client.post("/failover", data={"form_token": token, "freeze": freeze_id}).status_code == 403


def test_without_one_the_page_says_so(panel: Panel, admin: httpx.Client) -> None:
    with panel.store.write() as tx:
        freezes.end(tx)
    assert "Nothing waits" in admin.get("/failover").text


def test_an_operator_does_not_pause_failover_as_the_api_has_it(person: Person) -> None:
    operator = person(Role.OPERATOR)
    page = operator.get("/configs/wg0").text
    assert "/automation" not in page
    data = {"form_token": token_of(page), "paused": "true"}
    assert operator.post("/configs/wg0/automation", data=data).status_code == 403
