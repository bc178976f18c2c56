"""Pages of floating addresses: who holds them, and moving one after it was said who notices."""

import httpx
import pytest

from tests.panel.web import sample
from tests.panel.web.conftest import Person, submit
from wgfleet.panel.api import Panel
from wgfleet.panel.services.access.callers import Role

MOVE = f"/floating/wg0/{sample.FLOATING}/move"


@pytest.fixture(scope="module", autouse=True)
def fleet(panel: Panel) -> None:
    sample.publish(panel, sample.make(panel, peers=60))


def test_holders_are_listed(admin: httpx.Client) -> None:
    page = admin.get("/floating").text
    assert sample.FLOATING in page
    assert "No address has been moved yet" in page


def test_a_move_says_who_notices_and_leads_to_its_operation(admin: httpx.Client) -> None:
    page = admin.get(MOVE).text
    assert "peers are connected at its present node" in page
    assert "user-0" in page
    assert submit(admin, MOVE, node="nobody").status_code == 404
    answer = submit(admin, MOVE, node="par1")
    assert answer.url.path.startswith("/operations/")
    page = admin.get("/floating").text
    assert "<bdi>fra1</bdi>" in page
    assert "<bdi>par1</bdi>" in page
    assert "No address has been moved yet" not in page


def test_who_reads_moves_nothing(person: Person) -> None:
    viewer = person(Role.VIEWER)
    assert MOVE not in viewer.get("/floating").text
    assert viewer.get(MOVE).status_code == 403
