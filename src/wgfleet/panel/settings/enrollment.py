"""Settings of join tokens and of the certificates that the panel issues."""

from typing import Annotated

from pydantic import Field

from wgfleet.panel.settings.fields import DAY_S, Group

Days = Annotated[int, Field(ge=1, le=825)]  # more is refused by Apple's and other TLS libraries


class EnrollmentSettings(Group):
    """How new agents join."""

    token_lifetime_s: int = Field(
        default=3600, ge=60, le=30 * DAY_S, description="Seconds for which a join token can be used. It works once."
    )


class CertificateSettings(Group):
    """Lifetimes of what the panel's CA issues, in days. All are renewed after two thirds of their life."""

    agent_days: Days = Field(
        default=90, description="Certificates of agents. A node that is cut off for a third of this must enroll again."
    )
    panel_days: Days = Field(default=90, description="The certificate with which the panel calls agents.")
    server_days: Days = Field(default=90, description="The certificate of the panel's listeners.")
