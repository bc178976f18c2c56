"""A panel that dies at a named point of its work, and starts again."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from wgfleet.lab import fleet
from wgfleet.lab.panel_client import PanelClient
from wgfleet.lab.state import Lab
from wgfleet.panel import faultpoints

REACHED_S = 30


@contextmanager
def panel_that_dies_at(lab: Lab, point: str) -> Iterator[PanelClient]:
    """Give the lab's panel, which dies at the point that the block leads it to; afterwards it answers again."""
    fleet.kill_panel(lab)
    fleet.start_panel(lab, {faultpoints.VARIABLE: point})
    fleet.wait_answering(lab)
    with fleet.client(lab) as panel:
        # All agents are connected again, or sessions could not be moved before the panel dies.
        fleet.wait_connected(panel, lab.nodes)
        yield panel
    deadline = time.monotonic() + REACHED_S
    while fleet.panel_runs(lab):
        assert time.monotonic() < deadline, f"{point} was never reached"
        time.sleep(0.05)
    fleet.start_panel(lab)
    fleet.wait_answering(lab)
