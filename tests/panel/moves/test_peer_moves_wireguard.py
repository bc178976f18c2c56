"""Peers that a filter chose move to a node, or a group, on real WireGuard; and what a key began that is revoked."""

from collections.abc import Iterator
from typing import Any

import pytest

from wgfleet.lab import assembly, fleet, pings, state, stock
from wgfleet.lab.hosts import Host
from wgfleet.lab.panel_client import PanelClient
from wgfleet.lab.progress import Progress
from wgfleet.lab.scenarios import drain
from wgfleet.lab.state import Lab
from wgfleet.lab.waiting import wait_for

pytestmark = [pytest.mark.lab, pytest.mark.timeout(300)]
SOON_S = 120.0
RATE = 20
MAX_LOST_S = 1.0  # for each move, as in `test_wireguard`
CHANGES = f"/api/configs/{fleet.CONFIG}/peers/changes"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with state.temporary("chosen", 3, 4) as built:
        assembly.assemble(built, Progress())
        yield built


def peer_of(panel: PanelClient, client: Host) -> dict[str, Any]:
    key = client.run("wg", "show", stock.INTERFACE, "public-key").strip()
    return next(each for each in panel.all(f"/api/configs/{fleet.CONFIG}/peers") if each["public_key"] == key)


def at(lab: Lab, panel: PanelClient) -> dict[str, str]:
    """Return by client the node that has its session."""
    names = {drain.node_id(lab, host): host.name for host in fleet.hosts(lab, "node")}
    found = {client.name: peer_of(panel, client)["session"] for client in fleet.hosts(lab, "client")}
    return {name: names[session["node_id"]] for name, session in found.items() if session}


def reached(lab: Lab) -> dict[str, str]:
    """Return by client the node that it sends to."""
    names = {host.address: host.name for host in fleet.hosts(lab, "node")}
    found = {}
    for client in fleet.hosts(lab, "client"):
        endpoint = client.run("wg", "show", stock.INTERFACE, "endpoints").split()[1]
        found[client.name] = names.get(endpoint.rpartition(":")[0], endpoint)
    return found


def settled(lab: Lab, panel: PanelClient) -> bool:
    """Have each client hear nobody but the node that it has; tell whether the panel knows which that is.

    A node that called it before may just have called once more, and then the client is there.
    """
    having = reached(lab)
    for client in fleet.hosts(lab, "client"):
        deaf = ", ".join(host.address for host in fleet.hosts(lab, "node") if host.name != having[client.name])
        client.run(
            *("nft", "-f", "/dev/stdin"),
            stdin="add table ip deaf\ndelete table ip deaf\n"
            "table ip deaf { chain input { type filter hook input priority 0; "
            f"ip saddr {{ {deaf} }} drop; }}; }}\n",
        )
    return having == reached(lab) == at(lab, panel)


def move(panel: PanelClient, to: str, chosen: dict[str, Any]) -> dict[str, Any]:
    body = {"action": "move", "to": to, "filter": chosen}
    look = panel.call("POST", f"{CHANGES}/preview", body)
    begun: dict[str, Any] = panel.call("POST", CHANGES, {**body, "expect": look["who"]})
    return begun


def other_than(lab: Lab, *names: str) -> Host:
    return next(host for host in fleet.hosts(lab, "node") if host.name not in names)


