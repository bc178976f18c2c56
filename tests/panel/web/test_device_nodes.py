"""Pages of own devices that are limited to nodes: the files of these, and what is said where none of them serves."""

import re
from html import unescape

import httpx
import pytest

from tests.panel.web import sample
from tests.panel.web.conftest import Person, submit
from tests.panel.web.test_usable_nodes import serving, words
from wgfleet.panel.api import Panel
from wgfleet.panel.services import configs
from wgfleet.panel.services.access import users
from wgfleet.panel.services.access.callers import Role
from wgfleet.panel.services.fleet import peer_nodes, peers
from wgfleet.panel.store import peer_nodes as peer_node_rows


@pytest.fixture(scope="module", autouse=True)
def fleet(panel: Panel) -> None:
    sample.make(panel, peers=2)


@pytest.mark.parametrize("role", [Role.SELF_SERVICE, Role.OPERATOR])
def test_a_device_that_is_limited_to_nodes_has_their_files_alone(
    panel: Panel, admin: httpx.Client, person: Person, role: Role
) -> None:
    name = "wg11" if role is Role.OPERATOR else "wg12"
    serving(panel, admin, name, f"{name}1", f"{name}2")
    me = person(role, f"carl-{name}")
    with panel.store.write() as tx:
        user = users.get(tx, f"carl-{name}")
        user.limit_configs, user.limit_groups, user.device_limit = [configs.id_of(tx, name)], [], 2
    path = submit(me, "/devices/new", name="phone").url.path.removesuffix("/access")
    assert {f"by way of {name}{number}" in words(me.get(f"{path}/access")) for number in (1, 2)} == {True}
    with panel.store.write() as tx:
        config, peer = configs.get(tx, name), peers.get(tx, path.rpartition("/")[2])
        peer_nodes.put(tx, config, [peer], peer_nodes.parsed(tx, config, [f"{name}2"]))
    for paths in ("", "/access"):
        shown = words(me.get(path + paths))
        assert (f"{name}2" in shown, f"{name}1" in shown) == (True, False), shown
    assert me.get(f"{path}/file?node={name}2").status_code == me.get(f"{path}/qr?node={name}2").status_code == 200
    refused = me.get(f"{path}/file?node={name}1")
    assert (refused.status_code, f"there are files for {name}2" in unescape(refused.text)) == (404, True)
    links = re.findall(r'(?:href|src)="([^"]*/(?:file|qr)[^"]*)"', me.get(f"{path}/access").text)
    assert len(links) == 2
    assert {me.get(each).status_code for each in links} == {200}
    with panel.store.write() as tx:
        peer_node_rows.put(tx, {peer.id: {"f" * 32}})
    for paths in ("", "/access"):
        assert me.get(path + paths).status_code == 200
    assert "none of the servers that are there" in words(me.get(f"{path}/access"))
    assert me.get(f"{path}/file").status_code == 409
