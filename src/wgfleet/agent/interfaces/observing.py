"""Readings of an interface, put together for the comparison with what is desired. Pure."""

from collections.abc import Mapping

from wgfleet.agent.interfaces.floating_addresses import ObservedAddresses
from wgfleet.agent.kernel.device_formats import Device
from wgfleet.agent.kernel.links import Link
from wgfleet.agent.kernel.machine import Rules
from wgfleet.protocol.ids import InterfaceName
from wgfleet.protocol.keys import PublicKey
from wgfleet.protocol.observed import ObservedInterface, ObservedPeer


def observed(
    name: InterfaceName,
    link: Link,
    device: Device,
    rules: Rules,
    addresses: ObservedAddresses,
    peers: Mapping[PublicKey, ObservedPeer],
) -> ObservedInterface:
    """Return an interface as it was found, with some of its peers."""
    return ObservedInterface(
        name=name,
        private_key=device.private_key,
        listen_port=device.listen_port,
        addresses=link.addresses,
        routes=link.routes,
        mtu=link.mtu,
        up=link.up,
        masquerade=rules.masquerade,
        peers=dict(peers),
        floating=addresses.held,
        filtered=rules.filtered,
    )
