"""A panel that dies at a named point of its work, and starts again."""

from collections.abc import Iterator
from contextlib import contextmanager

from wgfleet.lab import fleet
from wgfleet.lab.errors import LabError
from wgfleet.lab.panel_client import PanelClient
from wgfleet.lab.state import Lab
from wgfleet.lab.waiting import wait_for
from wgfleet.panel import faultpoints

REACHED_S = 60


@contextmanager
def panel_that_dies_at(lab: Lab, point: str) -> Iterator[PanelClient]:
    """Give the lab's panel, which dies at the point that the block leads it to; afterwards it answers again."""
    fleet.restart_panel(lab, {faultpoints.VARIABLE: point})
    with fleet.client(lab) as panel:
        # All agents are connected again, or sessions could not be moved before the panel dies. What is said of them
        # before a core decides is from the panel that was killed.
        wait_for(lambda: _is_ready(panel), "no core decides", within_s=REACHED_S, every_s=0.05)
        fleet.wait_connected(panel, lab.nodes)
        yield panel
    wait_for(lambda: not fleet.panel_runs(lab), f"{point} was not reached", within_s=REACHED_S, every_s=0.05)
    fleet.restart_panel(lab)


def _is_ready(panel: PanelClient) -> bool:
    try:
        return bool(panel.call("GET", "/readyz"))
    except LabError:
        return False
