"""Settings of the audit log and of the log of the process."""

from typing import Literal

from pydantic import Field

from wgfleet.panel.settings.fields import Group


class AuditSettings(Group):
    """The log of who changed what."""

    keep_days: int = Field(
        default=365,
        ge=0,
        le=36_500,
        description="Days after which an entry is deleted; 0 keeps all. A year covers what is looked for once a year.",
    )


class LogSettings(Group):
    """What the panel writes to standard error."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least level that is written: debug, info, warning or error."
    )
    format: Literal["json", "text"] = Field(
        default="json", description="json: one object a line, for programs; text: for people."
    )
