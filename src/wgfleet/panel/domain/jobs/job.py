"""Jobs as values: what is looked at, compared with what, and what is done then."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class JobField(StrEnum):
    """What a job looks at."""

    TOTAL_RECEIVE = "total_receive"
    """Bytes that nodes received from the peer, on all nodes."""
    TOTAL_SENT = "total_sent"
    """Bytes that nodes sent to it."""
    TOTAL_DATA = "total_data"
    """Both together."""
    DATE = "date"
    SCHEDULE = "schedule"
    """Windows of the week in which the peer is let in."""
    ENDPOINTS = "endpoints"
    """How many devices use the file of the peer at the same time."""


TOTALS = frozenset({JobField.TOTAL_RECEIVE, JobField.TOTAL_SENT, JobField.TOTAL_DATA})


class Operator(StrEnum):
    """How it is compared with the value of the job."""

    LARGER = "lgt"
    LESS = "lst"
    EQUAL = "eq"
    NOT_EQUAL = "neq"


class JobAction(StrEnum):
    """What is done where the comparison holds."""

    RESTRICT = "restrict"
    """No node lets the peer in, until the comparison no longer holds. It keeps all that it has."""
    DELETE = "delete"
    RESET = "reset_total_data_usage"
    WARN = "warn"
    """It is written into the audit log, and shown."""
    NONE = "none"
    """Nothing: the peer, or tag, is spared what its tags, or its config, say of this field."""


class Period(StrEnum):
    """How often counting begins again."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"


@dataclass(frozen=True, slots=True)
class Job:
    """A job. `origin`: in words, whose it is: `peer`, `config`, or a tag.

    `value`: bytes or devices; or s since the epoch, with `from_first_use` s after the first use; None: there is none.
    A period begins with the calendar of `time_zone`, or with the peer's first use and as often after it. `windows` are
    those of a schedule, by that time zone. Within `notice_s` before its date notice is given of it.
    """

    id: str
    field: JobField
    operator: Operator
    action: JobAction
    value: int | None = None
    period: Period | None = None
    from_first_use: bool = False
    time_zone: str = "UTC"
    windows: tuple[str, ...] = ()
    notice_s: int = 0
    created_at: float = 0.0
    origin: str = "peer"


def in_effect(layers: Sequence[Sequence[Job]]) -> list[Job]:
    """Return the jobs that count for a peer, given those of the peer, of each of its tags, and of its config.

    Of each field, those of the nearest that has any.
    """
    found: list[Job] = []
    for field in JobField:
        for layer in layers:
            if of_field := [job for job in layer if job.field is field]:
                found += of_field
                break
    return [job for job in found if job.action is not JobAction.NONE]
