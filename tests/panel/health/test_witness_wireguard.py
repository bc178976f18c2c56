"""The panel's machine and one node fail over with a witness, on real WireGuard, and say so when it is gone."""

import pytest

from tests.waiting import eventually
from wgfleet.lab import assembly, fleet
from wgfleet.lab import state as labs
from wgfleet.lab.panel_client import PanelClient
from wgfleet.lab.progress import Progress
from wgfleet.lab.scenarios import failover, standings
from wgfleet.lab.scenarios.options import ScenarioOptions

pytestmark = [pytest.mark.lab, pytest.mark.timeout(300)]

WATCH_S = 10.0  # generous: `lab run` holds clients to 3 s, on a machine of its own


def lacking(panel: PanelClient) -> set[str]:
    return {node["no_failover"]["code"] for node in standings.health(panel)["nodes"] if node["no_failover"]}


def test_the_panels_machine_takes_over_from_its_only_other_node_as_a_witness_confirms() -> None:
    with labs.temporary("witness", 1, 2, witness=True, panel_node=True) as lab:
        assembly.assemble(lab, Progress(quiet=True))
        with fleet.client(lab) as panel:
            eventually(lambda: lacking(panel) == set())
            happened = failover.lose_busiest(lab, panel, ScenarioOptions(rate=20.0), WATCH_S)
            assert happened["gaps_ms"], "nobody was on it"
            assert happened["moved"] == len(happened["gaps_ms"])
            standings.wait_all_serving(lab, panel, 60.0)
            fleet.kill_agent(lab.host("witness-1"))
            eventually(lambda: lacking(panel) == {"unconfirmed"})
