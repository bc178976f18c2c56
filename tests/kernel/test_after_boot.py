"""A node that is started again without its panel. Goes on with what test_agent_unit.py left: run it after a reboot."""

import pytest

from tests.kernel import node
from tests.kernel.conftest import key_pair
from tests.kernel.node import AGENT, CLIENT_HOST, FLOATING, NEIGHBOUR, NEIGHBOUR_ADDRESS, pings
from tests.kernel.systemd import run, shown
from tests.waiting import eventually

pytestmark = pytest.mark.kernel

NODE_PUBLIC = key_pair(1)[1]
CLIENT_PRIVATE = key_pair(2)[0]


def holds_what_was_wanted() -> bool:
    (interface,) = node.call("GET", "/v1/status").json()["interfaces"]
    return interface["up"] and not interface["drift"]


def test_a_node_that_boots_without_the_panel_serves_what_was_wanted_last() -> None:
    assert shown(AGENT, "ActiveState") == "active"
    eventually(holds_what_was_wanted, every_s=2)
    node.connect(CLIENT_PRIVATE, NODE_PUBLIC, "10.9.0.2")
    assert pings(CLIENT_HOST, NEIGHBOUR_ADDRESS)
    # It asked who has the address, and nobody did.
    assert f" {FLOATING}/32 " in run("ip", "-o", "address", "show", "dev", "eth0")
    assert pings(NEIGHBOUR, FLOATING)
