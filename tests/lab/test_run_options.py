"""How many nodes a scenario of `wgfleet lab run` has where nobody says how many."""

import pytest

from wgfleet.cli.lab_run import NODES, _usual_nodes
from wgfleet.lab.scenarios import SCENARIOS

pytestmark = pytest.mark.lab


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_each_scenario_can_run_with_the_nodes_that_it_has_if_none_are_asked_for(scenario: str) -> None:
    chosen = SCENARIOS[scenario]
    for panel_node in (False, True):
        nodes = _usual_nodes(scenario, panel_node=panel_node) + panel_node
        assert nodes >= chosen.nodes
        assert nodes == chosen.nodes or not chosen.witness
    assert _usual_nodes("nonsense", panel_node=False) == NODES
