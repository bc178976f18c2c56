"""Commands that change a thing, and are given nothing to change."""

import pytest

from tests.cli.conftest import Run

pytestmark = pytest.mark.slow


@pytest.mark.usefixtures("wg0")
def test_a_change_of_nothing_says_so(wgfleet: Run) -> None:
    assert wgfleet("peer", "create", "wg0", "anna").returncode == 0
    assert wgfleet("node", "create", "fra1", "--endpoint", "192.0.2.1").returncode == 0
    assert wgfleet("tag", "create", "office").returncode == 0
    assert wgfleet("group", "create", "eu").returncode == 0
    assert wgfleet("rule-set", "create", "web", "--rule", "allow 10.0.0.0/8").returncode == 0
    for thing in (("config", "wg0"), ("peer", "wg0/anna"), ("node", "fra1"), ("tag", "office"), ("group", "eu")):
        told = wgfleet(thing[0], "update", thing[1])
        assert (told.returncode, "nothing to change: give an option" in told.stderr) == (2, True), (thing, told)
    told = wgfleet("rule-set", "update", "web")
    assert (told.returncode, "nothing to change" in told.stderr) == (2, True), told
