"""The node's own address in a pool becomes another one: the interface has the new one alone, and keeps its peers."""

import ipaddress
import re
from collections.abc import Callable

import pytest

from tests.agent.node import Node
from tests.agent.test_push import applied
from tests.agent.values import peers, settings, whole
from wgfleet.agent.interfaces.forwarding_check import _from_the_end


@pytest.mark.lab
def test_the_interface_has_the_new_address_alone(make_node: Callable[..., Node]) -> None:
    node = make_node()
    node.start("--interval", "0.2")
    for generation, address in enumerate(("10.8.0.1/24", "10.8.0.254/24", "10.8.0.5/24"), 1):
        assert applied(node, whole(generation, settings(addresses=(address,)), peers(3))).verified
        assert re.findall(r"inet (\S+)", node.host.run("ip", "-o", "addr", "show", "dev", "wg0")) == [address]
        assert len(node.host.run("wg", "show", "wg0", "peers").split()) >= 3


@pytest.mark.parametrize("own", ["10.8.0.254/24", "10.8.0.253/24", "fd00:8::fffe/112"])
def test_it_is_never_taken_for_a_users_where_the_node_looks_whether_it_forwards(own: str) -> None:
    free = list(_from_the_end(own))
    assert free
    assert ipaddress.ip_interface(own).ip not in free
