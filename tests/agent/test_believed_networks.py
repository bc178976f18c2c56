"""What a node believes of the networks that another one names of peers that are none of its own."""

import pytest

from tests.agent.values import random_key
from wgfleet.agent.interfaces.allowed_ips import AllowedIpIndex
from wgfleet.agent.interfaces.believed_networks import believed
from wgfleet.protocol.desired import DesiredPeer, InterfaceSettings
from wgfleet.protocol.ids import ConfigId, InterfaceName
from wgfleet.protocol.keys import PrivateKey, PublicKey

SETTINGS = InterfaceSettings(
    InterfaceName("wg0"), ConfigId("c"), PrivateKey(random_key()), 51820, ("10.8.0.1/16", "fd08::1/64"),
    ("192.168.7.0/24", "192.168.8.0/24"),
)  # fmt: skip
OWN = AllowedIpIndex({PublicKey("k"): DesiredPeer(("10.8.0.2/32", "fd08::2/128", "192.168.7.0/24"))})


def test_addresses_of_the_pools_and_networks_behind_peers_are_believed() -> None:
    claimed = ("10.8.0.3/32", "fd08::3/128", "192.168.8.0/24")
    assert believed(claimed, SETTINGS, OWN) == claimed


@pytest.mark.parametrize(
    "network",
    [
        *("10.8.0.2/32", "fd08::2/128", "192.168.7.0/24"),
        *("10.8.0.2", "10.8.0.2/255.255.255.255", "10.8.0.2/032", "fd08:0::2/128", "FD08::2/128", "fd08::2%x/128"),
        *("10.8.0.0/24", "0.0.0.0/0", "::/0", "192.0.2.1/32", "192.168.8.1/32", "", "x", "10.8.0.3/x"),
    ],
)
def test_what_a_peer_of_this_node_has_in_whatever_spelling_and_what_is_elsewhere_is_not(network: str) -> None:
    assert believed((network,), SETTINGS, OWN) == ()
