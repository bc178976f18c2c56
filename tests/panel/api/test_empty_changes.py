"""A change that changes nothing: the row stays as it is, nodes hear nothing of it, and the audit log says nothing."""

from collections.abc import Callable

import httpx
import pytest

from tests.panel.clients.test_files import serve
from tests.panel.conftest import made
from wgfleet.panel.api import Panel

Paths = Callable[[httpx.Client], str]


def node(client: httpx.Client) -> str:
    return f"/api/nodes/{client.get('/api/nodes').json()['items'][0]['id']}"


def assignment(client: httpx.Client) -> str:
    return f"/api/configs/wg0/nodes/{client.get('/api/nodes').json()['items'][0]['id']}"


def new(collection: str, name: str, **fields: object) -> Paths:
    """Return what makes a thing and gives its path."""
    place = collection if collection != "peers" else "configs/wg0/peers"
    return lambda client: f"/api/{collection}/{made(client, f'/api/{place}', name=name, **fields)['id']}"


peer, tag, group = new("peers", "anna"), new("tags", "office"), new("node-groups", "eu")
rule_set, user = new("rule-sets", "web", rules=[]), new("users", "bert", role="viewer")


def endpoint_group(client: httpx.Client) -> str:
    made(client, "/api/configs/wg0/endpoint-group", domain="vpn.example.com")
    return "/api/configs/wg0/endpoint-group"


@pytest.mark.usefixtures("wg0")
@pytest.mark.parametrize(
    "path_of",
    [lambda _: "/api/configs/wg0", node, assignment, peer, tag, group, rule_set, user, endpoint_group],
)
def test_nothing_to_change_is_no_change(panel: Panel, client: httpx.Client, path_of: Paths) -> None:
    serve(panel, client, "wg0", "fra1")
    path = path_of(client)

    def state() -> tuple[object, object, object]:
        of_config = client.get("/api/configs/wg0").json()
        of_audit = client.get("/api/audit-logs?limit=100").json()
        return of_config, len(of_audit["items"]), [each["action"] for each in of_audit["items"]]

    before = state()
    assert client.patch(path, json={}).status_code == 200
    assert state() == before


@pytest.mark.usefixtures("wg0")
def test_a_peer_that_is_as_it_shall_be_is_not_pushed(panel: Panel, client: httpx.Client) -> None:
    serve(panel, client, "wg0", "fra1")
    path = peer(client)
    before = client.get("/api/configs/wg0").json()["generation"], len(client.get("/api/audit-logs").json()["items"])
    assert client.patch(path, json={"rotate_keys": False}).status_code == 200
    assert client.patch(path, json={"notes": "", "rotate_keys": False}).status_code == 200
    after = client.get("/api/configs/wg0").json()["generation"], len(client.get("/api/audit-logs").json()["items"])
    assert after == before
