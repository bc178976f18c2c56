"""Provider `bgp`: the node that holds an address has it on loopback, and its routing daemon announces it to routers.

The agents do it all, so it is never called: the address is on the machine for a time only, and the daemon, which
announces what is there, withdraws it with the kernel.
"""

from typing import ClassVar

from wgfleet.panel.address_providers.builtin import NoAddresses


class Bgp(NoAddresses):
    """All nodes have sessions with routers that accept the addresses from each of them."""

    name = "bgp"
    on_agent = True
    routed: ClassVar[bool] = True
