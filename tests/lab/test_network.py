import os
import time
from collections.abc import Iterator

import pytest

from wgfleet.lab import pings, processes, state, stock
from wgfleet.lab.waiting import wait_for

pytestmark = pytest.mark.lab
NAME = "pytest"
TUNNEL = "10.8.0.1"


@pytest.fixture(scope="module")
def lab() -> Iterator[state.Lab]:
    with state.temporary(NAME, nodes=2, clients=2) as built:
        yield built


def wg(*words: str, stdin: str = "") -> str:
    return processes.run(["wg", *words], stdin=stdin).strip()


@pytest.mark.parametrize(
    ("source", "target"), [("client-1", "node-1"), ("client-2", "panel"), ("node-2", "panel"), ("panel", "client-1")]
)
def test_hosts_reach_each_other_through_the_router(lab: state.Lab, source: str, target: str) -> None:
    output = lab.host(source).run("ping", "-n", "-c", "1", "-w", "30", "-i", "0.2", lab.host(target).address)
    hops = 0 if source.partition("-")[0] == target.partition("-")[0] else 1
    assert f"ttl={64 - hops}" in output


def test_the_machine_itself_reaches_every_segment(lab: state.Lab) -> None:
    for name in ("panel", "node-1", "client-1"):
        processes.run(["ping", "-n", "-c", "1", "-w", "30", "-i", "0.2", lab.host(name).address])


def test_hosts_know_each_other_by_name(lab: state.Lab) -> None:
    assert lab.host("node-1").address in lab.host("client-1").run("getent", "hosts", "node-1")


def test_hosts_have_a_run_directory_of_their_own(lab: state.Lab) -> None:
    lab.host("node-1").run("touch", "/run/wireguard/mine")
    assert not lab.host("node-2").succeeds("test", "-e", "/run/wireguard/mine")
    assert not os.path.exists("/run/wireguard/mine")  # noqa: PTH110 - the machine's own directory, by its plain name


def test_a_cut_cable_stops_traffic_and_a_mended_one_carries_it_again(lab: state.Lab) -> None:
    client, address = lab.host("client-1"), lab.host("node-1").address
    stock.wait_reply(client, address, timeout_s=30)
    lab.cut("node-1")
    try:
        assert not client.succeeds("ping", "-n", "-q", "-c", "1", "-W", "1", address)
    finally:
        lab.reconnect("node-1")
    stock.wait_reply(client, address, timeout_s=30)


def test_killing_a_host_ends_its_daemons_and_leaves_the_host(lab: state.Lab) -> None:
    node = lab.host("node-2")
    node.start(["sleep", "1000"], "sleep")
    wait_for(lambda: node.find("sleep 1000"), "it was not started", within_s=30)
    assert node.kill_all() == 1
    assert not node.find("sleep")
    assert node.succeeds("true")


def test_a_stock_client_pings_through_a_tunnel_to_a_node_made_by_hand(lab: state.Lab) -> None:
    node, client = lab.host("node-1"), lab.host("client-1")
    node_key, client_key = wg("genkey"), wg("genkey")
    client_public = wg("pubkey", stdin=client_key)
    stock.write_file(
        node,
        f"[Interface]\nPrivateKey = {node_key}\nListenPort = 51820\nAddress = {TUNNEL}/24\n"
        f"[Peer]\nPublicKey = {client_public}\nAllowedIPs = 10.8.0.2/32\n",
    )
    stock.up(node)
    file = (
        f"[Interface]\nPrivateKey = {client_key}\nAddress = 10.8.0.2/32\n"
        f"[Peer]\nPublicKey = {wg('pubkey', stdin=node_key)}\nAllowedIPs = 0.0.0.0/0\nEndpoint = {node.address}:51820\n"
    )
    stock.connect([(client, file)], TUNNEL)
    running = pings.start([client], TUNNEL, rate=50)
    time.sleep(1)
    calm = pings.measure(running)[0]
    assert calm.sent > 0
    assert calm.lost == 0

    running = pings.start([client], TUNNEL, rate=50)
    lab.cut("node-1")
    time.sleep(1.5)
    lab.reconnect("node-1")
    time.sleep(2)
    torn = pings.measure(running)[0]
    assert torn.lost > 0
    assert torn.worst_gap_ms > 1000
    assert client_public in node.run("wg", "show", "wg0", "latest-handshakes")
