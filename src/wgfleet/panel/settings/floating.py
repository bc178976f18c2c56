"""Settings of floating addresses."""

from pydantic import Field

from wgfleet.panel.settings.fields import Group, Servers


class FloatingAddressSettings(Group):
    """How floating addresses are brought to nodes."""

    allowed_servers: Servers = Field(
        default=(),
        description="Networks, addresses and names of servers inside, such as 10.0.0.0/8 or cloud.example.internal, to "
        "which address providers may connect although they are not on the internet. Options of an endpoint group, "
        "which a key with the scope `write` sets, cannot name any other.",
    )
