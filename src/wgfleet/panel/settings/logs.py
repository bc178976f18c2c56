"""Settings of the log of the process."""

from typing import Literal

from pydantic import Field

from wgfleet.panel.settings.fields import Group


class LogSettings(Group):
    """What the panel writes to standard error. Where that cannot be written lines are dropped and counted."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least level that is written: debug, info, warning or error."
    )
    format: Literal["auto", "json", "text"] = Field(
        default="auto",
        description="json: one object a line, for programs; text: for people; auto: text on a terminal, else json.",
    )
