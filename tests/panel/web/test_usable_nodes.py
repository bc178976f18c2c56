"""Pages of peers of an independent config: addresses with their nodes, and the nodes that a peer may use."""

import re
from html import unescape

import httpx

from tests.panel.web.conftest import Person, submit
from wgfleet.panel.api import Panel
from wgfleet.panel.services import configs
from wgfleet.panel.services.access import users
from wgfleet.panel.services.access.callers import Role
from wgfleet.panel.services.fleet import assignments, endpoint_groups, node_groups, nodes
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


def serving(panel: Panel, admin: httpx.Client, config: str, *names: str) -> None:
    """Make an independent config that new nodes serve."""
    net = config.removeprefix("wg")
    api = {"name": config, "mode": "independent", "pools": f"10.{net}.0.0/24", "client_allowed_ips": "0.0.0.0/0"}
    assert submit(admin, "/new/config", **api).status_code == 200
    for number, name in enumerate(names, start=1):
        with panel.store.write() as tx:
            node = nodes.create(tx, "test", NodeSpec(name, [f"198.51.100.{net}{number}"]))
            assignments.assign(tx, panel.vault, "test", configs.get(tx, config), node)
        with panel.store.write() as tx:
            row = configs.get(tx, config)
            assignments.confirmed(tx, row.id, node.id, row.generation, (), "in sync", held=())


def test_what_is_of_no_node_that_a_peer_may_use_is_said(panel: Panel, admin: httpx.Client) -> None:
    serving(panel, admin, "wg3", "ams3", "par3")
    submit(admin, "/new/node-group", name="eu3")
    path = submit(admin, "/peers/new", config="wg3", name="anna", nodes="eu3", enabled="true").url.path
    page = words(admin.get(path))
    assert "peer 'anna' may use eu3 only, and none of these serves config 'wg3'" in page
    assert "No node serves the config yet" not in page
    assert "None of the nodes that it may use serves its config." in words(admin.get(path.removesuffix("/access")))


def test_many_are_limited_to_nodes(panel: Panel, admin: httpx.Client) -> None:
    serving(panel, admin, "wg4", "ams4", "par4")
    submit(admin, "/peers/new", config="wg4", name="anna", enabled="true")
    fields = {"config": "wg4", "action": "set_nodes"}
    refused = submit(admin, "/peers/many/change", **fields, nodes="nowhere")
    assert refused.status_code == 422
    assert 'id="nodes-wrong"' in refused.text
    shown = submit(admin, "/peers/many/change", **fields, nodes="ams4, par4")
    assert "1 peer may use ams4, par4 only from now on" in words(shown)
    again = submit(
        admin, "/peers/many/change", **fields, nodes="", expect=hidden(shown, "expect"), seen=hidden(shown, "seen")
    )
    assert again.url.path == "/peers/many/change", "other nodes than were shown are shown first"
    expect, seen = hidden(shown, "expect"), hidden(shown, "seen")
    begun = submit(admin, "/peers/many/change", **fields, nodes="ams4, par4", expect=expect, seen=seen)
    assert begun.url.path.startswith("/operations/")


def hidden(page: httpx.Response, name: str) -> str:
    return page.text.partition(f'name="{name}" value="')[2].partition('"')[0]


def test_the_domain_of_nodes_has_no_fields_of_a_clusters_name(panel: Panel, admin: httpx.Client) -> None:
    serving(panel, admin, "wg5", "ams5")
    path = "/configs/wg5/endpoint-group"
    page = admin.get(path).text
    for name in ("port", "publish_only_healthy", "dns.record_name"):
        assert f'name="{name}"' not in page
    assert "NODE.vpn.example.com" in page
    assert submit(admin, path, domain="vpn.example.org", ttl="60", min_nodes="1").status_code == 200
    with panel.store.read() as tx:
        group = endpoint_groups.get(tx, configs.get(tx, "wg5"))
        assert (group.domain, group.publish_only_healthy) == ("vpn.example.org", True)
    assert submit(admin, path, domain="vpn.example.org", ttl="30", min_nodes="1").status_code == 200
    with panel.store.read() as tx:
        group = endpoint_groups.get(tx, configs.get(tx, "wg5"))
        assert (group.ttl, group.publish_only_healthy) == (30, True)
    agent = {"agent_host": "198.51.100.51", "agent_port": "51900"}
    asked = submit(admin, "/nodes/ams5/edit", name="lon5", **agent)
    assert "files of config 'wg5' for the node say ams5.vpn.example.org" in words(asked)
    assert submit(admin, "/nodes/ams5/edit", name="lon5", **agent, agreed="true").url.path == "/nodes/lon5"


