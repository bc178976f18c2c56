"""A panel, three nodes and stock clients on real WireGuard, and what goes wrong between them."""

import contextlib
import sqlite3
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from wgfleet.lab import assembly, fleet, pings, stock
from wgfleet.lab import state as labs
from wgfleet.lab.errors import LabError
from wgfleet.lab.hosts import Host
from wgfleet.lab.panel_client import PanelClient
from wgfleet.lab.progress import Progress
from wgfleet.lab.scenarios import drain, kill, standings
from wgfleet.lab.state import Lab
from wgfleet.lab.waiting import wait_for
from wgfleet.panel.agents.authority import agent_server_name
from wgfleet.protocol.messages import AGENT_PORT

pytestmark = [pytest.mark.lab, pytest.mark.timeout(300)]
SEEN_S = 60.0


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with labs.temporary("faults", 3, 3) as built:
        assembly.assemble(built, Progress())
        yield built


@pytest.fixture
def panel(lab: Lab) -> Iterator[PanelClient]:
    with fleet.client(lab) as client:
        yield client


def wait(holds: Callable[[], bool], otherwise: str) -> None:
    wait_for(holds, otherwise, within_s=SEEN_S)


def busiest(lab: Lab, panel: PanelClient) -> Host:
    """Return the node with the most live sessions, once the panel knows them too."""
    fleet.wait_sessions(panel)
    return max(drain.serving(lab, panel), key=lambda host: len(drain.live_peers(host, {})))


def removal(lab: Lab, host: Host, query: str = "") -> str:
    return f"/api/configs/{fleet.CONFIG}/nodes/{drain.node_id(lab, host)}{query}"


def test_a_node_that_is_cut_off_is_removed_its_clients_follow_and_it_cleans_up_when_it_returns(
    lab: Lab, panel: PanelClient
) -> None:
    node = busiest(lab, panel)
    live = drain.live_peers(node, {})
    assert live
    begun = time.time()
    lab.cut(node.name)
    operation = panel.call("DELETE", removal(lab, node))
    ended = panel.wait_operation(operation["id"], timeout_s=90)
    assert ended["result"]["interface"] == "cleanup owed"
    # On a slow machine the panel may have missed the node before it was told to remove it.
    taken_over = [each["result"]["sessions_taken_over"] for each in [ended, *standings.failovers(panel, begun)]]
    assert sum(taken_over) == len(live)
    for client in fleet.hosts(lab, "client"):
        stock.wait_reply(client, fleet.NODE_TUNNEL_ADDRESS, timeout_s=SEEN_S)
    assert node.succeeds("wg", "show", stock.INTERFACE)
    lab.reconnect(node.name)
    wait(lambda: not node.succeeds("wg", "show", stock.INTERFACE), "the interface is still there")
    assert kill.broken_promises(lab, panel, node) == []
    drain.put_back(lab, panel, node)


def test_drift_made_by_hand_is_repaired_and_peers_of_the_panel_stay(lab: Lab, panel: PanelClient) -> None:
    node = min(drain.serving(lab, panel), key=lambda host: len(drain.live_peers(host, {})))
    keys = set(drain.handshakes(node))
    idle = min(keys - drain.live_peers(node, {}))  # a session would end with its peer, until its client notices
    stranger = node.run("wg", "genkey").strip()
    node.run("wg", "set", stock.INTERFACE, "peer", idle, "remove")
    node.run("wg", "set", stock.INTERFACE, "peer", stranger, "allowed-ips", "10.8.200.1/32")
    wait(lambda: set(drain.handshakes(node)) == keys, "the drift stays")


def test_an_agent_that_dies_leaves_the_tunnel_up_and_catches_up_when_it_is_back(lab: Lab, panel: PanelClient) -> None:
    node = busiest(lab, panel)
    client = fleet.hosts(lab, "client")[0]
    assert fleet.kill_agent(node)
    (made,) = fleet.add_peers(panel, 1)
    stock.wait_reply(client, fleet.NODE_TUNNEL_ADDRESS, timeout_s=SEEN_S)
    assert made["public_key"] not in drain.handshakes(node)
    fleet.start_agent(node)
    wait(lambda: made["public_key"] in drain.handshakes(node), "the node never got the new peer")
    panel.call("DELETE", f"/api/peers/{made['id']}")
    wait(lambda: made["public_key"] not in drain.handshakes(node), "the node kept the deleted peer")


