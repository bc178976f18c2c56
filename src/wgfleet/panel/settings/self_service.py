"""Settings of what users do by themselves."""

from pydantic import Field

from wgfleet.panel.settings.fields import Group


class SelfServiceSettings(Group):
    """Devices that users make of their own."""

    devices: int = Field(
        default=5,
        ge=0,
        le=10_000,
        description="How many a user may have, unless the user has a number of its own: a phone, a tablet, two "
        "computers, and one to spare.",
    )
