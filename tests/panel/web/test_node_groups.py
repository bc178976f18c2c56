"""Pages of node groups: made, changed, filled and emptied; each says beforehand for whom it counts."""

from html import unescape

import httpx
import pytest

from tests.panel.web import sample
from tests.panel.web.conftest import Person, submit
from tests.panel.web.test_roles import somebody
from wgfleet.panel.api import Panel
from wgfleet.panel.services import configs
from wgfleet.panel.services.access.callers import Role
from wgfleet.panel.services.fleet import node_groups, peers


@pytest.fixture(scope="module", autouse=True)
def fleet(panel: Panel) -> None:
    sample.make(panel, peers=6)
    with panel.store.write() as tx:
        configs.create(tx, panel.vault, "test", configs.ConfigSpec("wg-in", "cluster", ["10.77.0.0/24"], 52077))


def test_a_group_is_made_changed_filled_emptied_and_deleted(admin: httpx.Client, panel: Panel) -> None:
    assert "There is no node group yet" in admin.get("/node-groups").text
    assert submit(admin, "/new/node-group", name="no such <name>", priority="100").status_code == 422
    made = submit(admin, "/new/node-group", name="europe", priority="20", site="fra")
    assert made.url.path == "/node-groups/europe"
    assert "No node is in it" in made.text
    assert submit(admin, "/new/node-group", name="europe", priority="1").status_code == 409
    changed = submit(admin, "/node-groups/europe", name="eu", priority="10", region="west", site="")
    assert changed.url.path == "/node-groups/eu"
    with panel.store.read() as tx:
        group = node_groups.get(tx, "eu")
        assert (group.priority, group.region, group.site) == (10, "west", "")
    within = submit(admin, "/node-groups/eu/nodes/new", node="par1")
    assert within.url.path == "/node-groups/eu", within.text
    assert 'href="/nodes/par1"' in within.text
    assert 'href="/node-groups/eu"' in admin.get("/nodes/par1").text
    assert "par1" in admin.get("/node-groups").text
    refused = submit(admin, "/node-groups/eu/delete", typed_name="eu")
    assert (refused.status_code, "still has nodes par1" in unescape(refused.text)) == (409, True)
    assert admin.get("/node-groups/eu/nodes/fra1/remove").status_code == 404, "it is not in it"
    assert "Nobody moves" not in admin.get("/node-groups/eu/delete").text
    assert "No node is in it" in submit(admin, "/node-groups/eu/nodes/par1/remove").text
    assert "Nobody moves" in admin.get("/node-groups/eu/delete").text
    assert submit(admin, "/node-groups/eu/delete", typed_name="europe").status_code == 422
    assert submit(admin, "/node-groups/eu/delete", typed_name="eu").url.path == "/node-groups"
    assert admin.get("/node-groups/eu").status_code == 404


def test_who_prefers_a_group_keeps_it(admin: httpx.Client, panel: Panel) -> None:
    submit(admin, "/new/node-group", name="kept", priority="100")
    with panel.store.write() as tx:
        peer = peers.page(tx, configs.id_of(tx, "wg0"))[0]
        peers.update(tx, panel.vault, "test", peers.get(tx, peer.id), {"group_id": node_groups.get(tx, "kept").id})
    assert "while peers prefer it" in admin.get("/node-groups/kept/delete").text
    assert submit(admin, "/node-groups/kept/delete", typed_name="kept").status_code == 409


def test_a_node_goes_from_group_to_group_after_a_word_on_who_sees_it(
    admin: httpx.Client, panel: Panel, person: Person
) -> None:
    for name in ("group-in", "other"):
        submit(admin, "/new/node-group", name=name, priority="100")
    limited = somebody(panel, person, Role.OPERATOR, is_limited=True)
    assert limited.get("/nodes/fra1").status_code == 404
    asked = submit(admin, "/node-groups/group-in/nodes/new", node="fra1")
    assert "Nothing is changed yet" in asked.text
    assert "user:operator-limited-1" in asked.text
    submit(admin, "/node-groups/group-in/nodes/new", node="fra1", agreed="true")
    assert limited.get("/nodes/fra1").status_code == 200
    assert ">other<" not in limited.get("/node-groups").text
    assert submit(limited, "/node-groups/group-in/nodes/new", on="/nodes/fra1/edit", node="ams1").status_code == 404
    assert "It would be refused" in limited.get("/node-groups/group-in/nodes/fra1/remove").text
    assert submit(limited, "/node-groups/group-in/nodes/fra1/remove").status_code == 404
    again = submit(admin, "/node-groups/other/nodes/new", node="fra1")
    assert "no longer sees it" in again.text
    assert limited.get("/nodes/fra1").status_code == 200, "nothing is changed yet"
    assert "1 user or key is limited to it" in admin.get("/node-groups/group-in/delete").text


def test_a_group_is_drained_and_used_again(admin: httpx.Client) -> None:
    submit(admin, "/new/node-group", name="south", priority="100")
    assert "has no nodes" in unescape(submit(admin, "/node-groups/south/drain").text)
    submit(admin, "/node-groups/south/nodes/new", node="par1")
    page = admin.get("/node-groups/south/drain").text
    assert "Its 1 node is cordoned at once" in page
    assert "called by other nodes for the first time" in page
    begun = submit(admin, "/node-groups/south/drain", force="true")
    assert begun.url.path.startswith("/operations/"), begun.text
    assert "cordoned" in admin.get("/node-groups/south").text
    assert "par1" in admin.get("/node-groups/south/uncordon").text
    assert "cordoned" not in submit(admin, "/node-groups/south/uncordon").text


def test_who_only_reads_changes_none(person: Person, admin: httpx.Client) -> None:
    submit(admin, "/new/node-group", name="seen", priority="100")
    viewer = person(Role.VIEWER)
    assert viewer.get("/new/node-group").status_code == 403
    pages = viewer.get("/node-groups").text + viewer.get("/node-groups/seen").text
    assert "seen" in pages
    assert not [word for word in ("/new/node-group", "/delete", "/drain", "/nodes/new") if f'{word}"' in pages]
