"""Pages that assign and remove nodes: what they say beforehand, and that nothing goes without its name."""

from html import unescape

import httpx
import pytest

from tests.panel.web import sample
from tests.panel.web.conftest import Person, submit
from tests.panel.world import World
from wgfleet.panel.api import Panel
from wgfleet.panel.services import configs
from wgfleet.panel.services.access import users
from wgfleet.panel.services.access.callers import Role
from wgfleet.panel.services.fleet import nodes
from wgfleet.panel.services.moves import departures
from wgfleet.panel.services.moves.departures import ClientReach

REMOVAL = "/configs/wg0/nodes/fra1/remove"


@pytest.fixture(scope="module", autouse=True)
def world(panel: Panel) -> World:
    return sample.make(panel, peers=12)


def test_a_node_is_assigned_with_what_happens_beforehand(admin: httpx.Client, world: World) -> None:
    world.node("new1")
    page = admin.get("/configs/wg0/nodes/new").text
    assert "all its 14 peers" in page
    assert 'value="new1"' in page
    assert 'value="fra1"' not in page, "it has it already"
    assert "joining" in submit(admin, "/configs/wg0/nodes/new", node_id="new1").text
    again = submit(admin, "/configs/wg0/nodes/new", on="/peers/new", node_id="new1")
    assert again.status_code == 409


def test_who_may_not_give_keys_away_is_told_so(panel: Panel, person: Person, world: World) -> None:
    world.node("stranger")
    writer = person(Role.OPERATOR, "writer")
    with panel.store.write() as tx:
        users.get(tx, "writer").limit_configs = [configs.id_of(tx, "wg0")]
        users.get(tx, "writer").limit_groups = []
    assert "Every node that you see has it already" in writer.get("/configs/wg0/nodes/new").text
    refused = submit(writer, "/configs/wg0/nodes/new", on="/peers/new", node_id="stranger")
    assert refused.status_code == 404


def test_who_is_cut_off_is_named_before_a_removal(admin: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    page = unescape(admin.get(REMOVAL).text)
    assert "get a home at other nodes" in page
    assert "called by other nodes for the first time" in page
    assert "user-000" in page
    monkeypatch.setattr(departures, "_shown", lambda *_: ClientReach.SILENT)
    page = unescape(admin.get(REMOVAL).text)
    assert "would be cut off until they connect again" in page
    assert "It would be refused now" in page
    assert 'name="force"' in page
    assert submit(admin, REMOVAL, typed_name="fra1").status_code == 409


def test_a_removal_needs_the_name_and_leads_to_its_operation(admin: httpx.Client, panel: Panel) -> None:
    assert submit(admin, REMOVAL, typed_name="fra", force="true").status_code == 422
    assert submit(admin, REMOVAL, typed_name="fra1", relay_hours="-1").status_code == 422
    begun = submit(admin, REMOVAL, typed_name="fra1", force="true", drain_window_s="600", relay_hours="1.5")
    assert begun.url.path.startswith("/operations/")
    assert "Removal of" in begun.text
    assert "in hours</dt><dd>1.5</dd>" in begun.text
    with panel.store.read() as tx:
        assert nodes.get(tx, "fra1") is not None
    assert "draining" in admin.get("/configs/wg0").text
