"""Nodes that die, vanish, return, and a panel that is cut off: who is moved, and who is not."""

from collections.abc import Iterator

import pytest

from wgfleet.lab import assembly, face, fleet
from wgfleet.lab import state as labs
from wgfleet.lab.panel_client import PanelClient
from wgfleet.lab.progress import Progress
from wgfleet.lab.scenarios import agent_down, comeback, crash, failover, partition, soak, standings
from wgfleet.lab.scenarios.options import ScenarioOptions
from wgfleet.lab.state import Lab
from wgfleet.probing.prober import NEW_PORT_S

pytestmark = [pytest.mark.lab, pytest.mark.timeout(300)]

CLIENTS = 4
OPTIONS = ScenarioOptions(rate=20.0)
QUIET = Progress(quiet=True)
# Times are generous: `lab run` holds clients to 3 s in `failover` and 0.3 s in `return`, on a machine of its own.
WATCH_S = 20.0
SEEN_S = 60.0
RETURN_S = 120.0
ONLY_KNOWN = """
table inet known {
  chain input {
    type filter hook input priority filter; policy drop;
    ct state { established, related } accept
    iif lo accept
  }
}
"""
DRAWN_MS = 8000.0  # a client that is drawn to a node that does not have it any more is silent for 10 s and more


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with labs.temporary("health", 3, CLIENTS) as built:
        assembly.assemble(built, QUIET)
        yield built


@pytest.fixture
def panel(lab: Lab) -> Iterator[PanelClient]:
    with fleet.client(lab) as client:
        yield client


@pytest.fixture(autouse=True)
def _all_serve(lab: Lab, panel: PanelClient) -> None:
    standings.wait_all_serving(lab, panel, RETURN_S)


def test_a_dead_agent_moves_nobody_and_is_said(lab: Lab) -> None:
    happened = agent_down.run(lab, OPTIONS, QUIET)
    assert happened["health"] == "unmanaged"
    assert happened["moves"] == happened["withdrawals"] == happened["clients_lost"] == 0


def test_a_node_whose_firewall_lets_in_only_flows_that_it_knows_is_found(lab: Lab, panel: PanelClient) -> None:
    """Probes from the port that it knows would be answered for ever, while no client that comes gets in."""
    node = fleet.hosts(lab, "node")[-1]
    node.run("nft", "-f", "-", stdin=ONLY_KNOWN)
    try:
        standings.wait_state(lab, panel, node.name, "down", NEW_PORT_S + SEEN_S)
    finally:
        node.run("nft", "delete", "table", "inet", "known")


def test_a_panel_that_is_cut_off_alone_moves_nobody_and_says_that_it_is(lab: Lab, panel: PanelClient) -> None:
    happened = partition.panel_alone(lab, panel, OPTIONS.rate)
    assert happened["withdrawals"] == happened["migrations"] == happened["clients_lost"] == 0
    assert happened["frozen"]
    assert standings.health(panel)["frozen"] is None


def test_a_node_that_returns_is_fenced_first_and_pulls_nobody_back(lab: Lab) -> None:
    happened = comeback.run(lab, OPTIONS, QUIET)
    promised = ("unfenced_use", "peers_while_out", "reclaimed", "pulled_back")
    figures = str(happened)  # pytest shortens all but text
    assert not any(happened[name] for name in promised), figures
    assert happened["served"], figures
    assert happened["fenced_s"] is not None, figures
    assert happened["peers_after"] == CLIENTS, figures
    assert happened["worst_gap_ms"] < DRAWN_MS, figures


def test_a_wireguard_that_hangs_alone_draws_nobody_back_when_it_works_again(lab: Lab) -> None:
    happened = comeback.run(lab, ScenarioOptions(rate=20.0, kind="wireguard", away_s=4.0), QUIET)
    assert happened["clients"] > 0
    assert happened["later_gap_ms"]["max"] < DRAWN_MS, str(happened)


def test_clients_whose_sessions_end_with_the_interface_are_called_by_the_node_itself(
    lab: Lab, panel: PanelClient
) -> None:
    happened = crash.crash(lab, panel, OPTIONS.rate, "deleted")
    assert happened["answered"] == happened["called"] == len(happened["gaps_ms"]) > 0, str(happened)
    assert max(happened["gaps_ms"]) < DRAWN_MS, str(happened)


def test_the_clients_of_a_node_that_dies_all_go_on_elsewhere(lab: Lab, panel: PanelClient) -> None:
    happened = failover.lose_busiest(lab, panel, ScenarioOptions(rate=20.0, kill=True), WATCH_S)
    assert len(happened["gaps_ms"]) == happened["moved"] > 0
    assert happened["others_lost"] == 0


def test_what_must_hold_holds_after_random_blows(lab: Lab, panel: PanelClient) -> None:
    face.float_addresses(lab, panel, 2)
    happened = soak.run(lab, ScenarioOptions(rate=20.0, minutes=0.4), QUIET)
    assert happened["broken"] == [], str(happened)
