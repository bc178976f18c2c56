"""When a node that joins a config begins to serve."""

import pytest

from tests.panel.world import World
from wgfleet.panel.domain.phases import Phase
from wgfleet.panel.services.fleet import assignments
from wgfleet.panel.store import assignments as assignment_rows
from wgfleet.protocol.diff import NO_IPV6, Drift, absent


@pytest.mark.parametrize(
    ("drift", "phase"),
    [
        ((), Phase.SERVING),
        ((Drift("addresses.fd00::1/64", "present", absent(NO_IPV6)),), Phase.SERVING),
        ((Drift("listen_port", "51820", "51821"),), Phase.JOINING),
    ],
)
def test_a_node_serves_when_it_has_everything_that_its_machine_can_have(
    world: World, drift: tuple[Drift, ...], phase: Phase
) -> None:
    config, node = world.config(), world.node("n0")
    with world.store.write() as tx:
        assignments.assign(tx, world.vault, "test", config, node)
    with world.store.write() as tx:
        assignments.confirmed(tx, config.id, node.id, config.generation, drift, "said", held=())
        assignment = assignment_rows.get(tx, config.id, node.id)
        assert assignment is not None
        assert assignment.phase == phase
        assert assignment.drift == [str(each) for each in drift]
