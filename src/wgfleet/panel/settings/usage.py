"""Settings of usage: what peers send and receive."""

from pydantic import Field

from wgfleet.panel.settings.fields import Group


class UsageSettings(Group):
    """What peers send and receive, as nodes count it."""

    session_history: bool = Field(
        default=True,
        description="Keep when, where and from where peers were connected; false: nothing of it is kept, and what "
        "was is deleted within an hour.",
    )
    every_s: float = Field(
        default=60.0,
        ge=5,
        le=3600,
        description="How often each node is asked, in s: what its peers used since then is lost with a node that dies. "
        "A panel that cannot keep up asks less often.",
    )
