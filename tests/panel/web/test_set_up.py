"""Set-up: from an address that the terminal shows to the code of a first device, without a command."""

import pytest

from tests.panel.web.conftest import PASSWORD, SET_UP, Browser, Person, submit
from tests.panel.world import World
from wgfleet.panel.api import Panel
from wgfleet.panel.services.access.callers import Role
from wgfleet.panel.store import nodes

FIRST = "/set-up/administrator"
NETWORK = {"config_name": "wg0", "pools": "10.8.0.0/16", "endpoint_address": "203.0.113.7", "peer_name": "my-phone"}


@pytest.fixture(scope="module", autouse=True)
def own_node(panel: Panel) -> World:
    world = World(panel.store, panel.vault)
    node = world.node("here")
    with panel.store.write() as tx:
        nodes.set_values(tx, node.id, {"is_panel_node": True})
    return world


def test_a_new_panel_is_set_up_once(browser: Browser, own_node: World) -> None:
    client = browser()
    fields = {"name": "anna", "password": PASSWORD, "password_again": PASSWORD, "secret": SET_UP}
    refused = submit(client, FIRST, **fields | {"secret": "wgu_another"})
    assert refused.status_code == 404
    assert 'id="secret-wrong"' in refused.text
    assert submit(client, FIRST, **fields | {"password_again": "something else"}).status_code == 422
    assert submit(client, FIRST, **fields | dict.fromkeys(("password", "password_again"), "short")).status_code == 422
    answer = submit(client, FIRST, **fields | {"secret": f"https://panel.example:8443{FIRST}#{SET_UP}"})
    assert answer.url.path == "/set-up", "who was just made is signed in"
    assert submit(client, "/set-up", **{**NETWORK, "pools": "10.8.0.0/33"}).status_code == 422
    made = submit(client, "/set-up", **NETWORK)
    assert made.url.path.endswith("/access")
    assert "A node is being set up" in made.text
    with own_node.store.read() as tx:
        (node,) = nodes.page(tx, None, 10)
        assert node.endpoint_addresses == ["203.0.113.7"]
    again = browser().get(FIRST)
    assert again.status_code == 404
    assert "has been used" in again.text


def test_an_address_as_earlier_versions_showed_it_leads_to_where_its_secret_is_seen_by_nobody(browser: Browser) -> None:
    client = browser()
    for old, new in ((f"/set-up/{SET_UP}", f"{FIRST}#{SET_UP}"), ("/set-up/no+code", FIRST)):
        answer = client.get(old, follow_redirects=False)
        assert answer.status_code == 303
        assert answer.headers["location"] == new
        assert answer.headers["referrer-policy"] == "no-referrer"


def test_an_administrator_makes_the_first_network(person: Person) -> None:
    assert person(Role.VIEWER).get("/set-up").status_code == 403
    assert person().get("/set-up").status_code == 200
