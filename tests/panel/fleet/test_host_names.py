"""Names of agents, of endpoint groups and of the panel are looked up, and stay outside of tunnels as addresses do."""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.panel.conftest import made
from wgfleet.panel import clock, host_names
from wgfleet.panel.api import Panel
from wgfleet.panel.domain.host_names import LATE, TOO_MANY, Lookup
from wgfleet.panel.reconcile import host_names as watch
from wgfleet.panel.reconcile.engine.loop import CoreLoop
from wgfleet.panel.reconcile.host_names import HostNameWatch
from wgfleet.panel.services import host_names as services
from wgfleet.panel.store import host_names as host_name_rows
from wgfleet.panel.store.tables import AuditEntry, HostName

AGENT, VPN = "agent.example.com", "vpn.example.com"


class Resolver(dict[str, list[str]]):
    """The names that there are."""

    def getaddrinfo(self, name: str, _port: None, **_: object) -> list[tuple[object, ...]]:
        if name not in self:
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        return [(None, None, None, "", (address, 0)) for address in self[name]]


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Resolver:
    found = Resolver()
    monkeypatch.setattr(host_names, "getaddrinfo", found.getaddrinfo)
    return found


@pytest.fixture
def config(client: httpx.Client, resolver: Resolver) -> str:
    resolver[AGENT] = ["198.51.100.9", "2001:db8:9::9"]
    resolver[VPN] = ["203.0.113.50"]
    made(client, "/api/nodes", name="fra1", endpoint_addresses=["203.0.113.7"], agent_host="Agent.Example.Com.")
    config = made(client, "/api/configs", name="wg0", mode="cluster", pools=["10.8.0.0/24"])
    made(client, "/api/configs/wg0/endpoint-group", domain=VPN)
    return str(config["name"])


def look(panel: Panel) -> None:
    asyncio.run(HostNameWatch(panel.store, panel.settings.own_hosts()).look())


def row(panel: Panel, name: str) -> HostName | None:
    with panel.store.read() as tx:
        return host_name_rows.get(tx, name)


