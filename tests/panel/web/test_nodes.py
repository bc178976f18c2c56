"""Pages of nodes: added by a line to copy, with what is known of their health, and deleted by name only."""

import httpx
import pytest

from tests.panel.web import sample
from tests.panel.web.conftest import Person, submit
from wgfleet.panel.api import Panel
from wgfleet.panel.services.access.callers import Role
from wgfleet.panel.services.fleet import node_agents, nodes


@pytest.fixture(scope="module", autouse=True)
def fleet(panel: Panel) -> None:
    sample.make(panel, peers=6)


def test_a_node_is_added_with_a_line_to_copy(admin: httpx.Client) -> None:
    answer = submit(admin, "/new/node", name="new1", endpoint_addresses="203.0.113.9")
    assert "wgfleet agent enroll --panel" in answer.text
    assert "no agent has joined" in admin.get("/").text
    again = submit(admin, "/new/node", name="new1", endpoint_addresses="203.0.113.10")
    assert again.status_code == 409


def test_what_can_be_done_with_a_node_changes_with_it_on_an_open_page(admin: httpx.Client, panel: Panel) -> None:
    submit(admin, "/new/node", name="new2", endpoint_addresses="203.0.113.11")
    refreshed = {"HX-Request": "true", "HX-Target": "div#now", "HX-Request-Type": "partial"}
    assert "Show the line that joins it" in admin.get("/nodes/new2", headers=refreshed).text
    with panel.store.write() as tx:
        node_agents.reported(tx, nodes.get(tx, "new2").id, connected=True)
    assert "Show the line that joins it" not in admin.get("/nodes/new2", headers=refreshed).text


def test_a_node_says_how_it_serves_each_config(admin: httpx.Client) -> None:
    page = admin.get("/nodes/ams1").text
    assert "no answer at its public endpoint to 3 of 3 who look" in page
    assert "ams1" in admin.get("/nodes?connected=no").text
    assert "fra1" not in admin.get("/nodes?connected=no").text


def test_a_node_is_cordoned_and_freed(admin: httpx.Client) -> None:
    assert "It is cordoned" in submit(admin, "/nodes/par1/cordon", on="/nodes/par1").text
    assert "It is cordoned" not in submit(admin, "/nodes/par1/uncordon", on="/nodes/par1").text


def test_a_node_with_configs_is_not_deleted(admin: httpx.Client) -> None:
    assert submit(admin, "/nodes/fra1/delete", typed_name="fra").status_code == 422
    refused = submit(admin, "/nodes/fra1/delete", typed_name="fra1")
    assert refused.status_code == 409
    assert "/configs/" in refused.text, "the way out is a link"


def test_who_only_reads_adds_nothing(person: Person) -> None:
    viewer = person(Role.VIEWER)
    assert viewer.get("/new/node").status_code == 403
    assert 'href="/new/node"' not in viewer.get("/nodes").text


def test_a_node_is_changed_and_what_is_wrong_is_said_at_its_field(admin: httpx.Client) -> None:
    path = "/nodes/par1/edit"
    fields = {"name": "par1", "agent_host": "192.0.2.2", "agent_port": "51900", "weight": "2", "capacity": "70"}
    refused = submit(admin, path, **fields, bandwidth_mbps="fast")
    assert refused.status_code == 422
    assert 'id="bandwidth_mbps-wrong"' in refused.text
    page = submit(admin, path, **fields).text
    assert "of 70" in page
    assert 'name="weight" type="text" dir="auto" value="2.0"' in admin.get(path).text
    assert "of 70" not in submit(admin, path, **(fields | {"capacity": "", "weight": "1"})).text


def test_a_node_that_is_away_says_where_to_look_and_one_without_configs_which_it_may_have(admin: httpx.Client) -> None:
    page = admin.get("/nodes/ams1").text
    assert "systemctl status wgfleet-agent" in page
    assert "nc -vz" in page
    assert 'href="/configs/office/nodes/new?node=ams1"' in page
    assert "systemctl status" not in admin.get("/nodes/par1").text


def test_a_viewer_changes_no_node(person: Person) -> None:
    viewer = person(Role.VIEWER)
    assert "/nodes/par1/edit" not in viewer.get("/nodes/par1").text
    assert viewer.get("/nodes/par1/edit").status_code == 403
