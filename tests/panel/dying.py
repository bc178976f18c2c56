"""A panel that dies at named points of its work, and starts again."""

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
def panel_that_dies_at(lab: Lab, *points: str) -> Iterator[PanelClient]:
    """Give the lab's panel, which dies at the point that the block leads it to; afterwards it answers again.

    With several points, the panel that is started after a death dies at the next one.
    """
    first, *later = points
    fleet.restart_panel(lab, {faultpoints.VARIABLE: first})
    try:
        with fleet.client(lab) as panel:
            # All agents are connected again, or sessions could not be moved before the panel dies. What is said of them
            # before a core decides is from the panel that was killed.
            wait_for(lambda: _is_ready(panel), "no core decides", within_s=REACHED_S, every_s=0.05)
            fleet.wait_connected(panel, lab.nodes)
            yield panel
        for point in later:
            _wait_dead(lab, first)
            fleet.start_panel(lab, {faultpoints.VARIABLE: point})
            wait_for(lambda: fleet.panel_runs(lab), "the panel does not start", within_s=REACHED_S, every_s=0.05)
            first = point
        _wait_dead(lab, first)
    finally:  # also for the tests that come after one that failed
        fleet.restart_panel(lab)


def _wait_dead(lab: Lab, point: str) -> None:
    wait_for(lambda: not fleet.panel_runs(lab), f"{point} was not reached", within_s=REACHED_S, every_s=0.05)


def _is_ready(panel: PanelClient) -> bool:
    try:
        return bool(panel.call("GET", "/readyz"))
    except LabError:
        return False
