"""Settings of the processes that serve the API and the pages."""

import os

from pydantic import Field

from wgfleet.panel.settings.fields import Group

MOST_UNASKED = 4


class ApiSettings(Group):
    """The processes that answer calls, beside the core, which decides."""

    processes: int | None = Field(
        default=None,
        ge=1,
        le=32,
        description="How many answer calls. Default: as many as there are processors, 4 at most. What is allowed to "
        "strangers and to API keys (`door`) is for all together.",
    )

    def count(self) -> int:
        """Return how many there are to be on this machine."""
        return self.processes or min(MOST_UNASKED, len(os.sched_getaffinity(0)))