def test_a_panel_that_starts_takes_what_was_found_before_for_agents_while_no_name_server_answers(
    client: httpx.Client, panel: Panel, resolver: Resolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolver[AGENT] = ["198.51.100.9"]
    made(client, "/api/nodes", name="fra1", endpoint_addresses=["203.0.113.7"], agent_host="Agent.Example.Com.")
    look(panel)
    [node] = client.get("/api/nodes").json()["items"]
    real = socket.getaddrinfo

    def no_server(host: str | bytes, port: int, *more: Any) -> list[Any]:
        if socket.AI_NUMERICHOST in more:
            return real(host, port, *more)
        raise socket.gaierror(socket.EAI_AGAIN, "no name server answers")

    async def start() -> list[str]:
        HostNameWatch(panel.store, panel.settings.own_hosts()).remember()
        found = await asyncio.get_running_loop().getaddrinfo(node["agent_host"], node["agent_port"])
        return [str(entry[4][0]) for entry in found]

    monkeypatch.setattr(socket, "getaddrinfo", no_server)
    with asyncio.Runner(loop_factory=CoreLoop) as runner:
        assert {*runner.run(start())} == {"198.51.100.9"}


COVERED = [
    ("198.51.100.0/24", f"where the agent of node 'fra1' is ({AGENT})"),
    ("2001:db8:9::/48", f"where the agent of node 'fra1' is ({AGENT})"),
    ("203.0.113.48/29", f"the endpoint of config 'wg0' ({VPN})"),
]


@pytest.mark.usefixtures("config")
@pytest.mark.parametrize(("network", "who"), COVERED)
def test_no_pool_and_no_network_of_a_peer_contains_them(client: httpx.Client, network: str, who: str) -> None:
    peer = made(client, "/api/configs/wg0/peers", name="office", networks=["192.168.7.0/24"])
    answers = [
        client.post("/api/configs", json={"name": "wg1", "mode": "cluster", "pools": [network]}),
        client.post("/api/configs/wg0/peers", json={"name": "other", "networks": [network]}),
        client.patch(f"/api/peers/{peer['id']}", json={"networks": [network]}),
    ]
    for answer in answers:
        assert answer.status_code == 409, answer.text
        assert who in answer.json()["detail"]


@pytest.mark.usefixtures("config")
@pytest.mark.parametrize("address", ["10.8.0.77", "192.168.7.5"])
def test_no_name_is_set_that_leads_into_them(client: httpx.Client, resolver: Resolver, address: str) -> None:
    made(client, "/api/configs/wg0/peers", name="office", networks=["192.168.7.0/24"])
    resolver["inside.example.com"] = ["203.0.113.99", address]
    node = {"name": "fra2", "endpoint_addresses": ["203.0.113.8"], "agent_host": "inside.example.com"}
    answers = {
        "agent_host": [
            client.post("/api/nodes", json=node),
            client.patch("/api/nodes/fra1", json={"agent_host": "inside.example.com"}),
        ],
        "domain": [client.post("/api/configs/wg0/endpoint-group", json={"domain": "inside.example.com"})],
    }
    for field, each in answers.items():
        for answer in each:
            assert answer.status_code == 409, answer.text
            assert field in answer.text
            assert f"inside.example.com leads into the tunnel: {address}" in answer.json()["detail"]


def test_a_name_that_is_not_found_is_no_obstacle_and_is_said(client: httpx.Client, resolver: Resolver) -> None:
    node = made(client, "/api/nodes", name="fra1", endpoint_addresses=["203.0.113.7"], agent_host=AGENT)
    assert "no such name" in node["agent_host_warning"]
    made(client, "/api/configs", name="wg0", mode="cluster", pools=["10.8.0.0/24"])
    group = made(client, "/api/configs/wg0/endpoint-group", domain=VPN)
    assert "no such name" in group["domain_warning"]
    resolver[AGENT] = ["198.51.100.9"]
    changed = client.patch("/api/nodes/fra1", json={"agent_host": AGENT, "weight": 2}).json()
    assert changed["agent_host_warning"] is None
    assert client.get("/api/nodes/fra1").json()["agent_host_warning"] is None
    changed = client.patch("/api/nodes/fra1", json={"agent_host": "198.51.100.9"}).json()
    assert changed["agent_host_warning"] is None


@pytest.mark.parametrize("host", ["300.1.2.3", "1.2", "2001:db8::g", "a..example.com"])
def test_what_is_neither_an_address_nor_a_name_is_refused_as_such(client: httpx.Client, host: str) -> None:
    node = {"name": "fra1", "endpoint_addresses": ["203.0.113.7"], "agent_host": host}
    config = {"name": "wg0", "pools": ["10.8.0.0/24"], "dns": ["9.9.9.9", host]}
    for path, body, field in (("nodes", node, "agent_host"), ("configs", config, "dns[1]")):
        answer = client.post(f"/api/{path}", json=body)
        assert answer.status_code == 422, answer.text
        assert answer.json()["field"] == field
        assert f"'{host}' is neither" in answer.json()["detail"]


def test_the_name_that_the_panel_publishes_itself_may_be_new(client: httpx.Client, resolver: Resolver) -> None:
    del resolver  # which knows no name
    made(client, "/api/configs", name="wg0", mode="cluster", pools=["10.8.0.0/24"])
    group = made(client, "/api/configs/wg0/endpoint-group", domain=VPN, cloudflare_zone_id="0" * 32)
    assert group["domain_warning"] is None


@pytest.mark.usefixtures("config")
def test_a_name_that_is_not_found_any_more_keeps_the_addresses_that_it_had(
    panel: Panel, client: httpx.Client, resolver: Resolver
) -> None:
    del resolver[AGENT]
    look(panel)
    assert "198.51.100.9" in client.get("/api/nodes/fra1").json()["agent_host_warning"]
    answer = client.post("/api/configs", json={"name": "wg1", "mode": "cluster", "pools": ["198.51.100.0/24"]})
    assert answer.status_code == 409


@pytest.mark.usefixtures("config")
def test_a_name_that_moves_is_followed_and_one_that_moves_into_a_tunnel_is_said_once(
    panel: Panel, client: httpx.Client, resolver: Resolver
) -> None:
    resolver[AGENT] = ["192.0.2.1"]
    look(panel)
    pools = ["198.51.100.0/24", "192.0.2.0/24"]
    made(client, "/api/configs", name="wg1", mode="cluster", pools=pools[:1])
    assert client.post("/api/configs", json={"name": "wg2", "mode": "cluster", "pools": pools[1:]}).status_code == 409
    resolver[AGENT] = ["10.8.0.1"]
    look(panel)
    look(panel)
    assert "leads into the tunnel" in client.get("/api/nodes/fra1").json()["agent_host_warning"]
    with panel.store.read() as tx:
        assert tx.session.query(AuditEntry).filter(AuditEntry.action == "name_in_tunnel").count() == 1
    resolver[AGENT] = ["192.0.2.1"]
    look(panel)
    assert client.get("/api/nodes/fra1").json()["agent_host_warning"] is None


@pytest.mark.usefixtures("config")
def test_a_name_that_nothing_has_is_forgotten(panel: Panel, client: httpx.Client) -> None:
    assert row(panel, AGENT) is not None
    client.patch("/api/nodes/fra1", json={"agent_host": "198.51.100.9"})
    look(panel)
    assert row(panel, AGENT) is None
    assert row(panel, VPN) is not None


def test_the_panels_own_name_is_one_of_them(
    panel: Panel, client: httpx.Client, resolver: Resolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(panel.settings.__dict__, "public_url", "https://Panel.example.com:8443")  # they are frozen
    resolver["panel.example.com"] = ["192.0.2.80"]
    look(panel)
    answer = client.post("/api/configs", json={"name": "wg0", "mode": "cluster", "pools": ["192.0.2.64/26"]})
    assert answer.status_code == 409
    assert "the panel's public_url (panel.example.com)" in answer.json()["detail"]


@pytest.mark.usefixtures("config")
def test_names_that_stay_as_they_are_cost_no_write(panel: Panel, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_write() -> None:
        raise AssertionError("nothing is news")

    monkeypatch.setattr(panel.store, "write", no_write)
    look(panel)


@pytest.fixture
def hanging(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """A resolver that says nothing until it is let go."""
    go_on = threading.Event()

    def hang(name: str) -> Lookup:
        if name.startswith("slow"):
            go_on.wait()
        return Lookup(("192.0.2.1",))

    monkeypatch.setattr(host_names, "_resolved", hang)
    monkeypatch.setattr(host_names, "_slots", host_names.Slots(2, 2, 2))
    yield go_on
    go_on.set()


def test_a_resolver_that_hangs_holds_nobody_for_longer_than_the_limit(hanging: threading.Event) -> None:
    begun = clock.monotonic()
    assert host_names.look_up(["slow1", "fast"], 0.3) == {
        "slow1": Lookup(error=LATE),
        "fast": Lookup(("192.0.2.1",)),
    }
    assert 0.25 < clock.monotonic() - begun < 5
    host_names.look_up(["slow2"], 0.0)
    begun = clock.monotonic()
    assert host_names.look_up(["fast"], 30) == {"fast": Lookup(error=LATE)}, "no thread is left"
    assert clock.monotonic() - begun < 5
    hanging.set()


def test_names_that_hang_keep_no_others_from_being_looked_up(
    panel: Panel, client: httpx.Client, hanging: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "LIMIT_S", 0.2)
    monkeypatch.setattr(watch, "AT_ONCE", 2)
    for number in range(4):
        made(client, "/api/configs", name=f"wg{number}", mode="cluster", pools=[f"10.{number}.0.0/24"])
        made(client, f"/api/configs/wg{number}/endpoint-group", domain=f"slow{number}.example.com")
    hanging.set()
    while any(each.name == "host name" for each in threading.enumerate()):  # each has a lookup's place
        time.sleep(0.01)
    hanging.clear()
    made(client, "/api/nodes", name="fra1", endpoint_addresses=["203.0.113.7"], agent_host="tail.example.com")
    found = row(panel, "tail.example.com")
    assert found is not None
    assert found.addresses == ["192.0.2.1"]
    with panel.store.write() as tx:
        moved = host_name_rows.get(tx, "tail.example.com")
        assert moved is not None
        moved.addresses = ["198.51.100.1"]
    look(panel)
    found = row(panel, "tail.example.com")
    assert found is not None
    assert (found.addresses, found.error) == (["192.0.2.1"], None)


def test_one_key_leaves_others_and_the_panel_their_lookups(
    panel: Panel, client: httpx.Client, hanging: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host_names, "_slots", host_names.Slots(of_keys=4, of_each=2, of_panel=1))
    other = made(client, "/api/keys", name="other", scopes=["read", "write"])["key"]
    for number in range(4):
        made(client, "/api/configs", name=f"wg{number}", mode="cluster", pools=[f"10.{number}.0.0/24"])

    def warned(number: int, domain: str, key: str | None = None) -> str | None:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        answer = client.post(f"/api/configs/wg{number}/endpoint-group", json={"domain": domain}, headers=headers)
        assert answer.status_code in {200, 201}, answer.text
        warning: str | None = answer.json()["domain_warning"]
        return warning

    for number in range(2):
        assert LATE in (warned(number, f"slow{number}.example.com", other) or "")
    assert TOO_MANY in (warned(2, "fast.example.com", other) or "")
    assert warned(2, "fast.example.com") is None
    look(panel)
    found = row(panel, "fast.example.com")
    assert found is not None
    assert found.error is None
    hanging.set()


def test_of_names_that_were_not_found_each_comes_first_in_turn(panel: Panel) -> None:
    names = ["bad1", "bad2", "good"]
    with panel.store.write() as tx:
        services.record(tx, {name: Lookup(error="no") for name in names[:2]} | {"good": Lookup(("192.0.2.1",))})
        assert [services.in_order(tx, {*names, "new"}, turn) for turn in range(3)] == [
            ["good", "new", "bad1", "bad2"],
            ["good", "new", "bad2", "bad1"],
            ["good", "new", "bad1", "bad2"],
        ]