def test_an_agents_certificate_opens_no_agent_nor_does_none_and_both_are_audited(lab: Lab, panel: PanelClient) -> None:
    thief, victim = fleet.hosts(lab, "node")[:2]
    own = thief.directory / "agent"
    with pytest.raises(httpx.HTTPError):
        call_agent(lab, victim, own / "tls.crt", own / "tls.key", own / "ca.crt")
    with pytest.raises(httpx.HTTPError):
        call_agent(lab, victim, None, None, own / "ca.crt")

    def audited() -> bool:
        entries = panel.call("GET", f"/api/audit-logs?action=refused&entity_id={drain.node_id(lab, victim)}")
        return int(entries["total"]) >= 2

    wait(audited, "the panel does not know of the refused callers")


def call_agent(
    lab: Lab,
    host: Host,
    certificate: Path | None,
    key: Path | None,
    ca: Path,
    *,
    method: str = "GET",
    path: str = "/v1/status",
    body: object = None,
) -> httpx.Response:
    context = ssl.create_default_context(cafile=str(ca))
    if certificate is not None:
        context.load_cert_chain(certificate, key)
    name = agent_server_name(drain.node_id(lab, host))
    with httpx.Client(verify=context, trust_env=False, timeout=60) as client:
        url = f"https://{host.address}:{AGENT_PORT}{path}"
        return client.request(method, url, json=body, extensions={"sni_hostname": name})


@pytest.fixture
def files(lab: Lab, tmp_path: Path) -> tuple[Path, Path, Path]:
    """Certificate, key and CA with which a person may call agents."""
    folder = tmp_path / "certificate"
    lab.host("panel").run(fleet.PROGRAM, "panel", "client-certificate", str(folder), "--data-dir", fleet.data_dir(lab))
    assert (folder / "panel.key").stat().st_mode & 0o077 == 0
    return folder / "panel.crt", folder / "panel.key", folder / "ca.crt"


def test_a_peer_made_by_hand_that_has_the_address_of_a_new_one_gives_way(
    lab: Lab, panel: PanelClient, files: tuple[Path, Path, Path]
) -> None:
    node = drain.serving(lab, panel)[0]
    (made,) = fleet.add_peers(panel, 1)
    panel.call("DELETE", f"/api/peers/{made['id']}")
    wait(lambda: made["public_key"] not in drain.handshakes(node), "the node kept the deleted peer")
    address = f"{made['addresses'][0]}/32"
    body = {"public_key": made["public_key"], "peer": {"allowed_ips": [address]}}
    assert call_agent(lab, node, *files, method="POST", path="/v1/wg/wg0/peers", body=body).status_code == 200
    (new,) = fleet.add_peers(panel, 1)
    assert new["addresses"] == made["addresses"]
    wait(lambda: new["public_key"] in drain.handshakes(node), "the node never got the new peer")
    assert made["public_key"] not in drain.handshakes(node)
    assert f"{new['public_key']}\t{address}" in node.run("wg", "show", stock.INTERFACE, "allowed-ips")
    panel.call("DELETE", f"/api/peers/{new['id']}")
    wait(lambda: new["public_key"] not in drain.handshakes(node), "the node kept the deleted peer")


def test_a_person_with_the_panels_certificate_can_delete_an_interface_and_the_panel_puts_it_back(
    lab: Lab, panel: PanelClient, files: tuple[Path, Path, Path]
) -> None:
    node = drain.serving(lab, panel)[0]
    keys = set(drain.handshakes(node))
    answer = call_agent(lab, node, *files, method="DELETE", path=f"/v1/wg/{stock.INTERFACE}")
    assert answer.status_code == 204
    wait(lambda: node.succeeds("wg", "show", stock.INTERFACE), "the interface stays away")
    wait(lambda: set(drain.handshakes(node)) == keys, "not all peers are back")


