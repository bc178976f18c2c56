"""States of a DNS sync, the reasons why changes are held back, and the classes of errors."""

from enum import StrEnum


class SyncState(StrEnum):
    """Where a sync stands."""

    PENDING = "pending"  # not published yet; or a dry run
    SYNCED = "synced"  # the name was seen to have the desired records
    FAILING = "failing"  # the last attempt failed
    CONFLICT = "conflict"  # a foreign record, or drift that is only reported
    APPROVAL = "approval"  # a deletion waits for an administrator
    CANCELLED = "cancelled"  # an administrator stopped it


class HeldReason(StrEnum):
    """Why the changes of a plan, or some of them, were not made."""

    APPROVAL = "approval"  # it deletes more than is allowed without approval
    DRIFT = "drift"  # somebody else changed our records, and the group only reports that
    DRY_RUN = "dry_run"


class ErrorClass(StrEnum):
    """What kind of error a sync stands with, and so when it is tried again."""

    TRANSIENT = "transient"
    PERMANENT = "permanent"
    BLOCKED = "blocked"  # the provider refuses the whole account for a while
    CONFLICT = "conflict"
    DRIFT = "drift"
    APPROVAL = "approval"
    BUG = "bug"  # the provider's code raised what it must not
