"""Pages of maintenance: each says beforehand what happens to whom, and leads to what it has begun."""

from html import unescape

import httpx
import pytest

from tests.panel.web import sample
from tests.panel.web.conftest import Person, submit
from tests.panel.world import World
from wgfleet.panel.api import Panel
from wgfleet.panel.services.access.callers import Role


@pytest.fixture(scope="module", autouse=True)
def world(panel: Panel) -> World:
    return sample.make(panel, peers=12)


def test_a_node_is_cordoned_and_freed_and_each_page_says_what_stays(admin: httpx.Client) -> None:
    assert "peers stay, and so does everybody who is connected" in admin.get("/nodes/par1/cordon").text
    assert "It is cordoned" in submit(admin, "/nodes/par1/cordon").text
    assert "do not come back by themselves" in admin.get("/nodes/par1/uncordon").text
    assert "It is cordoned" not in submit(admin, "/nodes/par1/uncordon").text


def test_a_drain_says_who_is_called_and_why_it_would_be_refused(admin: httpx.Client) -> None:
    page = unescape(admin.get("/nodes/fra1/drain").text)
    assert "called by other nodes for the first time" in page
    assert "user-000" in page
    assert "It would be refused now" in page, "nobody else serves the office"
    assert submit(admin, "/nodes/fra1/drain").status_code == 409
    begun = submit(admin, "/nodes/fra1/drain", force="true")
    assert begun.url.path == "/operations"
    assert begun.text.count('<th scope="row"') == 2
    assert "drains of it that have not ended stop" in admin.get("/nodes/fra1/uncordon").text


def test_a_config_is_rebalanced(admin: httpx.Client) -> None:
    page = admin.get("/configs/wg0/rebalance").text
    assert "par1" in page
    assert "Nobody is cut off" in page
    assert "Rebalance" in submit(admin, "/configs/wg0/rebalance").text


@pytest.mark.parametrize("path", ["/nodes/par1/drain", "/nodes/par1/cordon", "/configs/wg0/rebalance"])
def test_who_only_reads_sees_none_of_it(person: Person, path: str) -> None:
    viewer = person(Role.VIEWER)
    assert viewer.get(path).status_code == 403
    pages = viewer.get("/configs/wg0").text + viewer.get("/nodes/par1").text
    assert f'"{path}"' not in pages
