"""Destination rules of a panel on real WireGuard: refused stays refused at a takeover, without panel and agent."""

import sys
import time
from collections.abc import Callable, Iterator

import pytest

from wgfleet.lab import assembly, fleet, state, stock
from wgfleet.lab.hosts import Host
from wgfleet.lab.panel_client import PanelClient
from wgfleet.lab.progress import Progress
from wgfleet.lab.state import Lab
from wgfleet.lab.waiting import wait_for

pytestmark = [pytest.mark.lab, pytest.mark.timeout(600)]
SOON_S = 120.0
CLOSED, OPEN = 9001, 9002
# Counts datagrams by port: a byte each in a file. Answers TCP at the same ports.
RECEIVE = """
import pathlib, select, socket, sys
ports, kept = {}, []
for port in map(int, sys.argv[2:]):
    udp = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    udp.bind(("::", port))
    tcp = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)
    ports[udp], ports[tcp] = port, port
    pathlib.Path(sys.argv[1], f"got-{port}").touch()
while True:
    for each in select.select(list(ports), [], [])[0]:
        if each.type == socket.SOCK_DGRAM:
            each.recv(100)
            with pathlib.Path(sys.argv[1], f"got-{ports[each]}").open("ab") as got:
                got.write(b".")
        else:
            kept.append(each.accept()[0])
"""
SEND = """
import socket, sys, time
sockets = {4: socket.socket(socket.AF_INET, socket.SOCK_DGRAM), 6: socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)}
while True:
    for address in sys.argv[1].split(","):
        for port in map(int, sys.argv[2:]):
            try:
                sockets[6 if ":" in address else 4].sendto(b".", (address, port))
            except OSError:
                pass
    time.sleep(0.005)
"""
CONNECT = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=5).close()
    print("open")
except OSError as error:
    print(type(error).__name__)
"""
HOLD = """
import pathlib, socket, sys, time
connection = socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=5)
held = pathlib.Path(sys.argv[3])
held.write_text("held")
try:
    while True:
        connection.send(b".")
        time.sleep(0.05)
except OSError as error:
    held.write_text(type(error).__name__)
"""


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with state.temporary("rules", 2, 2) as built:
        assembly.assemble(built, Progress())
        yield built


def with_ipv6(lab: Lab, panel: PanelClient) -> dict[str, list[str]]:
    """Give the config a pool of IPv6, and devices the addresses; return those of each."""
    panel.call("PATCH", f"/api/configs/{fleet.CONFIG}", {"pools": [fleet.POOL, "fd08::/64"]})
    found = {}
    by_key = {each["public_key"]: each for each in panel.all(f"/api/configs/{fleet.CONFIG}/peers")}
    for host in fleet.hosts(lab, "client"):
        peer = by_key[host.run("wg", "show", "wg0", "public-key").strip()]
        (server,) = host.run("wg", "show", "wg0", "peers").split()
        host.run("wg", "set", "wg0", "peer", server, "allowed-ips", "0.0.0.0/0,::/0")
        (v6,) = (each for each in peer["addresses"] if ":" in each)
        host.run("ip", "-6", "address", "add", f"{v6}/64", "dev", "wg0", "nodad")
        found[host.name] = peer["addresses"]
    return found


def drained(lab: Lab, panel: PanelClient, node: str) -> None:
    for operation in panel.call("POST", f"/api/nodes/{node}/drain")["items"]:
        assert panel.wait_operation(operation["id"], timeout_s=SOON_S)["result"]["left_behind"] == 0
    for host in fleet.hosts(lab, "client"):
        stock.wait_reply(host, fleet.NODE_TUNNEL_ADDRESS, timeout_s=SOON_S)


def outcome(host: Host, address: str, port: int) -> str:
    return host.run(sys.executable, "-c", CONNECT, address, str(port)).strip()


def eventually(condition: Callable[[], bool], otherwise: str) -> float:
    begun = time.monotonic()
    wait_for(condition, otherwise, within_s=SOON_S, every_s=0.1)
    return time.monotonic() - begun


def got(host: Host, port: int) -> int:
    return (host.directory / f"got-{port}").stat().st_size


def test_rules_hold_over_a_takeover_without_the_panel_and_for_open_connections(lab: Lab) -> None:
    anna, bert = fleet.hosts(lab, "client")
    first, second = (host.name for host in fleet.hosts(lab, "node"))
    with fleet.client(lab) as panel:
        fleet.wait_connected(panel, 2)
        addresses = with_ipv6(lab, panel)[bert.name]
        drained(lab, panel, second)  # both are at the first node
        bert.start((sys.executable, "-c", RECEIVE, str(bert.directory), str(CLOSED), str(OPEN)), "received")
        outside = lab.host("panel")
        outside.start((sys.executable, "-c", RECEIVE, str(outside.directory), str(CLOSED), str(OPEN)), "received")
        targets = [*addresses, outside.address]
        for target in targets:
            eventually(lambda target=target: outcome(anna, target, CLOSED) == "open", f"{target} is not reached")  # type: ignore[misc]
        rules = [
            {"allow": True, "transport": protocol, "ports": [str(OPEN)], "place": place}
            for protocol in ("tcp", "udp")
            for place in ("users", "outside")
        ]
        rules.append({"allow": True, "transport": "icmp", "place": "node"})
        panel.call("POST", "/api/rule-sets", {"name": "few", "rules": rules, "otherwise_allowed": False})
        held = anna.directory / "held"
        anna.start((sys.executable, "-c", HOLD, addresses[0], str(CLOSED), str(held)), "held")
        eventually(lambda: held.exists() and held.read_text() == "held", "no connection comes about")
        (said, *_) = panel.call("POST", f"/api/configs/{fleet.CONFIG}/preview", {"rule_set": "few"})["effects"]
        assert "no longer reach" in said
        panel.call("PATCH", f"/api/configs/{fleet.CONFIG}", {"rule_set": "few"})
        took = eventually(lambda: held.read_text() != "held", "an open connection goes on")
        sys.stderr.write(f"rules: an open connection ended after {took:.2f} s by {held.read_text()}\n")
        for target in targets:
            assert outcome(anna, target, CLOSED) == "ConnectionRefusedError", target
            assert outcome(anna, target, OPEN) == "open", target
        # Both ports all the time, from before the takeover until long after it.
        anna.start((sys.executable, "-c", SEND, ",".join(addresses), str(CLOSED), str(OPEN)), "sent")
        eventually(lambda: got(bert, OPEN) > 0, "what is allowed does not arrive")
        panel.call("POST", f"/api/nodes/{second}/uncordon")
        drained(lab, panel, first)
        before = got(bert, OPEN)
        eventually(lambda: got(bert, OPEN) > before + 400, "what is allowed does not arrive at the second node")
        sys.stderr.write(f"rules: {got(bert, OPEN)} allowed datagrams arrived, {got(bert, CLOSED)} refused ones\n")
        assert got(bert, CLOSED) == 0
    fleet.kill_panel(lab)
    for target in targets[:-1]:
        assert outcome(anna, target, CLOSED) == "ConnectionRefusedError", "without the panel"
    fleet.kill_agent(lab.host(second))
    for target in targets[:-1]:
        assert outcome(anna, target, CLOSED) == "ConnectionRefusedError", "without panel and agent"
        assert outcome(anna, target, OPEN) == "open"
    assert got(bert, CLOSED) == 0
