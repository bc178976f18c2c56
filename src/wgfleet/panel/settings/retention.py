"""Settings of retention: for how long the panel keeps what is over."""

from pydantic import Field

from wgfleet.panel.settings.fields import Group

_LONGEST_DAYS = 36_500


class AuditSettings(Group):
    """The log of who changed what."""

    keep_days: int = Field(
        default=365,
        ge=0,
        le=_LONGEST_DAYS,
        description="Days after which an entry is deleted, and the address of its caller with it; 0: never. "
        "A year covers what is looked for once a year.",
    )
    keep_entries: int = Field(
        default=1_000_000,
        ge=1_000,
        le=100_000_000,
        description="How many entries there may be, whatever their age; the oldest go first, a hundredth of this at a "
        "time. A million takes some 300 MB.",
    )


class RetentionSettings(Group):
    """What is over and done with: after how many days it is deleted, 0: never."""

    health_days: int = Field(
        default=90, ge=0, le=_LONGEST_DAYS, description="Days for which a change of a node's health is kept."
    )
    moves_days: int = Field(
        default=14,
        ge=0,
        le=_LONGEST_DAYS,
        description="Days for which it is kept, after an operation has ended, which peer went where: a row for each "
        "peer, while the operation's result has the counts.",
    )
    operations_days: int = Field(
        default=365, ge=0, le=_LONGEST_DAYS, description="Days for which an operation is kept after it has ended."
    )
    backups_days: int = Field(
        default=365,
        ge=0,
        le=_LONGEST_DAYS,
        description="Days for which a backup is kept; the newest of each node in each config stays for ever.",
    )
    sessions_days: int = Field(
        default=30,
        ge=0,
        le=_LONGEST_DAYS,
        description="Days for which a peer's session at a node is kept after it has moved on to another. The last "
        "session of each peer stays.",
    )
    session_history_days: int = Field(
        default=31,
        ge=0,
        le=_LONGEST_DAYS,
        description="Days for which it is kept when and from where a peer was connected.",
    )
    certificates_days: int = Field(
        default=365,
        ge=0,
        le=_LONGEST_DAYS,
        description="Days for which a certificate is listed after it has expired.",
    )
    usage_hours_days: int = Field(
        default=31,
        ge=0,
        le=_LONGEST_DAYS,
        description="Days for which each hour of a peer's usage is kept; then the hours of a day become one figure.",
    )
    usage_days: int = Field(
        default=400,
        ge=0,
        le=_LONGEST_DAYS,
        description="Days for which each day of a peer's usage is kept, and the usage of a peer that was deleted. The "
        "total of a peer that there is stays.",
    )
