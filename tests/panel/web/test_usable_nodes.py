"""Pages of peers of an independent config: addresses with their nodes, and the nodes that a peer may use."""

import re
from html import unescape

import httpx

from tests.panel.web.conftest import submit
from wgfleet.panel.api import Panel
from wgfleet.panel.services import configs
from wgfleet.panel.services.fleet import assignments, nodes
from wgfleet.panel.services.fleet.nodes import NodeSpec


def words(page: httpx.Response) -> str:
    """Return what a page says, without its tags."""
    return unescape(re.sub(r"<[^>]+>", "", page.text))


def test_the_nodes_that_a_peer_may_use_are_chosen_and_shown(panel: Panel, admin: httpx.Client) -> None:
    api = {"name": "wg1", "mode": "independent", "pools": "10.9.0.0/24", "client_allowed_ips": "0.0.0.0/0"}
    assert submit(admin, "/new/config", **api).status_code == 200
    for number, name in enumerate(("fra1", "ber1"), start=1):
        with panel.store.write() as tx:
            node = nodes.create(tx, "test", NodeSpec(name, [f"192.0.2.{number}"]))
            assignments.assign(tx, panel.vault, "test", configs.get(tx, "wg1"), node)
        with panel.store.write() as tx:
            config = configs.get(tx, "wg1")
            assignments.confirmed(tx, config.id, node.id, config.generation, (), "in sync", held=())
    assert "Nodes that it may use" in admin.get("/peers/new").text
    answer = submit(admin, "/peers/new", config="wg1", name="anna", nodes="nowhere", enabled="true")
    assert answer.status_code == 422
    assert "no node group 'nowhere'" in unescape(answer.text)
    path = submit(admin, "/peers/new", config="wg1", name="anna", nodes="fra1", enabled="true").url.path
    path = path.removesuffix("/access")
    page = words(admin.get(path))
    assert "fra1: 10.9.0." in page
    assert "ber1: 10.9.0." not in page
    assert 'value="fra1"' in admin.get(f"{path}/edit").text
    fields = {"name": "anna", "networks": "", "group": "", "enabled": "true"}
    assert "ber1: 10.9.0." in words(submit(admin, f"{path}/edit", **fields, nodes="fra1, ber1"))
    assert "Nodes that it may use" not in words(submit(admin, f"{path}/edit", **fields, nodes=""))
