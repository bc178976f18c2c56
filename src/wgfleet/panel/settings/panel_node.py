"""Settings of the panel node."""

from pydantic import Field

from wgfleet.panel.settings.fields import Addresses, Group, Port
from wgfleet.protocol.messages import AGENT_PORT


class PanelNodeSettings(Group):
    """The node that the panel makes of its own machine, where that machine has WireGuard and it runs as root."""

    enabled: bool = Field(default=True, description="false: do not make this machine a node.")
    endpoint_addresses: Addresses = Field(
        default=(), description="Public addresses that clients reach this machine at. Empty: that of the default route."
    )
    agent_port: Port = Field(default=AGENT_PORT, description="TCP port of its agent, on loopback.")