def test_who_may_no_longer_use_a_node_is_said_before_its_group_is_another(panel: Panel, admin: httpx.Client) -> None:
    serving(panel, admin, "wg6", "ams6", "par6")
    submit(admin, "/new/node-group", name="eu6")
    submit(admin, "/nodes/ams6/edit", name="ams6", group="eu6")
    submit(admin, "/peers/new", config="wg6", name="anna", nodes="eu6", enabled="true")
    submit(admin, "/peers/new", config="wg6", name="bert", nodes="eu6, par6", enabled="true")
    asked = words(submit(admin, "/nodes/ams6/edit", name="ams6", group=""))
    assert "2 peers of 'wg6' may no longer use 'ams6'" in asked
    assert "1 peer of 'wg6' may then use no node at all: anna" in asked
    assert submit(admin, "/nodes/ams6/edit", name="ams6", group="", agreed="true").url.path == "/nodes/ams6"


def test_who_may_no_longer_use_a_node_is_said_before_a_group_is_filled_or_emptied(
    panel: Panel, admin: httpx.Client
) -> None:
    serving(panel, admin, "wg7", "ams7", "par7")
    for name in ("eu7", "us7"):
        submit(admin, "/new/node-group", name=name)
    submit(admin, "/nodes/ams7/edit", name="ams7", group="eu7")
    submit(admin, "/peers/new", config="wg7", name="anna", nodes="eu7", enabled="true")
    dialog = words(admin.get("/node-groups/eu7/nodes/ams7/remove"))
    assert "1 peer of 'wg7' may no longer use 'ams7'" in dialog
    assert "may then use no node at all: anna" in dialog
    asked = words(submit(admin, "/node-groups/us7/nodes/new", node="ams7"))
    assert "Nothing is changed yet" in asked
    assert "1 peer of 'wg7' may no longer use 'ams7'" in asked
    with panel.store.read() as tx:
        assert node_groups.name_of(tx, nodes.get(tx, "ams7").group_id) == "eu7"
    agreed = submit(admin, "/node-groups/us7/nodes/new", node="ams7", agreed="true")
    assert agreed.url.path == "/node-groups/us7"


def test_who_is_limited_to_node_groups_keeps_the_other_nodes_of_a_peer(
    panel: Panel, admin: httpx.Client, person: Person
) -> None:
    serving(panel, admin, "wg8", "ams8", "par8")
    submit(admin, "/new/node-group", name="eu8")
    submit(admin, "/nodes/ams8/edit", name="ams8", group="eu8")
    path = submit(admin, "/peers/new", config="wg8", name="anna", nodes="par8", enabled="true").url.path
    path = path.removesuffix("/access")
    me = person(Role.OPERATOR, "otto8")
    with panel.store.write() as tx:
        user = users.get(tx, "otto8")
        user.limit_configs, user.limit_groups = [configs.id_of(tx, "wg8")], [node_groups.get(tx, "eu8").id]
    fields = {"name": "anna", "networks": "", "group": "", "enabled": "true"}
    assert submit(me, f"{path}/edit", **fields, nodes="par8", notes="x").url.path == path
    lifted = submit(me, f"{path}/edit", **fields, nodes="")
    assert (lifted.status_code, "cannot let peers use all nodes" in words(lifted)) == (422, True)
    assert submit(me, f"{path}/edit", **fields, nodes="eu8").url.path == path
    assert 'value="eu8, par8"' in me.get(f"{path}/edit").text


def test_a_name_that_another_config_has_is_said_at_its_field(panel: Panel, admin: httpx.Client) -> None:
    serving(panel, admin, "wg13", "ams9", "par9")
    api = {"name": "wg14", "mode": "cluster", "pools": "10.14.0.0/24", "client_allowed_ips": "0.0.0.0/0"}
    assert submit(admin, "/new/config", **api, listen_port="51999").status_code == 200
    with panel.store.write() as tx:
        endpoint_groups.put(
            tx, panel.vault, "test", configs.get(tx, "wg13"), endpoint_groups.EndpointGroupSpec("vpn9.example.org")
        )
        endpoint_groups.put(
            tx, panel.vault, "test", configs.get(tx, "wg14"), endpoint_groups.EndpointGroupSpec("nyc9.vpn9.example.org")
        )
    agent = {"agent_host": "198.51.100.131", "agent_port": "51900"}
    refused = submit(admin, "/nodes/ams9/edit", name="nyc9", **agent)
    assert (refused.status_code, 'id="name-wrong"' in refused.text) == (409, True)
    assert "which is the one of config 'wg14'" in words(refused)
