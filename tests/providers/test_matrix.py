"""However the provider's API misbehaves, the name ends with its desired records, and nothing else is touched."""

from collections.abc import Iterator

import pytest

from tests.providers.matrix import CHANGES, FAULTS, OUTAGE, cell, opened_nodes
from tests.providers.publication import Panel, panel
from wgfleet.panel.domain.dns.states import SyncState
from wgfleet.panel.store.tables import Node

pytestmark = pytest.mark.slow

HOURS_READS = 60


@pytest.fixture(scope="module")
def at(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Panel]:
    with panel(tmp_path_factory.mktemp("matrix")) as opened:
        yield opened


@pytest.fixture(scope="module")
def nodes(at: Panel) -> list[Node]:
    return opened_nodes(at)


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_name_ends_as_wanted(at: Panel, nodes: list[Node], fault: str, change: str) -> None:
    found = cell(at, nodes, fault, change)
    assert (found.state, found.equal, found.others_untouched) == (SyncState.SYNCED, True, True)
    lost = sum(one.times for one in FAULTS[fault] if one.on == "write" and one.when == "before" and one.kind != "slow")
    assert found.calls.writes == 1 + lost
    assert found.calls.reads <= (HOURS_READS if fault == OUTAGE else 20)
