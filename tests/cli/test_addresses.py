"""Commands about where clients find a node, and which addresses they get."""

import httpx
import pytest

from tests.cli.conftest import Run
from tests.cli.test_commands import document
from tests.panel.conftest import made
from tests.panel.fleet.test_host_names import Resolver
from wgfleet.panel import host_names

pytestmark = pytest.mark.slow


def test_a_node_behind_a_router_has_a_public_port_and_a_name_that_leads_elsewhere_is_said(
    wgfleet: Run, client: httpx.Client
) -> None:
    made(client, "/api/configs", name="wg0", pools=["10.8.0.0/24"])
    made(client, "/api/nodes", name="fra1", endpoint_addresses=["192.0.2.1"])
    made(client, "/api/configs/wg0/endpoint-group", domain="vpn.example.com")
    said = wgfleet("config", "assign", "wg0", "fra1", "--public-port", "443")
    warning = "fra1: clients reach it at port 443, and the files of its config say port 51820"
    assert warning in said.stderr
    assert warning in wgfleet("config", "nodes", "wg0").stderr
    for wrong in ("banana", "9" * 5000, "0", "65536", "٤٤٣", "-1"):
        refused = wgfleet("config", "public-port", "wg0", "fra1", wrong, "--yes")
        assert refused.returncode == 2, refused.stdout
        assert "PORT must be a number from 1 to 65535 or none" in refused.stderr or wrong == "-1"
    changed = wgfleet("config", "public-port", "wg0", "fra1", "none", "--yes")
    assert "at port of the config" in changed.stdout, changed.stderr
    linked = wgfleet("config", "public-port", "wg0", "fra1", "4500", "--backbone", "--yes")
    assert "other nodes reach the backbone of wg0 on fra1 at port 4500" in linked.stdout
    (shown,) = document(wgfleet("config", "nodes", "wg0", "--json"))
    assert (shown["public_port"], shown["public_backbone_port"]) == (None, 4500)


def test_a_node_is_made_by_name_and_goes_back_to_addresses(wgfleet: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    found = Resolver({"home.example.net": ["203.0.113.7"]})
    monkeypatch.setattr(host_names, "getaddrinfo", found.getaddrinfo)
    node = document(wgfleet("node", "create", "home", "--endpoint", "home.example.net", "--json"))
    assert (node["endpoint_addresses"], node["agent_host"]) == (["203.0.113.7"], "home.example.net")
    listed = wgfleet("node", "list").stdout
    assert "home.example.net" in listed
    changed = document(wgfleet("node", "update", "home", "--endpoint", "203.0.113.8", "--yes", "--json"))
    assert (changed["endpoint_name"], changed["endpoint_addresses"]) == (None, ["203.0.113.8"])
    assert wgfleet("node", "create", "fra1", "--endpoint", "203.0.113.9").returncode == 0
    said = wgfleet("node", "update", "fra1", "--endpoint", "home.example.net", "--yes").stderr
    assert said == "", "its agent is called elsewhere, as it was"
    for wrong in ("gone.example.net", "203.0.113", "home.example.net:51820", "\u200b"):
        refused = wgfleet("node", "create", "other", "--endpoint", wrong)
        assert (refused.returncode, "--endpoint" in refused.stderr) == (1, True), refused.stderr


def test_a_pool_is_made_larger_and_one_added_after_a_look(wgfleet: Run, client: httpx.Client) -> None:
    made(client, "/api/configs", name="wg0", pools=["10.8.0.0/24"])
    made(client, "/api/configs/wg0/peers", name="anna")
    look = wgfleet("config", "update", "wg0", "--add-pool", "fd00:8::/64", "--dry-run")
    assert "an address of fd00:8::/64 goes to 1 peer" in look.stderr
    assert wgfleet("config", "update", "wg0", "--add-pool", "fd00:8::/64").returncode == 2, "nobody can be asked"
    more = wgfleet("config", "update", "wg0", "--add-pool", "fd00:8::/64", "--yes", "--json")
    assert document(more)["pools"] == ["10.8.0.0/24", "fd00:8::/64"]
    assert document(wgfleet("config", "update", "wg0", "--pool", "10.8.0.0/16", "-y", "--json"))["pools"] == [
        "10.8.0.0/16"
    ]
    refused = wgfleet("config", "update", "wg0", "--pool", "10.9.0.0/16", "--add-pool", "banana", "-y")
    assert (refused.returncode, "--pool" in refused.stderr) == (1, True), refused.stderr