def test_a_revoked_certificate_of_a_panel_ends_at_every_agent_for_good(
    lab: Lab, panel: PanelClient, files: tuple[Path, Path, Path]
) -> None:
    nodes = fleet.hosts(lab, "node")
    fleet.wait_connected(panel, len(nodes))

    def let_in() -> list[str]:
        found = []
        for node in nodes:
            with contextlib.suppress(httpx.HTTPError):
                found += [node.name] if call_agent(lab, node, *files).status_code == httpx.codes.OK else []
        return found

    def everywhere(key: str) -> bool:
        return all(key in drain.handshakes(node) for node in drain.serving(lab, panel))

    assert let_in() == [node.name for node in nodes]
    stolen = panel.call("GET", "/api/certificates?kind=client&valid=true")["items"][-1]
    panel.call("DELETE", f"/api/certificates/{stolen['id']}")
    wait(lambda: not panel.call("GET", f"/api/certificates/{stolen['id']}")["accepted_by"], "some agent was not told")
    assert let_in() == []
    # The panel's own as well: it has another, and goes on.
    (own,) = [each for each in panel.call("GET", "/api/certificates?kind=panel")["items"] if each["in_use"]]
    panel.call("DELETE", f"/api/certificates/{own['id']}")
    wait(lambda: not panel.call("GET", f"/api/certificates/{own['id']}")["accepted_by"], "some agent was not told")
    (made,) = fleet.add_peers(panel, 1)
    wait(lambda: everywhere(made["public_key"]), "the panel reaches its nodes no more")
    panel.call("DELETE", f"/api/peers/{made['id']}")
    assert fleet.kill_agent(nodes[0])
    fleet.start_agent(nodes[0])
    fleet.wait_connected(panel, len(nodes))
    assert let_in() == []


def test_certificates_are_renewed_when_their_time_comes(lab: Lab, panel: PanelClient) -> None:
    node = fleet.hosts(lab, "node")[0]
    node_id = drain.node_id(lab, node)
    before = (node.directory / "agent" / "tls.crt").read_text()
    fleet.kill_panel(lab)
    with closing(sqlite3.connect(Path(fleet.data_dir(lab)) / "panel.sqlite")) as rows, rows:
        rows.execute("UPDATE nodes SET certificate_expires_at = ? WHERE id = ?", (time.time() + 86400, node_id))
    fleet.restart_panel(lab)
    renewals = f"/api/audit-logs?action=certificate_renewed&entity_id={node_id}"
    wait(lambda: (node.directory / "agent" / "tls.crt").read_text() != before, "no new certificate")
    wait(lambda: panel.call("GET", renewals)["total"] == 1, "the panel has not written down that it renewed it")
    # With the new one it is reached anew.
    fleet.restart_panel(lab)
    fleet.wait_connected(panel, lab.nodes)
    assert panel.call("GET", renewals)["total"] == 1


def test_a_locked_database_is_said_and_outlived(lab: Lab, panel: PanelClient) -> None:
    with closing(sqlite3.connect(Path(fleet.data_dir(lab)) / "panel.sqlite", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(LabError, match="503"):
            fleet.add_peers(panel, 1)
        assert panel.all("/api/nodes"), "reading goes on"
        other.execute("ROLLBACK")
    (made,) = fleet.add_peers(panel, 1)
    wait(
        lambda: all(made["public_key"] in drain.handshakes(host) for host in drain.serving(lab, panel)),
        "the nodes did not get the peer",
    )
    panel.call("DELETE", f"/api/peers/{made['id']}")


def test_the_ca_is_replaced_while_users_go_on_and_the_panel_is_killed(
    lab: Lab, panel: PanelClient, files: tuple[Path, Path, Path]
) -> None:
    clients, nodes = fleet.hosts(lab, "client"), fleet.hosts(lab, "node")
    fleet.wait_connected(panel, len(nodes))
    old = fleet.ca_file(lab).read_text()
    for client in clients:
        stock.wait_reply(client, fleet.NODE_TUNNEL_ADDRESS, timeout_s=SEEN_S)
    fleet.favour_nodes(lab)  # the tests before have started some; no other work may cost a packet
    begun = time.time()
    running = pings.start(clients, fleet.NODE_TUNNEL_ADDRESS, rate=10)
    rotation = panel.call("POST", "/api/authority")["rotation"]
    fleet.kill_panel(lab)
    fleet.ca_file(lab).write_text(old + rotation["certificate"])
    fleet.restart_panel(lab)
    with fleet.client(lab) as again:
        wait(lambda: again.call("GET", "/api/authority")["rotation"] is None, "the CA is still being replaced")
        fleet.wait_connected(again, len(nodes))
        assert again.call("GET", "/api/authority")["fingerprint"] == rotation["fingerprint"]
        (made,) = fleet.add_peers(again, 1)
        wait(
            lambda: all(made["public_key"] in drain.handshakes(host) for host in drain.serving(lab, again)),
            "the nodes did not get the peer",
        )
        assert standings.failovers(again, begun) == []
    for node in nodes:
        assert (node.directory / "agent" / "ca.crt").read_text() == rotation["certificate"]
        with pytest.raises(httpx.HTTPError):  # what the old CA has issued
            call_agent(lab, node, files[0], files[1], fleet.ca_file(lab))
    assert [count.lost for count in pings.measure(running)] == [0] * len(clients)
