"""Traffic through a kill, an outage, a removal and a death: what is counted is what WireGuard counted, to the byte."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from wgfleet.lab import assembly, fleet, state, stock
from wgfleet.lab.hosts import Host
from wgfleet.lab.progress import Progress
from wgfleet.lab.state import Lab
from wgfleet.lab.waiting import wait_for

pytestmark = [pytest.mark.lab, pytest.mark.timeout(600)]
OFTEN = {"WGFLEET_USAGE__EVERY_S": "5"}
QUIET_S = 11.0  # a keepalive answers what was received last after 10 s
SOON_S = 180.0
Used = tuple[int, int]


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with state.temporary("usage", 3, 1) as built:
        assembly.assemble(built, Progress())
        fleet.restart_panel(built, OFTEN)
        yield built


def transfer(host: Host) -> dict[str, Used]:
    """What WireGuard itself counts by key: received, sent."""
    lines = [line.split() for line in host.run("wg", "show", "wg0", "transfer").splitlines()]
    return {key: (int(received), int(sent)) for key, received, sent in lines}


def of_client(lab: Lab) -> Used:
    """What the client sent and received: what nodes received and sent."""
    ((received, sent),) = transfer(lab.host("client-1")).values()
    return (sent, received)


def counted(lab: Lab) -> Used:
    with closing(sqlite3.connect(Path(fleet.data_dir(lab)) / "panel.sqlite")) as database:
        received, sent = database.execute("SELECT sum(received), sum(sent) FROM usage_totals").fetchone()
        return (received or 0, sent or 0)


def missing(lab: Lab) -> Used:
    """Return what is not counted of what the client has sent and received."""
    there, here = of_client(lab), counted(lab)
    return (there[0] - here[0], there[1] - here[1])


def send(lab: Lab, count: int, size: int) -> None:
    lab.host("client-1").run(
        "ping", "-i", "0.02", "-c", str(count), "-s", str(size), "-W", "1", fleet.NODE_TUNNEL_ADDRESS, check=False
    )


def settle(lab: Lab) -> None:
    """Wait until the client has nothing more to say."""
    before, since = of_client(lab), time.monotonic()
    while time.monotonic() - since < QUIET_S:
        time.sleep(1.0)
        if (now := of_client(lab)) != before:
            before, since = now, time.monotonic()


def wait_missing(lab: Lab, wanted: Used) -> None:
    wait_for(lambda: missing(lab) == wanted, lambda: f"{missing(lab)} is not counted, not {wanted}", within_s=SOON_S)


def on_nodes(lab: Lab, key: str) -> Used:
    """Return what the nodes' WireGuard counts of a peer: what got lost on the way to them is not in it."""
    found = [transfer(node).get(key, (0, 0)) for node in fleet.hosts(lab, "node")]
    return (sum(received for received, _ in found), sum(sent for _, sent in found))


def wait_counted(lab: Lab, key: str) -> None:
    wait_for(
        lambda: counted(lab) == on_nodes(lab, key),
        lambda: f"{counted(lab)} is counted of {on_nodes(lab, key)}, and the client has {of_client(lab)}",
        within_s=SOON_S,
    )


def serving(lab: Lab, key: str) -> Host:
    """Return the node that the client has shaken hands with last."""
    found: dict[int, Host] = {}
    for host in fleet.hosts(lab, "node"):
        shown = host.run("wg", "show", "wg0", "latest-handshakes", check=False)
        found |= {int(line.split()[1]): host for line in shown.splitlines() if line.startswith(key)}
    return found[max(found)]


def test_what_is_counted_is_what_wireguard_counted(lab: Lab) -> None:
    with fleet.client(lab) as panel:
        fleet.wait_connected(panel, 3)
        (peer,) = panel.all("/api/configs/wg0/peers")
        settle(lab)
        wait_for(lambda: counted(lab)[0], "nothing is counted", within_s=SOON_S)
        time.sleep(6.0)  # whoever is asked every 5 s has told all by then
        send(lab, 50, 1000)
        settle(lab)
        wait_counted(lab, peer["public_key"])

        node = serving(lab, peer["public_key"])
        fleet.kill_agent(node)
        send(lab, 50, 900)
        fleet.start_agent(node)
        fleet.wait_connected(panel, 3)
        settle(lab)
        wait_counted(lab, peer["public_key"])

        fleet.kill_panel(lab)
        send(lab, 50, 800)
        fleet.restart_panel(lab, OFTEN)
        fleet.wait_connected(panel, 3)
        settle(lab)
        wait_counted(lab, peer["public_key"])

        unknown = missing(lab)  # also what got lost on the way
        removed = next(each for each in panel.all("/api/nodes") if each["name"] == node.name)
        operation = panel.call("DELETE", f"/api/configs/wg0/nodes/{removed['id']}")
        panel.wait_operation(operation["id"], timeout_s=SOON_S)
        send(lab, 50, 700)
        settle(lab)
        wait_missing(lab, unknown)

        before = of_client(lab)
        dying = serving(lab, peer["public_key"])
        assert dying.name != node.name
        send(lab, 5, 600)
        fleet.power_off(dying)
        wait_for(lambda: serving(lab, peer["public_key"]).name != dying.name, "nobody takes over", within_s=SOON_S)
        stock.wait_reply(lab.host("client-1"), fleet.NODE_TUNNEL_ADDRESS, timeout_s=SOON_S)
        at_most = of_client(lab)  # all that was sent to who is dead by then
        send(lab, 50, 500)
        settle(lab)

        def bounded() -> bool:
            lost = tuple(now - then for now, then in zip(missing(lab), unknown, strict=True))
            return all(0 <= each <= most - was for each, most, was in zip(lost, at_most, before, strict=True))

        wait_for(bounded, f"more is lost than was sent since the last question: {missing(lab)}", within_s=SOON_S)
