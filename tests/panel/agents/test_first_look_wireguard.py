"""A node that joins is looked at with real WireGuard: whose answer counts, and what happens where nobody gets one."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from wgfleet.lab import assembly, fleet, nameserver
from wgfleet.lab import state as labs
from wgfleet.lab.assembly import Equipment
from wgfleet.lab.hosts import Host
from wgfleet.lab.panel_client import Document, PanelClient
from wgfleet.lab.progress import Progress
from wgfleet.lab.scenarios import drain, standings
from wgfleet.lab.state import Lab
from wgfleet.lab.topology import ROUTER
from wgfleet.lab.waiting import look_for, wait_for

pytestmark = [pytest.mark.lab, pytest.mark.timeout(300)]

SOON_S = 30.0
WATCHED_S = 8.0  # the watch has judged it several times by then
TABLE = "wgfleetlab"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with labs.temporary("joining", 3, 0) as built:
        assembly.assemble(built, Progress(quiet=True), Equipment(name=True))
        yield built


@pytest.fixture
def panel(lab: Lab) -> Iterator[PanelClient]:
    with fleet.client(lab) as client:
        yield client


@pytest.fixture
def newcomer(lab: Lab, panel: PanelClient) -> Host:
    """Return a node that is yet to join."""
    host = lab.host("node-3")
    operation = panel.call("DELETE", f"/api/configs/{fleet.CONFIG}/nodes/{drain.node_id(lab, host)}")
    panel.wait_operation(operation["id"], timeout_s=SOON_S)
    return host


@contextmanager
def dropping(host: Host, hook: str, match: str) -> Iterator[None]:
    """Drop packets in a host, and fail if there was none to drop."""
    rules = f"{{ chain drops {{ type filter hook {hook} priority 0; {match} counter drop; }}; }}"
    host.run("nft", "-f", "-", stdin=f"table ip {TABLE} {rules}")
    try:
        yield
        dropped = re.search(r"counter packets (\d+)", host.run("nft", "list", "table", "ip", TABLE))
        assert dropped is not None
        assert int(dropped[1]) > 0, "nothing was sent that way"
    finally:
        host.run("nft", "delete", "table", "ip", TABLE)


def standing(lab: Lab, panel: PanelClient, host: Host) -> Document:
    node_id = drain.node_id(lab, host)
    (found,) = [each for each in panel.all(f"/api/configs/{fleet.CONFIG}/nodes") if each["node_id"] == node_id]
    return found


def wait_serving(lab: Lab, panel: PanelClient, host: Host) -> None:
    wait_for(
        lambda: standing(lab, panel, host)["phase"] == "serving",
        lambda: str(standing(lab, panel, host)),
        within_s=SOON_S,
    )
    wait_for(lambda: host.address in listed(), f"{host.name} is not published", within_s=SOON_S)


def listed() -> frozenset[str]:
    answer = nameserver.ask(nameserver.ENDPOINT)
    return frozenset() if answer is None else answer.addresses


def test_a_node_that_the_panel_alone_does_not_reach_serves_as_others_prove_it_and_stays(
    lab: Lab, panel: PanelClient, newcomer: Host
) -> None:
    way = f"ip saddr {lab.host('panel').address} ip daddr {newcomer.address} udp dport {fleet.LISTEN_PORT}"
    with dropping(lab.host(ROUTER), "forward", way):
        fleet.assign(panel, drain.node_id(lab, newcomer))
        wait_serving(lab, panel, newcomer)
        assert standing(lab, panel, newcomer)["first_look"] == "answered"
        health = look_for(lambda: _no_longer_serving(lab, panel, newcomer), within_s=WATCHED_S)
        assert not health


def _no_longer_serving(lab: Lab, panel: PanelClient, host: Host) -> str | None:
    health = standings.states(lab, panel)[host.name]
    return None if health == "serving" else health


def test_a_node_that_nobody_reaches_is_said_not_published_and_without_peers_until_it_answers(
    lab: Lab, panel: PanelClient, newcomer: Host
) -> None:
    node_id = drain.node_id(lab, newcomer)
    with dropping(newcomer, "input", f"udp dport {fleet.LISTEN_PORT}"):
        fleet.assign(panel, node_id)
        wait_for(
            lambda: standing(lab, panel, newcomer)["first_look"] == "unreached",
            lambda: str(standing(lab, panel, newcomer)),
            within_s=SOON_S,
        )
        peers = fleet.add_peers(panel, 6)
        assert not look_for(
            lambda: newcomer.address in listed() or standing(lab, panel, newcomer)["phase"] != "joining",
            within_s=WATCHED_S,
        )
        now = standing(lab, panel, newcomer)
        assert (now["phase"], now["first_look"]) == ("joining", "unreached")
        assert f"does not answer the panel, node-1, node-2 at {newcomer.address}:{fleet.LISTEN_PORT}" in now["summary"]
        assert node_id not in {peer["home_node_id"] for peer in peers}
        assert node_id not in standings.homes(panel).values()
    wait_serving(lab, panel, newcomer)
    assert standing(lab, panel, newcomer)["first_look"] == "answered"
