"""A floating address goes to another node as planned, and phones that know no other address go on with it."""

import time
from collections.abc import Iterator

import pytest

from wgfleet.lab import assembly, face, fleet, pings
from wgfleet.lab import state as labs
from wgfleet.lab.assembly import Equipment
from wgfleet.lab.progress import Progress
from wgfleet.lab.scenarios import drain
from wgfleet.lab.state import Lab

pytestmark = [pytest.mark.lab, pytest.mark.timeout(300)]
GAP_MS = 5000  # 0.7 s on a quiet machine; by themselves such clients wait 15 s


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with labs.temporary("floats", 2, 2) as built:
        assembly.assemble(built, Progress(quiet=True), Equipment(floating=1, mobile=True))
        yield built


def test_an_address_is_moved_by_hand_and_by_a_drain_and_its_clients_go_on(lab: Lab) -> None:
    (address,) = face.floating(lab)
    (before,) = face.holders(lab)[address]
    (other,) = {host.name for host in fleet.hosts(lab, "node")} - {before}
    running = pings.start(fleet.hosts(lab, "client"), fleet.NODE_TUNNEL_ADDRESS, rate=20)
    time.sleep(drain.CALM_S)  # the panel hears of a session with its node's next scan
    with fleet.client(lab) as panel:
        path = f"/api/configs/{fleet.CONFIG}/floating-addresses/{address}/move"
        operation = panel.call("POST", path, {"node": other})
        moved = panel.wait_operation(operation["id"], timeout_s=30)["result"]
        assert (moved["sessions_taken_over"], moved["left_behind"]) == (2, 0)
        assert face.holders(lab)[address] == [other]
        (operation,) = panel.call("POST", f"/api/nodes/{other}/drain")["items"]
        drained = panel.wait_operation(operation["id"], timeout_s=60)["result"]
        assert (drained["sessions_taken_over"], drained["left_behind"]) == (2, 0)
        assert face.holders(lab)[address] == [before]
    gaps = {count.client: count.worst_gap_ms for count in pings.measure(running)}
    assert max(gaps.values()) < GAP_MS, gaps