def test_chosen_clients_go_to_a_node_and_to_a_group_and_lose_next_to_nothing(lab: Lab) -> None:
    clients = fleet.hosts(lab, "client")
    with fleet.client(lab) as panel:
        for host in drain.serving(lab, panel):
            host.favour("wireguard-go")
        fleet.wait_sessions(panel)
        before = at(lab, panel)
        panel.call("POST", "/api/tags", {"name": "chosen"})
        chosen, others = clients[:2], clients[2:]
        for client in chosen:
            panel.call("PATCH", f"/api/peers/{peer_of(panel, client)['id']}", {"tags": ["chosen"]})
        running = pings.start(clients, fleet.NODE_TUNNEL_ADDRESS, rate=RATE)
        to = other_than(lab, before[chosen[0].name])
        moved = panel.wait_operation(move(panel, to.name, {"tag": "chosen"})["id"], timeout_s=SOON_S)["result"]
        came = sum(before[client.name] != to.name for client in chosen)
        assert (moved["sessions_taken_over"], moved["left_behind"]) == (came, 0)
        wanted = {**before, **dict.fromkeys((client.name for client in chosen), to.name)}
        wait_for(lambda: at(lab, panel) == wanted, "others moved, or not all of them", within_s=SOON_S)

        panel.call("POST", "/api/node-groups", {"name": "eu"})
        inside = [host for host in fleet.hosts(lab, "node") if host.name != to.name]
        for host in inside:
            panel.call("PATCH", f"/api/nodes/{host.name}", {"group": "eu"})
        moved = panel.wait_operation(move(panel, "eu", {"tag": "chosen"})["id"], timeout_s=SOON_S)["result"]
        assert (moved["sessions_taken_over"], moved["left_behind"]) == (len(chosen), 0)

        def spread() -> bool:
            found = at(lab, panel)
            own = {found[client.name] for client in chosen}
            return own == {host.name for host in inside} and all(
                found[client.name] == before[client.name] for client in others
            )

        wait_for(spread, "they are not where the group is", within_s=SOON_S)
    lost = {count.client: count.lost for count in pings.measure(running)}
    assert max(lost.values()) <= 2 * MAX_LOST_S * RATE, lost
    assert [lost[client.name] for client in others] == [0, 0], lost


@pytest.mark.parametrize("kind", ["move_peers", "drain"])
def test_what_a_revoked_key_began_stops_and_nobody_is_cut_off(lab: Lab, kind: str) -> None:
    client = fleet.hosts(lab, "client")[0]
    with fleet.client(lab) as panel:
        fleet.wait_sessions(panel)
        wait_for(lambda: settled(lab, panel), "they are not where the panel has them", within_s=SOON_S)
        own = lab.host(at(lab, panel)[client.name])
        others = [host for host in fleet.hosts(lab, "node") if host.name != own.name]
        running = pings.start([client], fleet.NODE_TUNNEL_ADDRESS, rate=RATE)
        key = panel.call("POST", "/api/keys", {"name": f"ci-{kind}", "scopes": ["read", "write", "nodes"]})
        with PanelClient(fleet.panel_url(lab), key["key"], fleet.ca_file(lab)) as program:
            if kind == "drain":
                (operation,) = program.call("POST", f"/api/nodes/{own.name}/drain")["items"]
            else:
                search = peer_of(program, client)["name"]
                operation = move(program, others[0].name, {"search": search})

        def waits() -> bool:
            found = panel.call("GET", f"/api/operations/{operation['id']}")
            return bool(found["progress"].get("live"))

        wait_for(waits, "nobody is called", within_s=SOON_S)
        (counted,) = [each for each in panel.all("/api/keys") if each["id"] == key["id"]]
        assert counted["operations"] == 1
        panel.call("DELETE", f"/api/keys/{key['id']}")
        ended = panel.ended_operation(operation["id"], timeout_s=SOON_S)
        assert (ended["kind"], ended["state"]) == (kind, "failed")
        assert f"API key 'ci-{kind}', which began it, was revoked" in ended["result"]["reason"], ended
        assert panel.call("GET", f"/api/nodes/{own.name}")["cordoned"] is False
        assert at(lab, panel)[client.name] == own.name
    lost = {count.client: count.lost for count in pings.measure(running)}
    assert max(lost.values()) <= MAX_LOST_S * RATE, lost
    for each in fleet.hosts(lab, "client"):
        each.run("nft", "delete", "table", "ip", "deaf")
        stock.wait_reply(each, fleet.NODE_TUNNEL_ADDRESS, timeout_s=SOON_S)
