"""A floating address has one holder, whatever happens to the one that has it."""

from collections.abc import Iterator

import pytest

from wgfleet.lab import assembly, face, fleet, holdings
from wgfleet.lab import state as labs
from wgfleet.lab.address_sampler import AddressSampler
from wgfleet.lab.assembly import Equipment
from wgfleet.lab.progress import Progress
from wgfleet.lab.scenarios import failover, holder, standings
from wgfleet.lab.state import Lab
from wgfleet.lab.topology import ROUTER

pytestmark = [pytest.mark.lab, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with labs.temporary("holders", 3, 2) as built:
        assembly.assemble(built, Progress(quiet=True), Equipment(floating=1))
        fleet.restart_panel(built, failover.SHORT_TRIAL)
        yield built


@pytest.mark.parametrize("name", ["node_hangs", "is_not_heard", "cut_from_panel"])
def test_no_two_nodes_answer_for_an_address(lab: Lab, name: str) -> None:
    with fleet.client(lab) as panel:
        fleet.wait_connected(panel, 3)
        standings.wait_all_serving(lab, panel, holder.BACK_S)
    blow = holder.BLOWS[name]
    with AddressSampler(lab.host(ROUTER), fleet.hosts(lab, "node"), face.floating(lab)) as sampler:
        seen = holder.deal(lab, blow, sampler, 20.0)
    assert holdings.broken(seen, unseen=blow.unseen) == [], seen
    assert len(sampler.samples) > 100
